//! The ports of a sidecar's own workload.

use std::{collections::BTreeMap, sync::Arc};

use mizzen_api::networking::{ConnectionPool, ServerTls as IngressTls};
use mizzen_model::{Host, Protocol, Service, TargetPort};

use crate::{
    context::Context,
    envoy::{self as e, core},
};

/// A port of the workload that a service, or the Sidecar that holds for it, declares.
#[derive(Clone, Debug)]
pub(crate) struct InboundPort {
    /// The number the workload listens on.
    pub(crate) number: u16,
    /// What it speaks, as the oldest service says.
    pub(crate) protocol: Protocol,
    /// The host and port clients know it by.
    pub(crate) known_as: Option<(Host, u16)>,
    /// The services that lead here, the oldest first.
    pub(crate) services: Vec<Arc<Service>>,
    /// Where traffic goes instead of the port itself.
    pub(crate) endpoint: Option<core::Address>,
    /// Limits of the port.
    pub(crate) connection_pool: Option<ConnectionPool>,
    /// TLS that the sidecar ends for the application's own clients.
    pub(crate) tls: Option<IngressTls>,
}

impl InboundPort {
    /// The port clients know it by.
    pub(crate) fn service_port(&self) -> u16 {
        self.known_as.as_ref().map_or(self.number, |(_, port)| *port)
    }
}

/// The declared ports of the workload, by number.
pub(crate) fn ports(context: &Context<'_>) -> Vec<InboundPort> {
    let sidecar = context.scope.sidecar().map(|sidecar| &sidecar.spec);
    if let Some(sidecar) = sidecar
        && !sidecar.ingress.is_empty()
    {
        let whole = sidecar.inbound_connection_pool.as_ref();
        return sidecar.ingress.iter().filter_map(|listener| ingress(context, listener, whole)).collect();
    }
    let whole = sidecar.and_then(|sidecar| sidecar.inbound_connection_pool.clone());
    let pod = context.snapshot().pod(&context.proxy.namespace, &context.proxy.name);
    let entry = context.snapshot().workload_entry(&context.proxy.namespace, &context.proxy.name);
    let named = pod.or(entry).map(|workload| workload.ports.clone()).unwrap_or_default();
    let mut ports: BTreeMap<u16, InboundPort> = BTreeMap::new();
    for service in context.snapshot().services_of_workload(&context.proxy.namespace, &context.labels) {
        for port in &service.ports {
            let target = match &port.target {
                TargetPort::Number(number) => Some(*number),
                TargetPort::Named(name) => named.get(name).copied(),
            };
            let Some(number) = target else { continue };
            ports.entry(number).and_modify(|known| known.services.push(Arc::clone(&service))).or_insert_with(
                || InboundPort {
                    number,
                    protocol: port.protocol,
                    known_as: Some((service.host.clone(), port.number)),
                    services: vec![Arc::clone(&service)],
                    endpoint: None,
                    connection_pool: whole.clone(),
                    tls: None,
                },
            );
        }
    }
    ports.into_values().collect()
}

fn ingress(
    context: &Context<'_>,
    listener: &mizzen_api::networking::IngressListener,
    whole: Option<&ConnectionPool>,
) -> Option<InboundPort> {
    let port = listener.port.as_ref()?;
    let number = u16::try_from(port.number).ok()?;
    let services: Vec<_> = context
        .snapshot()
        .services_of_workload(&context.proxy.namespace, &context.labels)
        .into_iter()
        .filter(|service| service.ports.iter().any(|port| port.target == TargetPort::Number(number)))
        .collect();
    let known_as = services.first().and_then(|service| {
        let port = service.ports.iter().find(|port| port.target == TargetPort::Number(number))?;
        Some((service.host.clone(), port.number))
    });
    Some(InboundPort {
        number,
        protocol: Protocol::parse(&port.protocol),
        known_as,
        services,
        endpoint: listener.default_endpoint.as_deref().and_then(|text| endpoint(context, text)),
        connection_pool: listener.connection_pool.clone().or_else(|| whole.cloned()),
        tls: listener.tls.clone(),
    })
}

/// Where a Sidecar's `defaultEndpoint` leads: the loopback, the workload's own address, or a Unix socket.
fn endpoint(context: &Context<'_>, text: &str) -> Option<core::Address> {
    if let Some(path) = text.strip_prefix("unix://") {
        return Some(e::pipe(path));
    }
    let (address, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    match address {
        "0.0.0.0" | "[::]" | "::" => Some(e::socket_address(context.proxy.addresses.first()?, port)),
        other => Some(e::socket_address(other.trim_matches(['[', ']']), port)),
    }
}
