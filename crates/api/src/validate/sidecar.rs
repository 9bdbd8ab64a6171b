//! What makes a Sidecar valid.

use std::net::IpAddr;

use super::{
    destination_rule::check_connection_pool,
    findings::Findings,
    names::{check_labels, check_port, check_protocol, check_scoped_host},
    tls::check_server_tls,
    virtual_service::check_destination,
};
use crate::{
    common::Port,
    networking::{EgressListener, IngressListener, OutboundTrafficMode, ServerTlsMode, Sidecar},
};

pub(super) fn check(spec: &Sidecar, findings: &mut Findings) {
    if let Some(selector) = &spec.workload_selector {
        check_labels(&selector.labels, "spec.workloadSelector.labels", findings);
    }
    let says_nothing = spec.ingress.is_empty()
        && spec.egress.is_empty()
        && spec.inbound_connection_pool.is_none()
        && spec.outbound_traffic_policy.is_none();
    if says_nothing {
        findings
            .error("spec", "is empty; set ingress, egress, inboundConnectionPool or outboundTrafficPolicy");
    }
    for (index, listener) in spec.ingress.iter().enumerate() {
        check_ingress(listener, &format!("spec.ingress[{index}]"), findings);
    }
    findings.unique(
        &spec.ingress,
        |listener| listener.port.as_ref().map(|port| port.number.to_string()),
        |i| format!("spec.ingress[{i}].port.number"),
        "the port",
    );
    for (index, listener) in spec.egress.iter().enumerate() {
        check_egress(listener, &format!("spec.egress[{index}]"), findings);
    }
    check_catch_all(&spec.egress, findings);
    if let Some(pool) = &spec.inbound_connection_pool {
        check_connection_pool(pool, "spec.inboundConnectionPool", findings);
    }
    if let Some(policy) = &spec.outbound_traffic_policy
        && let Some(proxy) = &policy.egress_proxy
    {
        let path = "spec.outboundTrafficPolicy.egressProxy";
        if policy.mode != Some(OutboundTrafficMode::AllowAny) {
            findings.error(path, "is used only with mode ALLOW_ANY");
        }
        check_destination(proxy, path, findings);
    }
}

fn check_listener_port(port: &Port, path: &str, findings: &mut Findings) {
    check_port(port.number, &format!("{path}.number"), findings);
    check_protocol(&port.protocol, &format!("{path}.protocol"), findings);
    if port.target_port.is_some() {
        findings.warning(format!("{path}.targetPort"), "is not used here; use defaultEndpoint");
    }
}

fn check_bind(bind: Option<&String>, path: &str, findings: &mut Findings) {
    if let Some(bind) = bind
        && bind.parse::<IpAddr>().is_err()
        && !bind.starts_with("unix://")
    {
        findings.error(format!("{path}.bind"), format!("{bind:?} is not an IP address or a unix:// path"));
    }
}

fn check_ingress(listener: &IngressListener, path: &str, findings: &mut Findings) {
    match &listener.port {
        Some(port) => check_listener_port(port, &format!("{path}.port"), findings),
        None => findings.error(format!("{path}.port"), "is required; say which port is accepted"),
    }
    check_bind(listener.bind.as_ref(), path, findings);
    if let Some(endpoint) = &listener.default_endpoint {
        check_default_endpoint(endpoint, &format!("{path}.defaultEndpoint"), findings);
    }
    if let Some(tls) = &listener.tls {
        let path = format!("{path}.tls");
        check_server_tls(tls, &path, findings);
        let mode = tls.mode.unwrap_or_default();
        if !matches!(mode, ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual) {
            findings.error(format!("{path}.mode"), "must be SIMPLE, MUTUAL or OPTIONAL_MUTUAL on a sidecar");
        }
        let ends_tls = listener.port.as_ref().is_some_and(|port| {
            ["HTTPS", "TLS"].iter().any(|protocol| protocol.eq_ignore_ascii_case(&port.protocol))
        });
        if !ends_tls {
            findings.error(path, "needs a port of protocol HTTPS or TLS");
        }
    }
    if let Some(pool) = &listener.connection_pool {
        check_connection_pool(pool, &format!("{path}.connectionPool"), findings);
    }
}

/// The application is on this machine, so only the addresses that mean so are accepted.
fn check_default_endpoint(endpoint: &str, path: &str, findings: &mut Findings) {
    let valid = match endpoint.strip_prefix("unix://") {
        Some(socket) => socket.starts_with(['/', '@']),
        None => endpoint.rsplit_once(':').is_some_and(|(host, port)| {
            ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"].contains(&host)
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        }),
    };
    if !valid {
        let message = format!(
            "{endpoint:?} must be 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///PATH"
        );
        findings.error(path, message);
    }
}

fn check_egress(listener: &EgressListener, path: &str, findings: &mut Findings) {
    if let Some(port) = &listener.port {
        check_listener_port(port, &format!("{path}.port"), findings);
    }
    check_bind(listener.bind.as_ref(), path, findings);
    if listener.hosts.is_empty() {
        findings.error(format!("{path}.hosts"), "is required; \"./*\" is everything in this namespace");
    }
    for (index, host) in listener.hosts.iter().enumerate() {
        let path = format!("{path}.hosts[{index}]");
        // A leading ~ leaves hosts out, as in ~shop/legacy.
        let scoped = match host.strip_prefix('~') {
            Some(rest) if !rest.is_empty() && !rest.starts_with('/') => rest,
            _ => host,
        };
        check_scoped_host(scoped, &["*", ".", "~"], true, &path, findings);
    }
}

/// A listener without port takes all other ports, so there is one, at the end.
fn check_catch_all(listeners: &[EgressListener], findings: &mut Findings) {
    let last = listeners.len().saturating_sub(1);
    for (index, _) in listeners.iter().enumerate().filter(|(index, l)| l.port.is_none() && *index != last) {
        let message = "a listener without port takes all ports; only the last one can be so";
        findings.error(format!("spec.egress[{index}].port"), message);
    }
    findings.unique(
        listeners,
        |listener| {
            listener.port.as_ref().filter(|_| listener.bind.is_none()).map(|port| port.number.to_string())
        },
        |index| format!("spec.egress[{index}].port.number"),
        "the port",
    );
}
