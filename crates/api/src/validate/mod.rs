//! What makes one object valid beyond the types of its fields: Istio's admission rules, and the
//! fields Mizzen does not honour yet. What several objects say together is for the analyzers.

mod destination_rule;
mod findings;
mod gateway;
mod http;
mod load_balancer;
mod names;
mod security;
mod service_entry;
mod sidecar;
mod telemetry;
mod tls;
mod virtual_service;

use findings::Findings;
pub(crate) use http::CLAIM_HEADER_PREFIX;

use crate::{
    common::{PolicySelector, TargetReference},
    config::{Config, Spec},
    networking::ProxyConfig,
    support,
    violation::Violation,
};

/// Everything that is wrong (errors) or doubtful (warnings) about one object.
///
/// An object with an error is refused at admission; one that got past it must not be used.
pub fn validate(config: &Config) -> Vec<Violation> {
    let mut findings = Findings::default();
    match &config.spec {
        Spec::Gateway(spec) => gateway::check(spec, &mut findings),
        Spec::VirtualService(spec) => virtual_service::check(spec, &mut findings),
        Spec::DestinationRule(spec) => destination_rule::check(spec, &mut findings),
        Spec::ServiceEntry(spec) => service_entry::check(spec, &mut findings),
        Spec::WorkloadEntry(spec) => service_entry::check_workload_entry(spec, &mut findings),
        Spec::WorkloadGroup(spec) => service_entry::check_workload_group(spec, &mut findings),
        Spec::Sidecar(spec) => sidecar::check(spec, &mut findings),
        Spec::ProxyConfig(spec) => check_proxy_config(spec, &mut findings),
        Spec::PeerAuthentication(spec) => security::check_peer_authentication(spec, &mut findings),
        Spec::AuthorizationPolicy(spec) => security::check_authorization_policy(spec, &mut findings),
        Spec::RequestAuthentication(spec) => security::check_request_authentication(spec, &mut findings),
        Spec::Telemetry(spec) => telemetry::check(spec, &mut findings),
        // Refused as a whole, so their fields need no rules.
        Spec::EnvoyFilter(_) | Spec::WasmPlugin(_) | Spec::TrafficExtension(_) => {}
    }
    let mut violations = findings.into_violations();
    violations.extend(support::unsupported(config));
    violations
}

fn check_proxy_config(spec: &ProxyConfig, findings: &mut Findings) {
    if let Some(selector) = &spec.selector {
        names::check_labels(&selector.match_labels, "spec.selector.matchLabels", findings);
    }
}

/// Checks what a policy is attached to: workloads by label, or resources by name, not both.
fn check_attachment(
    selector: Option<&PolicySelector>,
    target: Option<&TargetReference>,
    targets: &[TargetReference],
    findings: &mut Findings,
) {
    let ways = [selector.is_some(), target.is_some(), !targets.is_empty()];
    if ways.into_iter().filter(|set| *set).count() > 1 {
        findings.error("spec", "set only one of selector, targetRef and targetRefs");
    }
    if let Some(selector) = selector {
        names::check_labels(&selector.match_labels, "spec.selector.matchLabels", findings);
    }
    if let Some(target) = target {
        check_target(target, "spec.targetRef", findings);
    }
    for (index, target) in targets.iter().enumerate() {
        check_target(target, &format!("spec.targetRefs[{index}]"), findings);
    }
}

fn check_target(target: &TargetReference, path: &str, findings: &mut Findings) {
    let known = matches!(
        (target.group.as_deref().unwrap_or(""), target.kind.as_str()),
        ("", "Service")
            | ("networking.istio.io", "ServiceEntry")
            | ("gateway.networking.k8s.io", "Gateway" | "GatewayClass")
    );
    if !known {
        let message = "a policy attaches to a Gateway or GatewayClass of gateway.networking.k8s.io, a Service, or a \
                       ServiceEntry of networking.istio.io";
        findings.error(format!("{path}.kind"), message);
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
