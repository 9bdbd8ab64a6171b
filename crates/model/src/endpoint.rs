//! Endpoints: where the traffic of a service's port ends up.

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use crate::{host::Host, map::Name, workload::Workload};

/// An address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointAddress {
    /// An IP address.
    Ip(IpAddr),
    /// A name the proxy resolves.
    Dns(Host),
    /// The path of a Unix socket.
    Unix(Name),
}

impl EndpointAddress {
    /// Reads an address as WorkloadEntries spell it: an IP address, a name, or `unix://` and a path.
    pub fn parse(text: &str) -> Self {
        if let Some(path) = text.strip_prefix("unix://") {
            return Self::Unix(path.into());
        }
        text.parse().map_or_else(|_| Self::Dns(Host::new(text)), Self::Ip)
    }

    /// The IP address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            _ => None,
        }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(formatter),
            Self::Dns(host) => host.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix://{path}"),
        }
    }
}

/// One place traffic can go to.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: EndpointAddress,
    /// The port it listens on; 0 with a Unix socket.
    pub port: u16,
    /// Its share relative to the others; 1 unless a WorkloadEntry says more.
    pub weight: u32,
    /// What answers there: identity, labels, locality.
    pub workload: Arc<Workload>,
    /// The host name of a StatefulSet's pod, which is a label of its headless service.
    pub hostname: Option<Name>,
}

/// The endpoints of a service, by service port. Only those that are ready are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoints {
    by_port: BTreeMap<u16, Vec<Endpoint>>,
}

impl Endpoints {
    /// The endpoints of a service port.
    pub fn of_port(&self, port: u16) -> &[Endpoint] {
        self.by_port.get(&port).map_or(&[], Vec::as_slice)
    }

    /// Adds an endpoint of a service port, once.
    pub(crate) fn push(&mut self, port: u16, endpoint: Endpoint) {
        let endpoints = self.by_port.entry(port).or_default();
        if !endpoints.iter().any(|known| known.address == endpoint.address && known.port == endpoint.port) {
            endpoints.push(endpoint);
        }
    }

    /// Puts the endpoints in an order that does not depend on how they were learnt.
    pub(crate) fn sort(&mut self) {
        for endpoints in self.by_port.values_mut() {
            endpoints.sort_by(|a, b| (&a.address, a.port).cmp(&(&b.address, b.port)));
        }
    }

    /// All endpoints with their service port.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Endpoint)> {
        self.by_port.iter().flat_map(|(port, endpoints)| endpoints.iter().map(|endpoint| (*port, endpoint)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_port.is_empty()
    }

    /// The identities that may answer, as `(namespace, service account)`, sorted and once each.
    pub fn identities(&self) -> Vec<(Name, Name)> {
        let mut identities: Vec<_> = self
            .iter()
            .map(|(_, endpoint)| &endpoint.workload)
            .filter(|workload| workload.meshed && !workload.service_account.is_empty())
            .map(|workload| (Arc::clone(&workload.namespace), Arc::clone(&workload.service_account)))
            .collect();
        identities.sort();
        identities.dedup();
        identities
    }
}
