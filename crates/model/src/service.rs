//! Services: hosts with ports that traffic can be addressed to, wherever they are declared.

use std::{cmp::Ordering, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use jiff::Timestamp;

use crate::{host::Host, map::Name, protocol::Protocol, visibility::Visibility, workload::Labels};

/// Where a service is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Registry {
    /// A Kubernetes Service.
    Kubernetes,
    /// A ServiceEntry.
    ServiceEntry,
}

/// The object that declares a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceSource {
    /// Its kind.
    pub registry: Registry,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
}

/// How the addresses behind a service are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The mesh knows the endpoints.
    Static,
    /// Every address DNS gives for the endpoints' names.
    Dns,
    /// The first address DNS gives, asked anew when connecting.
    DnsRoundRobin,
    /// The address the client dialled: headless services, and ServiceEntries that say `NONE`.
    Passthrough,
}

/// Whether a service is part of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// Its workloads may speak mutual TLS.
    Mesh,
    /// It is outside: no automatic mutual TLS.
    External,
}

/// Where a service's port leads on the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A port number.
    Number(u16),
    /// A named port of the workload's containers.
    Named(String),
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The number clients use.
    pub number: u16,
    /// Its name, empty where it has none.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it leads on the workload.
    pub target: TargetPort,
}

/// A host with ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its fully qualified name; a wildcard for some ServiceEntries.
    pub host: Host,
    /// The namespace of the object that declares it.
    pub namespace: Name,
    /// The name of that object.
    pub name: Name,
    /// The kind of that object.
    pub registry: Registry,
    /// Since when it exists: the oldest declaration wins.
    pub creation: Timestamp,
    /// Labels of the declaring object.
    pub labels: Arc<Labels>,
    /// The workloads that serve it; empty where endpoints are written down by hand.
    pub selector: Arc<Labels>,
    /// Its ports, without those that carry UDP.
    pub ports: Vec<Port>,
    /// Its virtual addresses; ranges for some ServiceEntries.
    pub addresses: Vec<IpNet>,
    /// The address the mesh allocated where it has none of its own, which the sidecar's DNS answers.
    pub allocated: Option<IpAddr>,
    /// How the addresses behind it are found.
    pub resolution: Resolution,
    /// A Kubernetes Service without a cluster address.
    pub headless: bool,
    /// Whether it is part of the mesh.
    pub location: Location,
    /// Who sees it.
    pub visibility: Visibility,
    /// Whether the declaring object says itself who sees it; else the mesh's default holds.
    pub declares_visibility: bool,
    /// Names its endpoints' certificates may carry, besides their identities.
    pub subject_alt_names: Vec<String>,
    /// The name an `ExternalName` Service stands for.
    pub external_name: Option<Host>,
    /// `spec.trafficDistribution` of a Kubernetes Service.
    pub traffic_distribution: Option<String>,
}

impl Service {
    /// What identifies it: two namespaces may declare the same host.
    pub fn key(&self) -> ServiceKey {
        ServiceKey { host: self.host.clone(), namespace: Arc::clone(&self.namespace) }
    }

    /// The object that declares it.
    pub fn source(&self) -> ServiceSource {
        ServiceSource {
            registry: self.registry,
            namespace: Arc::clone(&self.namespace),
            name: Arc::clone(&self.name),
        }
    }

    /// The port of this number.
    pub fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// The only port, where there is just one.
    pub fn only_port(&self) -> Option<&Port> {
        match self.ports.as_slice() {
            [port] => Some(port),
            _ => None,
        }
    }

    /// The single addresses clients dial; ranges are not among them.
    pub fn single_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(|net| net.prefix_len() == net.max_prefix_len()).map(IpNet::addr)
    }

    /// Which of two declarations of a host comes first: Kubernetes before ServiceEntries, then the
    /// older, then by name and namespace.
    pub fn precedence(&self, other: &Service) -> Ordering {
        (self.registry, self.creation, &self.name, &self.namespace).cmp(&(
            other.registry,
            other.creation,
            &other.name,
            &other.namespace,
        ))
    }
}

/// A service's identity within the mesh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The host.
    pub host: Host,
    /// The namespace that declares it.
    pub namespace: Name,
}
