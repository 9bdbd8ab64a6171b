//! Kubernetes objects, reduced to what the mesh needs of them.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use crate::{
    host::Host,
    map::{Map, Name},
    protocol::Protocol,
    secret::Secret,
    service::{Location, Port, Registry, Resolution, Service, TargetPort},
    visibility::Visibility,
    workload::{LOCALITY_LABEL, Labels, Locality, Namespace, TLS_MODE_LABEL, Workload, WorkloadKind},
};

/// The annotation by which a Service says who sees it.
const EXPORT_TO_ANNOTATION: &str = "networking.istio.io/exportTo";
/// The annotation, later a field, that prefers near endpoints.
const TRAFFIC_DISTRIBUTION_ANNOTATION: &str = "networking.istio.io/traffic-distribution";
/// The annotations of pods that traffic or telemetry reads.
const POD_ANNOTATIONS: [&str; 3] =
    ["proxy.istio.io/config", "sidecar.istio.io/statsInclusionPrefixes", "sidecar.istio.io/discoveryAddress"];

/// Some endpoints of a Kubernetes Service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slice {
    pub(crate) service: Name,
    pub(crate) endpoints: Vec<SliceEndpoint>,
    /// Name and number.
    pub(crate) ports: Vec<(String, u16)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SliceEndpoint {
    pub(crate) address: IpAddr,
    pub(crate) pod: Option<Name>,
    pub(crate) node: Name,
    pub(crate) zone: String,
    pub(crate) hostname: Option<Name>,
}

pub(crate) fn namespace_of(metadata: &ObjectMeta) -> Name {
    metadata.namespace.as_deref().unwrap_or("default").into()
}

pub(crate) fn name_of(metadata: &ObjectMeta) -> Name {
    metadata.name.as_deref().unwrap_or_default().into()
}

fn creation_of(metadata: &ObjectMeta) -> Timestamp {
    metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default()
}

fn labels_of(metadata: &ObjectMeta) -> Labels {
    metadata.labels.clone().unwrap_or_default()
}

pub(crate) fn namespace(object: &core::Namespace) -> Namespace {
    Namespace { name: name_of(&object.metadata).to_string(), labels: labels_of(&object.metadata) }
}

/// Where a node is, as the well-known labels say.
pub(crate) fn locality_of_node(node: &core::Node) -> Locality {
    let labels = labels_of(&node.metadata);
    let label = |name: &str, legacy: &str| labels.get(name).or_else(|| labels.get(legacy)).cloned();
    Locality {
        region: label("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
            .unwrap_or_default(),
        zone: label("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
            .unwrap_or_default(),
        subzone: labels.get("topology.istio.io/subzone").cloned().unwrap_or_default(),
    }
}

/// A Service as the mesh sees it.
pub(crate) fn service(object: &core::Service, domain: &str, default_export: &[String]) -> Service {
    let namespace = namespace_of(&object.metadata);
    let name = name_of(&object.metadata);
    let spec = object.spec.clone().unwrap_or_default();
    let annotations = object.metadata.annotations.clone().unwrap_or_default();
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let external_name = spec
        .external_name
        .as_deref()
        .filter(|_| spec.type_.as_deref() == Some("ExternalName"))
        .map(Host::new);
    let export_to: Vec<String> = annotations
        .get(EXPORT_TO_ANNOTATION)
        .map(|text| text.split(',').map(|entry| entry.trim().to_owned()).collect())
        .unwrap_or_default();
    let addresses =
        spec.cluster_ips.clone().filter(|ips| !ips.is_empty()).or(spec.cluster_ip.map(|ip| vec![ip]));
    let resolution = match (&external_name, headless) {
        (Some(_), _) => Resolution::Dns,
        (None, true) => Resolution::Passthrough,
        (None, false) => Resolution::Static,
    };
    Service {
        host: Host::new(&format!("{name}.{namespace}.svc.{domain}")),
        visibility: Visibility::parse(&export_to, &namespace, default_export),
        declares_visibility: !export_to.is_empty(),
        registry: Registry::Kubernetes,
        creation: creation_of(&object.metadata),
        labels: Arc::new(labels_of(&object.metadata)),
        selector: Arc::new(spec.selector.unwrap_or_default()),
        ports: spec.ports.unwrap_or_default().iter().filter_map(service_port).collect(),
        addresses: addresses
            .unwrap_or_default()
            .iter()
            .filter_map(|address| address.parse::<IpAddr>().ok())
            .map(IpNet::from)
            .collect(),
        allocated: None,
        resolution,
        headless,
        location: Location::Mesh,
        subject_alt_names: Vec::new(),
        external_name,
        traffic_distribution: annotations
            .get(TRAFFIC_DISTRIBUTION_ANNOTATION)
            .cloned()
            .or(spec.traffic_distribution),
        namespace,
        name,
    }
}

fn service_port(port: &core::ServicePort) -> Option<Port> {
    let number = u16::try_from(port.port).ok()?;
    let name = port.name.clone().unwrap_or_default();
    let protocol = Protocol::of_port(number, &name, port.app_protocol.as_deref(), port.protocol.as_deref());
    let target = match &port.target_port {
        Some(IntOrString::Int(target)) => {
            TargetPort::Number(u16::try_from(*target).ok().filter(|n| *n > 0).unwrap_or(number))
        }
        Some(IntOrString::String(target)) => {
            target.parse().map_or_else(|_| TargetPort::Named(target.clone()), TargetPort::Number)
        }
        None => TargetPort::Number(number),
    };
    (protocol != Protocol::Udp).then_some(Port { number, name, protocol, target })
}

/// The ready endpoints of a slice; nothing where it belongs to no service or holds names.
pub(crate) fn slice(object: &discovery::EndpointSlice) -> Option<Slice> {
    let service = object.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?.as_str().into();
    let endpoints = object
        .endpoints
        .iter()
        .filter(|endpoint| {
            endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready != Some(false))
        })
        .filter_map(|endpoint| {
            let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
            Some(SliceEndpoint {
                address: endpoint.addresses.first()?.parse().ok()?,
                pod: target.and_then(|target| target.name.as_deref()).map(Name::from),
                node: endpoint.node_name.as_deref().unwrap_or_default().into(),
                zone: endpoint.zone.clone().unwrap_or_default(),
                hostname: endpoint.hostname.as_deref().map(Name::from),
            })
        })
        .collect();
    let ports = object.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.port?).ok()?;
        (port.protocol.as_deref() != Some("UDP")).then(|| (port.name.clone().unwrap_or_default(), number))
    });
    Some(Slice { service, endpoints, ports: ports.collect() })
}

/// A pod as the mesh sees it; nothing once it has ended.
pub(crate) fn pod(object: &core::Pod, nodes: &Map<Name, Locality>) -> Option<Workload> {
    let status = object.status.clone().unwrap_or_default();
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let spec = object.spec.clone().unwrap_or_default();
    let labels = labels_of(&object.metadata);
    let node: Name = spec.node_name.as_deref().unwrap_or_default().into();
    let locality = match labels.get(LOCALITY_LABEL) {
        Some(text) => Locality::parse(text),
        None => nodes.get(&node).cloned().unwrap_or_default(),
    };
    let mut addresses: Vec<IpAddr> =
        status.pod_ips.iter().flatten().filter_map(|ip| ip.ip.parse().ok()).collect();
    if let Some(main) = status.pod_ip.as_deref().and_then(|ip| ip.parse().ok())
        && !addresses.contains(&main)
    {
        addresses.insert(0, main);
    }
    let annotations = object.metadata.annotations.iter().flatten();
    Some(Workload {
        namespace: namespace_of(&object.metadata),
        name: name_of(&object.metadata),
        kind: WorkloadKind::Pod,
        addresses,
        service_account: spec.service_account_name.as_deref().unwrap_or("default").into(),
        workload_name: workload_name(&object.metadata, &labels),
        meshed: labels.get(TLS_MODE_LABEL).is_some_and(|mode| mode == "istio"),
        network: labels
            .get("topology.istio.io/network")
            .map_or_else(|| "".into(), |network| network.as_str().into()),
        labels: Arc::new(labels),
        annotations: Arc::new(
            annotations
                .filter(|(key, _)| POD_ANNOTATIONS.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        ),
        locality,
        node,
        host_network: spec.host_network == Some(true),
        ports: container_ports(&spec),
    })
}

fn container_ports(spec: &core::PodSpec) -> BTreeMap<String, u16> {
    let sidecars =
        spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| Some((port.name.clone()?, u16::try_from(port.container_port).ok()?)))
        .collect()
}

/// The name of what the pod belongs to: its Deployment, StatefulSet, DaemonSet, CronJob, or itself.
fn workload_name(metadata: &ObjectMeta, labels: &Labels) -> Name {
    let own = name_of(metadata);
    let Some(owner) = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
    else {
        return own;
    };
    match owner.kind.as_str() {
        "ReplicaSet" => {
            let hash = labels.get("pod-template-hash").map(|hash| format!("-{hash}"));
            let deployment = hash.and_then(|hash| owner.name.strip_suffix(&hash));
            deployment.unwrap_or(&owner.name).into()
        }
        "Job" => match owner.name.rsplit_once('-') {
            // A CronJob names its Jobs after the minute they start in.
            Some((cron, minute)) if minute.len() >= 8 && minute.bytes().all(|byte| byte.is_ascii_digit()) => {
                cron.into()
            }
            _ => owner.name.as_str().into(),
        },
        _ => owner.name.as_str().into(),
    }
}

pub(crate) fn secret(object: &core::Secret) -> Secret {
    let mut data: BTreeMap<String, Vec<u8>> =
        object.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    data.extend(
        object.string_data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes())),
    );
    Secret::new(data)
}
