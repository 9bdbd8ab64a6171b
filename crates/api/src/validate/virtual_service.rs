//! What makes a VirtualService valid.

use super::{
    findings::Findings,
    http,
    names::{
        check_destination_host, check_export_to, check_gateway_name, check_host, check_labels, check_port,
        check_subnets, is_dns_label,
    },
};
use crate::networking::{Destination, RouteDestination, TcpRoute, TlsRoute, VirtualService};

pub(super) fn check(spec: &VirtualService, findings: &mut Findings) {
    let is_delegate = spec.hosts.is_empty();
    for (index, gateway) in spec.gateways.iter().enumerate() {
        check_gateway_name(gateway, &format!("spec.gateways[{index}]"), findings);
    }
    if is_delegate {
        check_delegate(spec, findings);
    } else {
        check_hosts(spec, findings);
    }
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        findings.error("spec", "has no routes; set at least one of http, tls and tcp");
    }
    for (index, route) in spec.http.iter().enumerate() {
        http::check_route(route, is_delegate, &format!("spec.http[{index}]"), findings);
    }
    for (index, route) in spec.tls.iter().enumerate() {
        check_tls_route(route, &spec.hosts, &format!("spec.tls[{index}]"), findings);
    }
    for (index, route) in spec.tcp.iter().enumerate() {
        check_tcp_route(route, &format!("spec.tcp[{index}]"), findings);
    }
    check_export_to(&spec.export_to, findings);
}

fn check_delegate(spec: &VirtualService, findings: &mut Findings) {
    if !spec.gateways.is_empty() {
        findings.error(
            "spec.gateways",
            "a VirtualService without hosts is a delegate and takes no gateways; add hosts",
        );
    }
    if !spec.tls.is_empty() || !spec.tcp.is_empty() {
        findings
            .error("spec.hosts", "is required for tls and tcp routes; only HTTP routes can be delegated to");
    }
}

fn check_hosts(spec: &VirtualService, findings: &mut Findings) {
    let for_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
    for (index, host) in spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{index}]");
        if host == "*" && for_mesh {
            findings.error(
                path,
                "\"*\" cannot be used for the sidecars (gateway mesh); name hosts or set gateways",
            );
        } else {
            check_host(host, &path, findings);
        }
    }
    findings.unique(
        &spec.hosts,
        |host| Some(host.to_lowercase()),
        |i| format!("spec.hosts[{i}]"),
        "the host",
    );
}

/// Checks where traffic goes.
pub(super) fn check_destination(destination: &Destination, path: &str, findings: &mut Findings) {
    check_destination_host(&destination.host, &format!("{path}.host"), findings);
    if let Some(subset) = &destination.subset
        && !is_dns_label(subset)
    {
        findings.error(
            format!("{path}.subset"),
            format!("{subset:?} is not the name of a subset; use a DNS label"),
        );
    }
    if let Some(port) = &destination.port {
        check_port(port.number, &format!("{path}.port.number"), findings);
    }
}

/// Checks the shares of a rule's destinations.
pub(super) fn check_weights(
    weights: impl ExactSizeIterator<Item = u32>,
    path: &str,
    findings: &mut Findings,
) {
    let several = weights.len() > 1;
    let sum: u64 = weights.map(u64::from).sum();
    if several && sum == 0 {
        findings.error(path, "the weights sum to 0, so no destination would get traffic; give each a weight");
    }
    if sum > u64::from(u32::MAX) {
        findings.error(path, format!("the weights sum to {sum}; the most is {}", u32::MAX));
    }
}

fn check_route_destinations(destinations: &[RouteDestination], path: &str, findings: &mut Findings) {
    if destinations.is_empty() {
        findings.error(path, "is required; say where connections go");
    }
    for (index, target) in destinations.iter().enumerate() {
        check_destination(&target.destination, &format!("{path}[{index}].destination"), findings);
    }
    check_weights(destinations.iter().map(|target| target.weight), path, findings);
}

fn check_tls_route(route: &TlsRoute, hosts: &[String], path: &str, findings: &mut Findings) {
    if route.matches.is_empty() {
        findings.error(format!("{path}.match"), "is required; TLS is routed by sniHosts");
    }
    for (index, condition) in route.matches.iter().enumerate() {
        let path = format!("{path}.match[{index}]");
        if condition.sni_hosts.is_empty() {
            findings.error(format!("{path}.sniHosts"), "must name at least one server name");
        }
        for (index, name) in condition.sni_hosts.iter().enumerate() {
            let path = format!("{path}.sniHosts[{index}]");
            check_host(name, &path, findings);
            if !hosts.iter().any(|host| covers(host, name)) {
                findings.error(path, format!("{name:?} is not under any of spec.hosts; add it there"));
            }
        }
        check_connection_match(
            (&condition.destination_subnets, condition.port, &condition.gateways),
            &condition.source_labels,
            &path,
            findings,
        );
    }
    check_route_destinations(&route.route, &format!("{path}.route"), findings);
}

fn check_tcp_route(route: &TcpRoute, path: &str, findings: &mut Findings) {
    for (index, condition) in route.matches.iter().enumerate() {
        check_connection_match(
            (&condition.destination_subnets, condition.port, &condition.gateways),
            &condition.source_labels,
            &format!("{path}.match[{index}]"),
            findings,
        );
    }
    check_route_destinations(&route.route, &format!("{path}.route"), findings);
}

fn check_connection_match(
    (subnets, port, gateways): (&[String], Option<u32>, &[String]),
    source_labels: &std::collections::BTreeMap<String, String>,
    path: &str,
    findings: &mut Findings,
) {
    check_subnets(subnets, &format!("{path}.destinationSubnets"), findings);
    if let Some(port) = port {
        check_port(port, &format!("{path}.port"), findings);
    }
    for (index, gateway) in gateways.iter().enumerate() {
        check_gateway_name(gateway, &format!("{path}.gateways[{index}]"), findings);
    }
    check_labels(source_labels, &format!("{path}.sourceLabels"), findings);
}

/// Whether all names that `name` stands for are also names that `host` stands for.
fn covers(host: &str, name: &str) -> bool {
    let (host, name) = (host.to_lowercase(), name.to_lowercase());
    match host.strip_prefix('*') {
        Some(suffix) => name.trim_start_matches('*').ends_with(suffix),
        None => host == name,
    }
}
