//! The table of cluster addresses and node ports: pure, from Services and EndpointSlices.

use crate::controllers::{Forward, Frontend, SERVICE_NAME, Transport};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

/// Every forward the Services ask for, in a stable order.
pub fn plan_forwards(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Vec<Forward> {
    let mut by_service: HashMap<(&str, &str), Vec<&EndpointSlice>> = HashMap::new();
    for slice in slices {
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        if let (Some(namespace), Some(service)) = (slice.metadata.namespace.as_deref(), service) {
            by_service.entry((namespace, service)).or_default().push(slice);
        }
    }
    let mut forwards = Vec::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let no_slices = Vec::new();
        let own = by_service.get(&(namespace, name)).unwrap_or(&no_slices);
        for port in spec.ports.iter().flatten() {
            let Some(transport) = transport_of(port) else { continue };
            let Ok(number) = u16::try_from(port.port) else { continue };
            let backends = ready_backends(own.iter().copied(), port);
            let comment = format!("{namespace}/{name}:{number}");
            for address in addresses_of(service) {
                let frontend = SocketAddrV4::new(address, number);
                // Served at its own address (cluster DNS): nothing to forward.
                if backends.contains(&frontend) {
                    continue;
                }
                forwards.push(Forward {
                    frontend: Frontend::Address(frontend),
                    transport,
                    backends: backends.clone(),
                    comment: comment.clone(),
                });
            }
            if let Some(node_port) = node_port_of(service, port) {
                let frontend = Frontend::NodePort(node_port);
                forwards.push(Forward { frontend, transport, backends, comment });
            }
        }
    }
    forwards.sort_by_key(|forward| (forward.frontend, forward.transport));
    forwards.dedup_by_key(|forward| (forward.frontend, forward.transport));
    forwards
}

/// `None` for SCTP, which the API takes but this node does not forward.
pub fn transport_of(port: &ServicePort) -> Option<Transport> {
    match port.protocol.as_deref() {
        None | Some("TCP") => Some(Transport::Tcp),
        Some("UDP") => Some(Transport::Udp),
        Some(_) => None,
    }
}

fn addresses_of(service: &Service) -> Vec<Ipv4Addr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    let cluster_ip = spec.cluster_ip.iter();
    cluster_ip.chain(spec.external_ips.iter().flatten()).filter_map(|address| address.parse().ok()).collect()
}

fn node_port_of(service: &Service, port: &ServicePort) -> Option<u16> {
    let type_ = service.spec.as_ref()?.type_.as_deref()?;
    let published = matches!(type_, "NodePort" | "LoadBalancer");
    port.node_port
        .filter(|_| published)
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| *number != 0)
}

/// The addresses that serve a Service port: the ready ones, else those that still serve while they
/// end, as kube-proxy does.
pub fn ready_backends<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    port: &ServicePort,
) -> Vec<SocketAddrV4> {
    let name = port.name.as_deref().unwrap_or_default();
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let (mut ready, mut leaving) = (Vec::new(), Vec::new());
    for slice in slices.into_iter().filter(|slice| slice.address_type == "IPv4") {
        let number = slice.ports.iter().flatten().find_map(|candidate| {
            let same = candidate.name.as_deref().unwrap_or_default() == name
                && candidate.protocol.as_deref().unwrap_or("TCP") == protocol;
            candidate.port.filter(|_| same).and_then(|number| u16::try_from(number).ok())
        });
        let Some(number) = number else { continue };
        for endpoint in &slice.endpoints {
            let address = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
            let Some(SocketAddr::V4(address)) = address.map(|address| SocketAddr::new(address, number))
            else {
                continue;
            };
            let conditions = endpoint.conditions.as_ref();
            // An unset condition counts as ready (discovery.k8s.io/v1, EndpointConditions).
            if conditions.and_then(|conditions| conditions.ready).unwrap_or(true) {
                ready.push(address);
            } else if conditions.and_then(|conditions| conditions.serving).unwrap_or(false) {
                leaving.push(address);
            }
        }
    }
    let mut backends = if ready.is_empty() { leaving } else { ready };
    backends.sort_unstable();
    backends.dedup();
    backends
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
