//! What makes a ServiceEntry, a WorkloadEntry and a WorkloadGroup valid.

use std::net::IpAddr;

use super::{
    findings::Findings,
    names::{
        check_export_to, check_host, check_labels, check_port, check_protocol, check_subnets, is_dns_label,
        is_dns_name,
    },
};
use crate::networking::{Resolution, ServiceEntry, WorkloadEntry, WorkloadGroup};

pub(super) fn check(spec: &ServiceEntry, findings: &mut Findings) {
    if spec.hosts.is_empty() {
        findings.error("spec.hosts", "is required; name the hosts of the service");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{index}]");
        if host == "*" {
            findings
                .error(path, "\"*\" would take all traffic; name hosts, or a domain as \"*.example.com\"");
        } else {
            check_host(host, &path, findings);
        }
    }
    check_subnets(&spec.addresses, "spec.addresses", findings);
    check_ports(spec, findings);
    if spec.workload_selector.is_some() && !spec.endpoints.is_empty() {
        findings.error("spec", "has workloadSelector and endpoints set; only one of them can be");
    }
    if let Some(selector) = &spec.workload_selector {
        check_labels(&selector.labels, "spec.workloadSelector.labels", findings);
    }
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        check_endpoint(endpoint, spec, &format!("spec.endpoints[{index}]"), findings);
    }
    check_resolution(spec, findings);
    check_export_to(&spec.export_to, findings);
}

fn check_ports(spec: &ServiceEntry, findings: &mut Findings) {
    if spec.ports.is_empty() {
        findings.error("spec.ports", "is required; name at least one port");
    }
    for (index, port) in spec.ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        check_port(port.number, &format!("{path}.number"), findings);
        if let Some(protocol) = &port.protocol {
            check_protocol(protocol, &format!("{path}.protocol"), findings);
        }
        if let Some(target) = port.target_port {
            check_port(target, &format!("{path}.targetPort"), findings);
        }
        if !is_dns_label(&port.name) {
            findings.error(format!("{path}.name"), format!("{:?} is not the name of a port", port.name));
        }
    }
    findings.unique(
        &spec.ports,
        |p| Some(p.number.to_string()),
        |i| format!("spec.ports[{i}].number"),
        "the port",
    );
    findings.unique(
        &spec.ports,
        |p| Some(p.name.clone()),
        |i| format!("spec.ports[{i}].name"),
        "the port name",
    );
}

fn check_resolution(spec: &ServiceEntry, findings: &mut Findings) {
    let resolution = spec.resolution.unwrap_or_default();
    let path = "spec.resolution";
    if !matches!(resolution, Resolution::None | Resolution::Static)
        && spec.addresses.iter().any(|address| address.contains('/'))
    {
        findings.error("spec.addresses", "has a range, which needs resolution NONE or STATIC");
    }
    let wildcard = spec.hosts.iter().any(|host| host.starts_with('*'));
    match resolution {
        Resolution::None if !spec.endpoints.is_empty() => {
            findings.error(
                path,
                "NONE sends traffic where the client asked for; use STATIC or DNS for endpoints",
            );
        }
        Resolution::Static if spec.endpoints.is_empty() && spec.workload_selector.is_none() => {
            findings.error(path, "STATIC needs endpoints or a workloadSelector");
        }
        Resolution::Dns | Resolution::DnsRoundRobin if spec.endpoints.is_empty() && wildcard => {
            findings.error(path, "a wildcard host cannot be looked up; name whole hosts, or use NONE");
        }
        Resolution::DnsRoundRobin if spec.endpoints.len() > 1 => {
            findings.error(path, "DNS_ROUND_ROBIN takes at most one endpoint; use DNS for several");
        }
        Resolution::DynamicDns if !spec.endpoints.is_empty() => {
            findings.error(path, "DYNAMIC_DNS takes no endpoints");
        }
        Resolution::None
        | Resolution::Static
        | Resolution::Dns
        | Resolution::DnsRoundRobin
        | Resolution::DynamicDns => {}
    }
}

fn check_endpoint(endpoint: &WorkloadEntry, spec: &ServiceEntry, path: &str, findings: &mut Findings) {
    check_workload(endpoint, true, path, findings);
    for name in endpoint.ports.keys() {
        if !spec.ports.iter().any(|port| port.name == *name) {
            findings
                .error(format!("{path}.ports[{name}]"), format!("there is no port {name:?} in spec.ports"));
        }
    }
    let Some(address) = &endpoint.address else { return };
    let resolution = spec.resolution.unwrap_or_default();
    let is_ip = address.parse::<IpAddr>().is_ok();
    let is_socket = address.starts_with("unix://");
    if resolution == Resolution::Static && !is_ip && !is_socket {
        findings.error(
            format!("{path}.address"),
            format!("{address:?} is not an IP address; use resolution DNS for names"),
        );
    }
    if matches!(resolution, Resolution::Dns | Resolution::DnsRoundRobin) && is_socket {
        findings.error(format!("{path}.address"), "a socket needs resolution STATIC");
    }
}

/// Checks a WorkloadEntry.
pub(super) fn check_workload_entry(spec: &WorkloadEntry, findings: &mut Findings) {
    check_workload(spec, true, "spec", findings);
}

/// Checks a WorkloadGroup. Its template has no address: each workload has its own.
pub(super) fn check_workload_group(spec: &WorkloadGroup, findings: &mut Findings) {
    if let Some(metadata) = &spec.metadata {
        check_labels(&metadata.labels, "spec.metadata.labels", findings);
    }
    check_workload(&spec.template, false, "spec.template", findings);
    if let Some(probe) = &spec.probe {
        if let Some(http) = &probe.http_get {
            check_port(http.port, "spec.probe.httpGet.port", findings);
            if http.scheme.as_deref().is_some_and(|scheme| !["HTTP", "HTTPS"].contains(&scheme)) {
                findings.error("spec.probe.httpGet.scheme", "must be HTTP or HTTPS");
            }
        }
        if let Some(tcp) = &probe.tcp_socket {
            check_port(tcp.port, "spec.probe.tcpSocket.port", findings);
        }
        if let Some(grpc) = &probe.grpc {
            check_port(grpc.port, "spec.probe.grpc.port", findings);
        }
        if probe.exec.as_ref().is_some_and(|exec| exec.command.is_empty()) {
            findings.error("spec.probe.exec.command", "must not be empty");
        }
    }
}

fn check_workload(workload: &WorkloadEntry, needs_address: bool, path: &str, findings: &mut Findings) {
    let address_path = format!("{path}.address");
    match workload.address.as_deref() {
        None if needs_address && workload.network.is_none() => {
            findings.error(address_path, "is required; say where the workload is reached");
        }
        None => {}
        Some(address) => match address.strip_prefix("unix://") {
            Some(socket) => {
                if !socket.starts_with(['/', '@']) || socket.ends_with('/') {
                    findings.error(
                        address_path,
                        "must be the absolute path of a socket, as unix:///run/app.sock",
                    );
                }
                if !workload.ports.is_empty() {
                    findings.error(format!("{path}.ports"), "a socket has no ports; take them out");
                }
            }
            None if address.parse::<IpAddr>().is_err() && !is_dns_name(address) => {
                let message = format!("{address:?} is not an IP address, a DNS name or a unix:// path");
                findings.error(address_path, message);
            }
            None => {}
        },
    }
    for (name, number) in &workload.ports {
        let path = format!("{path}.ports[{name}]");
        if !is_dns_label(name) {
            findings.error(&path, format!("{name:?} is not the name of a port"));
        }
        check_port(*number, &path, findings);
    }
    check_labels(&workload.labels, &format!("{path}.labels"), findings);
}
