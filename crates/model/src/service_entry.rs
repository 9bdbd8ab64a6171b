//! ServiceEntries and WorkloadEntries: services and workloads that Kubernetes does not know.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use mizzen_api::{
    Meta,
    networking::{self as api, ServiceEntry, WorkloadEntry},
};

use crate::{
    endpoint::{Endpoint, EndpointAddress},
    host::Host,
    map::Name,
    protocol::Protocol,
    service::{Location, Port, Registry, Resolution, Service, TargetPort},
    visibility::Visibility,
    workload::{Locality, TLS_MODE_LABEL, Workload, WorkloadKind, selects},
};

/// A ServiceEntry with the name of its object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) meta: Meta,
    pub(crate) spec: ServiceEntry,
}

/// A WorkloadEntry as a workload, with what is only said of its endpoints.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorkloadEndpoint {
    pub(crate) workload: Arc<Workload>,
    pub(crate) address: Option<EndpointAddress>,
    pub(crate) ports: std::collections::BTreeMap<String, u32>,
    pub(crate) weight: u32,
}

/// The label that opts a ServiceEntry out of an allocated address.
const ALLOCATION_LABEL: &str = "networking.istio.io/enable-autoallocate-ip";

impl Entry {
    /// The services it declares, one a host.
    pub(crate) fn services(&self, default_export: &[String]) -> Vec<Service> {
        self.spec.hosts.iter().map(|host| self.service(host, default_export)).collect()
    }

    fn service(&self, host: &str, default_export: &[String]) -> Service {
        let spec = &self.spec;
        let resolution = match spec.resolution.unwrap_or_default() {
            api::Resolution::None | api::Resolution::DynamicDns => Resolution::Passthrough,
            api::Resolution::Static => Resolution::Static,
            api::Resolution::Dns => Resolution::Dns,
            api::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
        };
        Service {
            host: Host::new(host),
            namespace: self.meta.namespace.as_str().into(),
            name: self.meta.name.as_str().into(),
            registry: Registry::ServiceEntry,
            creation: self.meta.creation,
            labels: Arc::new(self.meta.labels.clone()),
            selector: Arc::new(spec.workload_selector.as_ref().map(|s| s.labels.clone()).unwrap_or_default()),
            ports: spec.ports.iter().filter_map(port).collect(),
            addresses: spec.addresses.iter().filter_map(|address| parse_address(address)).collect(),
            allocated: None,
            resolution,
            headless: false,
            location: match spec.location.unwrap_or_default() {
                api::Location::MeshExternal => Location::External,
                api::Location::MeshInternal => Location::Mesh,
            },
            visibility: Visibility::parse(&spec.export_to, &self.meta.namespace, default_export),
            declares_visibility: !spec.export_to.is_empty(),
            subject_alt_names: spec.subject_alt_names.clone(),
            external_name: None,
            traffic_distribution: None,
        }
    }

    /// Whether its hosts get an address of the mesh's own: there is none in it, and one would be of use.
    pub(crate) fn wants_allocation(&self) -> bool {
        self.spec.addresses.is_empty()
            && self.spec.resolution.unwrap_or_default() != api::Resolution::None
            && self.meta.labels.get(ALLOCATION_LABEL).is_none_or(|setting| setting != "false")
    }

    /// The endpoints written into it, and those its selector finds, as (service port, endpoint).
    pub(crate) fn endpoints<'a>(
        &self,
        service: &Service,
        pods: impl Iterator<Item = &'a Arc<Workload>>,
        entries: impl Iterator<Item = &'a Arc<WorkloadEndpoint>>,
    ) -> Vec<(u16, Endpoint)> {
        let mut found = Vec::new();
        let written: Vec<_> =
            self.spec.endpoints.iter().map(|e| workload_endpoint(&self.meta, e, service.location)).collect();
        for port in &service.ports {
            found.extend(written.iter().filter_map(|e| Some((port.number, entry_endpoint(port, e)?))));
        }
        if let Some(selector) = &self.spec.workload_selector {
            let pods: Vec<_> = pods.filter(|pod| selects(&selector.labels, &pod.labels)).collect();
            let entries: Vec<_> =
                entries.filter(|entry| selects(&selector.labels, &entry.workload.labels)).collect();
            for port in &service.ports {
                found.extend(pods.iter().filter_map(|pod| Some((port.number, pod_endpoint(port, pod)?))));
                found.extend(entries.iter().filter_map(|e| Some((port.number, entry_endpoint(port, e)?))));
            }
        } else if written.is_empty()
            && matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
        {
            let itself = host_endpoint(&self.meta, &service.host);
            found.extend(service.ports.iter().map(|port| (port.number, itself(port))));
        }
        found
    }
}

fn port(port: &api::ServicePort) -> Option<Port> {
    let number = u16::try_from(port.number).ok()?;
    let protocol = port
        .protocol
        .as_deref()
        .map_or_else(|| Protocol::of_port(number, &port.name, None, None), Protocol::parse);
    let target = port.target_port.and_then(|target| u16::try_from(target).ok()).unwrap_or(number);
    let port = Port { number, name: port.name.clone(), protocol, target: TargetPort::Number(target) };
    (protocol != Protocol::Udp).then_some(port)
}

fn parse_address(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn target_number(port: &Port) -> u16 {
    match port.target {
        TargetPort::Number(target) => target,
        TargetPort::Named(_) => port.number,
    }
}

/// A WorkloadEntry, or the same written into a ServiceEntry.
pub(crate) fn workload_endpoint(meta: &Meta, spec: &WorkloadEntry, location: Location) -> WorkloadEndpoint {
    let mut labels = meta.labels.clone();
    labels.extend(spec.labels.clone());
    let address = spec.address.as_deref().map(EndpointAddress::parse);
    let declared = labels.get(TLS_MODE_LABEL);
    // An entry with an identity is a meshed workload unless it says otherwise.
    let meshed = match declared {
        Some(mode) => mode == "istio",
        None => location == Location::Mesh && spec.service_account.is_some(),
    };
    let workload = Workload {
        namespace: meta.namespace.as_str().into(),
        name: meta.name.as_str().into(),
        kind: WorkloadKind::Entry,
        addresses: address.as_ref().and_then(EndpointAddress::ip).into_iter().collect(),
        service_account: spec.service_account.as_deref().unwrap_or_default().into(),
        workload_name: meta.name.as_str().into(),
        locality: spec.locality.as_deref().map(Locality::parse).unwrap_or_default(),
        node: Name::from(""),
        network: spec.network.as_deref().unwrap_or_default().into(),
        meshed,
        host_network: false,
        labels: Arc::new(labels),
        annotations: Arc::default(),
        ports: spec
            .ports
            .iter()
            .filter_map(|(name, port)| Some((name.clone(), u16::try_from(*port).ok()?)))
            .collect(),
    };
    WorkloadEndpoint {
        workload: Arc::new(workload),
        address,
        ports: spec.ports.clone(),
        weight: spec.weight.unwrap_or(1).max(1),
    }
}

fn entry_endpoint(port: &Port, entry: &WorkloadEndpoint) -> Option<Endpoint> {
    let number = entry.ports.get(&port.name).and_then(|number| u16::try_from(*number).ok());
    let address = entry.address.clone()?;
    Some(Endpoint {
        port: match address {
            EndpointAddress::Unix(_) => 0,
            _ => number.unwrap_or_else(|| target_number(port)),
        },
        address,
        weight: entry.weight,
        workload: Arc::clone(&entry.workload),
        hostname: None,
    })
}

fn pod_endpoint(port: &Port, pod: &Arc<Workload>) -> Option<Endpoint> {
    Some(Endpoint {
        address: EndpointAddress::Ip(*pod.addresses.first()?),
        port: target_number(port),
        weight: 1,
        workload: Arc::clone(pod),
        hostname: None,
    })
}

/// A service resolved by DNS without endpoints leads to its own host.
fn host_endpoint<'a>(meta: &'a Meta, host: &'a Host) -> impl Fn(&Port) -> Endpoint + 'a {
    let entry = WorkloadEntry { address: Some(host.as_str().to_owned()), ..WorkloadEntry::default() };
    let described = workload_endpoint(meta, &entry, Location::External);
    move |port| Endpoint {
        address: EndpointAddress::Dns(host.clone()),
        port: target_number(port),
        weight: 1,
        workload: Arc::clone(&described.workload),
        hostname: None,
    }
}
