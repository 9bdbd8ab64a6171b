//! Which EndpointSlices a Service should have: pure, from the Service, its pods and the slices there.

use crate::controllers::deployment::{fnv1a, safe_letters};
use crate::controllers::pods::{is_finished, is_ready};
use k8s_openapi::api::core::v1::{Container, Endpoints, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Endpoints of one slice, as in Kubernetes' default.
const SLICE_SIZE: usize = 100;

/// Where the endpoints of a Service come from; each keeps to its own slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The pods its selector selects.
    Selector,
    /// The Endpoints object of the same name, written by a person.
    Endpoints,
}

impl Source {
    /// The value of the label `endpointslice.kubernetes.io/managed-by`.
    pub fn manager(self) -> &'static str {
        match self {
            Self::Selector => "endpointslice-controller.k8s.io",
            Self::Endpoints => "endpointslicemirroring-controller.k8s.io",
        }
    }
}

/// The endpoints that share a list of ports and an address family.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub address_type: &'static str,
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
}

/// What to do to the slices of a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// The zone of each node, by name.
pub type Zones = BTreeMap<String, String>;

/// Groups the pods a Service selects by the ports they serve it on. A named target port may be
/// another number in every pod; a pod without it is not an endpoint of that port.
pub fn groups_of_pods(service: &Service, pods: &[Arc<Pod>], zones: &Zones) -> Vec<Group> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let publish_not_ready = spec.publish_not_ready_addresses.unwrap_or(false);
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let service_ports = spec.ports.as_deref().unwrap_or_default();
    let mut groups: Vec<Group> = Vec::new();
    for pod in pods.iter().filter(|pod| !is_finished(pod)) {
        let Some((address, address_type)) = pod_address(pod) else { continue };
        let ports: Vec<EndpointPort> =
            service_ports.iter().filter_map(|port| endpoint_port(port, pod)).collect();
        // A headless Service without ports still has names for its pods.
        if ports.is_empty() && !(headless && service_ports.is_empty()) {
            continue;
        }
        let endpoint = pod_endpoint(service, pod, address, publish_not_ready, zones);
        match groups.iter_mut().find(|group| group.ports == ports && group.address_type == address_type) {
            Some(group) => group.endpoints.push(endpoint),
            None => groups.push(Group { address_type, ports, endpoints: vec![endpoint] }),
        }
    }
    groups
}

fn pod_address(pod: &Pod) -> Option<(String, &'static str)> {
    let address = pod.status.as_ref()?.pod_ip.as_ref()?;
    address_type(address).map(|address_type| (address.clone(), address_type))
}

fn address_type(address: &str) -> Option<&'static str> {
    match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(_) => Some("IPv4"),
        IpAddr::V6(_) => Some("IPv6"),
    }
}

fn endpoint_port(port: &ServicePort, pod: &Pod) -> Option<EndpointPort> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = match &port.target_port {
        None => port.port,
        // Zero is how an unset target port may be written.
        Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(pod, name, protocol)?,
    };
    Some(EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(number),
        protocol: Some(protocol.to_owned()),
        app_protocol: port.app_protocol.clone(),
    })
}

/// The container port of that name; native sidecars (init containers that go on) may have it too.
pub fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let containers: Vec<&Container> = spec.containers.iter().chain(sidecars).collect();
    containers.iter().flat_map(|container| container.ports.iter().flatten()).find_map(|port| {
        let matches =
            port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol;
        matches.then_some(port.container_port)
    })
}

fn pod_endpoint(
    service: &Service,
    pod: &Pod,
    address: String,
    publish_not_ready: bool,
    zones: &Zones,
) -> Endpoint {
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = is_ready(pod);
    let spec = pod.spec.as_ref();
    let node_name = spec.and_then(|spec| spec.node_name.clone());
    // A pod has a name of its own in DNS only under the Service its `subdomain` names.
    let in_subdomain = spec.and_then(|spec| spec.subdomain.as_ref()) == service.metadata.name.as_ref()
        && pod.metadata.namespace == service.metadata.namespace;
    Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(publish_not_ready || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: spec.and_then(|spec| spec.hostname.clone()).filter(|_| in_subdomain),
        zone: node_name.as_ref().and_then(|node| zones.get(node).cloned()),
        node_name,
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

/// The groups of an Endpoints object that a person wrote for a Service without a selector.
pub fn groups_of_endpoints(endpoints: &Endpoints) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports: Vec<EndpointPort> = subset
            .ports
            .iter()
            .flatten()
            .map(|port| EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(port.port),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            })
            .collect();
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, ready) in ready.chain(not_ready) {
            let Some(address_type) = address_type(&address.ip) else { continue };
            let endpoint = Endpoint {
                addresses: vec![address.ip.clone()],
                conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
                hostname: address.hostname.clone(),
                node_name: address.node_name.clone(),
                target_ref: address.target_ref.clone(),
                ..Endpoint::default()
            };
            match groups.iter_mut().find(|group| group.ports == ports && group.address_type == address_type) {
                Some(group) => group.endpoints.push(endpoint),
                None => groups.push(Group { address_type, ports: ports.clone(), endpoints: vec![endpoint] }),
            }
        }
    }
    groups
}

/// Fits the wanted groups into the slices there are: an endpoint stays in its slice, new ones go
/// where there is room, then into new slices; empty slices go. A Service with a selector that
/// selects nothing keeps one empty slice, which tells "no endpoints" from "not looked at yet".
pub fn plan_slices(
    service: &Service,
    owner: &OwnerReference,
    source: Source,
    groups: Vec<Group>,
    existing: &[Arc<EndpointSlice>],
) -> Changes {
    let mut groups = groups;
    if groups.is_empty() && source == Source::Selector {
        groups.push(Group { address_type: "IPv4", ports: Vec::new(), endpoints: Vec::new() });
    }
    let mut changes = Changes::default();
    let mut used_names: BTreeSet<String> =
        existing.iter().filter_map(|slice| slice.metadata.name.clone()).collect();
    let mut kept: BTreeSet<&str> = BTreeSet::new();
    for group in groups {
        let own: Vec<&Arc<EndpointSlice>> = existing
            .iter()
            .filter(|slice| {
                slice.address_type == group.address_type
                    && slice.ports.as_deref().unwrap_or_default() == group.ports.as_slice()
            })
            .collect();
        let mut waiting: BTreeMap<String, Endpoint> =
            group.endpoints.into_iter().map(|endpoint| (identity(&endpoint), endpoint)).collect();
        let mut filled: Vec<(&Arc<EndpointSlice>, Vec<Endpoint>)> = own
            .into_iter()
            .map(|slice| {
                let stay = slice.endpoints.iter().filter_map(|endpoint| waiting.remove(&identity(endpoint)));
                (slice, stay.take(SLICE_SIZE).collect())
            })
            .collect();
        let mut waiting = waiting.into_values().peekable();
        for (_, endpoints) in &mut filled {
            while endpoints.len() < SLICE_SIZE
                && let Some(endpoint) = waiting.next()
            {
                endpoints.push(endpoint);
            }
        }
        let only_empty = filled.iter().all(|(_, endpoints)| endpoints.is_empty());
        for (index, (slice, endpoints)) in filled.iter().enumerate() {
            if endpoints.is_empty() && !(only_empty && index == 0 && waiting.peek().is_none()) {
                continue;
            }
            kept.insert(slice.metadata.name.as_deref().unwrap_or_default());
            let mut wanted = EndpointSlice::clone(slice);
            wanted.endpoints = endpoints.clone();
            wanted.metadata.labels = Some(labels(service, source));
            wanted.metadata.owner_references = Some(vec![owner.clone()]);
            if wanted != ***slice {
                changes.update.push(wanted);
            }
        }
        let mut first = filled.is_empty();
        while waiting.peek().is_some() || first {
            first = false;
            let endpoints: Vec<Endpoint> = waiting.by_ref().take(SLICE_SIZE).collect();
            let name = new_name(service, group.address_type, &group.ports, &mut used_names);
            changes.create.push(EndpointSlice {
                metadata: ObjectMeta {
                    name: Some(name),
                    namespace: service.metadata.namespace.clone(),
                    labels: Some(labels(service, source)),
                    owner_references: Some(vec![owner.clone()]),
                    ..ObjectMeta::default()
                },
                address_type: group.address_type.to_owned(),
                ports: Some(group.ports.clone()),
                endpoints,
            });
        }
    }
    let surplus =
        existing.iter().filter(|slice| !kept.contains(slice.metadata.name.as_deref().unwrap_or_default()));
    changes.delete = surplus.cloned().collect();
    changes
}

/// What makes an endpoint the same one: its pod, or its address.
fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()).unwrap_or_default();
    format!("{uid}/{}", endpoint.addresses.first().map(String::as_str).unwrap_or_default())
}

fn labels(service: &Service, source: Source) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), source.manager().to_owned());
    let headless = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None");
    if headless && source == Source::Selector {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}

/// A name that depends only on the Service, the ports and what is taken: the same after a restart.
fn new_name(
    service: &Service,
    address_type: &str,
    ports: &[EndpointPort],
    used: &mut BTreeSet<String>,
) -> String {
    let service = service.metadata.name.as_deref().unwrap_or_default();
    let ports = serde_json::to_string(ports).unwrap_or_default();
    let mut attempt = 0_u32;
    loop {
        let suffix = safe_letters(fnv1a(format!("{service}/{address_type}/{ports}/{attempt}").as_bytes()));
        let suffix: String = suffix.chars().take(5).collect();
        let name = format!("{service}-{suffix}");
        if used.insert(name.clone()) {
            return name;
        }
        attempt = attempt.wrapping_add(1);
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
