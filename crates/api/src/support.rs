//! What Istio accepts and Mizzen does not honour yet, in one place.
//!
//! Such an object is refused with the name of the field, rather than accepted and partly ignored.
//! Whoever makes the data plane honour a field takes its line out here.

use crate::{
    config::{Config, Spec},
    networking::{
        CaptureMode, DestinationRule, Gateway, HttpMatch, HttpRoute, Resolution, ServerTls, ServerTlsMode,
        ServiceEntry, Sidecar, TrafficPolicy, VirtualService, WorkloadEntry,
    },
    security::{AuthorizationAction, AuthorizationPolicy},
    telemetry::{TagOperation, Telemetry},
    validate::CLAIM_HEADER_PREFIX,
    violation::Violation,
};

/// An error for each field of the object that Mizzen does not honour yet.
pub fn unsupported(config: &Config) -> Vec<Violation> {
    let mut refused = Refused::default();
    match &config.spec {
        Spec::Gateway(spec) => gateway(spec, &mut refused),
        Spec::VirtualService(spec) => virtual_service(spec, &mut refused),
        Spec::DestinationRule(spec) => destination_rule(spec, &mut refused),
        Spec::ServiceEntry(spec) => service_entry(spec, &mut refused),
        Spec::WorkloadGroup(_) => {
            refused.kind("workloads do not register themselves; make a WorkloadEntry for each")
        }
        Spec::ProxyConfig(_) => {
            refused.kind("use the annotation proxy.istio.io/config on pods, or the mesh's defaultConfig");
        }
        Spec::Sidecar(spec) => sidecar(spec, &mut refused),
        Spec::AuthorizationPolicy(spec) => authorization_policy(spec, &mut refused),
        Spec::Telemetry(spec) => telemetry(spec, &mut refused),
        Spec::RequestAuthentication(_) => refused.kind("JSON web tokens are not checked"),
        Spec::EnvoyFilter(_) => refused.kind("patches to the Envoy configuration are not applied"),
        Spec::WasmPlugin(_) => refused.kind("WebAssembly extensions are not run"),
        Spec::TrafficExtension(_) => refused.kind("extensions are not run"),
        Spec::WorkloadEntry(spec) => workload_entry(spec, "spec", &mut refused),
        Spec::PeerAuthentication(_) => {}
    }
    refused.0
}

/// What has been refused so far.
#[derive(Default)]
struct Refused(Vec<Violation>);

impl Refused {
    fn kind(&mut self, reason: &str) {
        self.0.push(Violation::error("kind", format!("is not honoured by Mizzen yet: {reason}")));
    }

    /// Refuses a field, if it is set.
    fn field(&mut self, is_set: bool, path: impl Into<String>) {
        if is_set {
            self.0.push(Violation::error(path, "is not honoured by Mizzen yet; take it out"));
        }
    }

    /// Refuses a value of a field, if the field has it.
    fn value(&mut self, is_set: bool, path: impl Into<String>, value: &str) {
        if is_set {
            self.0.push(Violation::error(
                path,
                format!("{value} is not honoured by Mizzen yet; choose another value"),
            ));
        }
    }
}

fn server_tls(tls: &ServerTls, path: &str, refused: &mut Refused) {
    refused.field(tls.ca_crl.is_some(), format!("{path}.caCrl"));
    refused.field(!tls.ecdh_curves.is_empty(), format!("{path}.ecdhCurves"));
    refused.field(!tls.cipher_suites.is_empty(), format!("{path}.cipherSuites"));
    refused.field(!tls.verify_certificate_spki.is_empty(), format!("{path}.verifyCertificateSpki"));
    refused.field(!tls.verify_certificate_hash.is_empty(), format!("{path}.verifyCertificateHash"));
}

fn gateway(spec: &Gateway, refused: &mut Refused) {
    for (index, server) in spec.servers.iter().enumerate() {
        let path = format!("spec.servers[{index}]");
        refused.field(server.default_endpoint.is_some(), format!("{path}.defaultEndpoint"));
        let socket = server.bind.as_ref().is_some_and(|bind| is_socket(bind));
        refused.value(socket, format!("{path}.bind"), "a unix:// path");
        if let Some(tls) = &server.tls {
            server_tls(tls, &format!("{path}.tls"), refused);
            let by_name = tls.mode == Some(ServerTlsMode::AutoPassthrough);
            refused.value(by_name, format!("{path}.tls.mode"), "AUTO_PASSTHROUGH");
        }
    }
}

fn virtual_service(spec: &VirtualService, refused: &mut Refused) {
    for (index, route) in spec.http.iter().enumerate() {
        let path = format!("spec.http[{index}]");
        http_route(route, &path, refused);
        for (index, condition) in route.matches.iter().enumerate() {
            http_match(condition, &format!("{path}.match[{index}]"), refused);
        }
    }
    for (index, route) in spec.tcp.iter().enumerate() {
        for (position, condition) in route.matches.iter().enumerate() {
            let path = format!("spec.tcp[{index}].match[{position}].sourceSubnet");
            refused.field(condition.source_subnet.is_some(), path);
        }
    }
}

fn http_route(route: &HttpRoute, path: &str, refused: &mut Refused) {
    let elsewhere =
        route.retries.as_ref().is_some_and(|retries| retries.retry_remote_localities == Some(true));
    refused.field(elsewhere, format!("{path}.retries.retryRemoteLocalities"));
    if let Some(fault) = &route.fault {
        let exponential = fault.delay.as_ref().is_some_and(|delay| delay.exponential_delay.is_some());
        refused.field(exponential, format!("{path}.fault.delay.exponentialDelay"));
        let http2 = fault.abort.as_ref().is_some_and(|abort| abort.http2_error.is_some());
        refused.field(http2, format!("{path}.fault.abort.http2Error"));
    }
}

fn http_match(condition: &HttpMatch, path: &str, refused: &mut Refused) {
    for (field, headers) in [("headers", &condition.headers), ("withoutHeaders", &condition.without_headers)]
    {
        for name in headers.keys().filter(|name| name.starts_with(CLAIM_HEADER_PREFIX)) {
            refused.field(true, format!("{path}.{field}[{name}]"));
        }
    }
    refused.field(condition.stat_prefix.is_some(), format!("{path}.statPrefix"));
}

fn destination_rule(spec: &DestinationRule, refused: &mut Refused) {
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(policy, "spec.trafficPolicy", refused);
    }
    for (index, subset) in spec.subsets.iter().enumerate() {
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(policy, &format!("spec.subsets[{index}].trafficPolicy"), refused);
        }
    }
}

fn traffic_policy(policy: &TrafficPolicy, path: &str, refused: &mut Refused) {
    refused.field(policy.tunnel.is_some(), format!("{path}.tunnel"));
    refused.field(policy.proxy_protocol.is_some(), format!("{path}.proxyProtocol"));
    let blocks = policy.port_level_settings.iter().enumerate();
    let blocks =
        blocks.map(|(index, port)| (format!("{path}.portLevelSettings[{index}]"), &port.outlier_detection));
    for (path, detection) in std::iter::once((path.to_owned(), &policy.outlier_detection)).chain(blocks) {
        let codes = detection
            .as_ref()
            .is_some_and(|detection| !detection.outlier_detection_http_error_codes.is_empty());
        refused.field(codes, format!("{path}.outlierDetection.outlierDetectionHttpErrorCodes"));
    }
    let interval = policy.retry_budget.as_ref().is_some_and(|budget| budget.budget_interval.is_some());
    refused.field(interval, format!("{path}.retryBudget.budgetInterval"));
    let ports = policy.port_level_settings.iter().enumerate();
    let blocks = ports
        .map(|(index, port)| (format!("{path}.portLevelSettings[{index}]"), &port.load_balancer, &port.tls));
    for (path, balancer, tls) in
        std::iter::once((path.to_owned(), &policy.load_balancer, &policy.tls)).chain(blocks)
    {
        if let Some(balancer) = balancer {
            let path = format!("{path}.loadBalancer");
            refused.field(balancer.backend_utilization.is_some(), format!("{path}.backendUtilization"));
            refused.field(balancer.zone_aware_lb_setting.is_some(), format!("{path}.zoneAwareLbSetting"));
            let cookie = balancer.consistent_hash.as_ref().and_then(|hash| hash.http_cookie.as_ref());
            let attributes = cookie.is_some_and(|cookie| !cookie.attributes.is_empty());
            refused.field(attributes, format!("{path}.consistentHash.httpCookie.attributes"));
        }
        if let Some(tls) = tls {
            refused.field(tls.ca_crl.is_some(), format!("{path}.tls.caCrl"));
        }
    }
}

fn service_entry(spec: &ServiceEntry, refused: &mut Refused) {
    refused.value(spec.resolution == Some(Resolution::DynamicDns), "spec.resolution", "DYNAMIC_DNS");
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        workload_entry(endpoint, &format!("spec.endpoints[{index}]"), refused);
    }
}

fn workload_entry(spec: &WorkloadEntry, path: &str, refused: &mut Refused) {
    let socket = spec.address.as_ref().is_some_and(|address| is_socket(address));
    refused.value(socket, format!("{path}.address"), "a unix:// path");
}

/// Whether an address is that of a Unix socket, which the proxy does not connect to.
fn is_socket(address: &str) -> bool {
    address.starts_with("unix://")
}

fn sidecar(spec: &Sidecar, refused: &mut Refused) {
    let egress_proxy =
        spec.outbound_traffic_policy.as_ref().is_some_and(|policy| policy.egress_proxy.is_some());
    refused.field(egress_proxy, "spec.outboundTrafficPolicy.egressProxy");
    for (index, listener) in spec.ingress.iter().enumerate() {
        let path = format!("spec.ingress[{index}]");
        refused.value(
            listener.capture_mode == Some(CaptureMode::None),
            format!("{path}.captureMode"),
            "NONE",
        );
        refused.field(listener.bind.is_some(), format!("{path}.bind"));
        let socket = listener.default_endpoint.as_ref().is_some_and(|endpoint| is_socket(endpoint));
        refused.value(socket, format!("{path}.defaultEndpoint"), "a unix:// path");
        if let Some(tls) = &listener.tls {
            server_tls(tls, &format!("{path}.tls"), refused);
        }
    }
    for (index, listener) in spec.egress.iter().enumerate() {
        let path = format!("spec.egress[{index}]");
        refused.value(
            listener.capture_mode == Some(CaptureMode::None),
            format!("{path}.captureMode"),
            "NONE",
        );
        refused.field(listener.bind.is_some(), format!("{path}.bind"));
    }
}

fn authorization_policy(spec: &AuthorizationPolicy, refused: &mut Refused) {
    refused.field(spec.target_ref.is_some(), "spec.targetRef");
    refused.field(!spec.target_refs.is_empty(), "spec.targetRefs");
    refused.value(spec.action == Some(AuthorizationAction::Custom), "spec.action", "CUSTOM");
    refused.value(spec.action == Some(AuthorizationAction::Audit), "spec.action", "AUDIT");
    for (index, rule) in spec.rules.iter().enumerate() {
        for (position, from) in rule.from.iter().enumerate() {
            let path = format!("spec.rules[{index}].from[{position}].source");
            if let Some(source) = &from.source {
                refused.field(!source.request_principals.is_empty(), format!("{path}.requestPrincipals"));
                refused
                    .field(!source.not_request_principals.is_empty(), format!("{path}.notRequestPrincipals"));
            }
        }
        for (position, condition) in rule.when.iter().enumerate() {
            let path = format!("spec.rules[{index}].when[{position}].key");
            let unknown =
                ["request.auth.", "experimental."].iter().any(|prefix| condition.key.starts_with(prefix));
            refused.value(unknown, path, &condition.key);
        }
    }
}

fn telemetry(spec: &Telemetry, refused: &mut Refused) {
    refused.field(spec.target_ref.is_some(), "spec.targetRef");
    refused.field(!spec.target_refs.is_empty(), "spec.targetRefs");
    for (index, metrics) in spec.metrics.iter().enumerate() {
        let path = format!("spec.metrics[{index}]");
        for (position, change) in metrics.overrides.iter().enumerate() {
            for (tag, change) in &change.tag_overrides {
                let computed = change.operation.unwrap_or_default() == TagOperation::Upsert;
                let path = format!("{path}.overrides[{position}].tagOverrides[{tag}].operation");
                refused.value(computed, path, "UPSERT");
            }
        }
        refused.field(metrics.reporting_interval.is_some(), format!("{path}.reportingInterval"));
    }
    for (index, logging) in spec.access_logging.iter().enumerate() {
        refused.field(logging.filter.is_some(), format!("spec.accessLogging[{index}].filter"));
    }
    for (index, tracing) in spec.tracing.iter().enumerate() {
        let path = format!("spec.tracing[{index}]");
        refused.field(
            tracing.disable_context_propagation == Some(true),
            format!("{path}.disableContextPropagation"),
        );
        refused.field(tracing.enable_istio_tags == Some(false), format!("{path}.enableIstioTags"));
        let by_header_only = tracing.use_request_id_for_trace_sampling == Some(false);
        refused.field(by_header_only, format!("{path}.useRequestIdForTraceSampling"));
    }
}

#[cfg(test)]
#[path = "support_tests.rs"]
mod tests;
