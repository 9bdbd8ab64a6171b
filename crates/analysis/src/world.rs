//! The objects that are analyzed: from files, from a live API, or both.

use std::{collections::BTreeMap, net::SocketAddr};

use k8s_openapi::api::core::v1::{Namespace, PodSpec, Secret, Service};
use mizzen_api::{Config, Kind, Violation, annotations::pod, mesh::MeshConfig};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::diagnostic::{Origin, ResourceName};

/// Labels or annotations.
pub type Texts = BTreeMap<String, String>;

/// What analysis takes for granted.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The domain of the cluster's services.
    pub domain: String,
    /// The namespace whose policies hold for all.
    pub root_namespace: String,
    /// The mesh's configuration. Without it nothing is said of what only it could tell.
    pub mesh: Option<MeshConfig>,
    /// The namespace of objects that do not say theirs.
    pub default_namespace: String,
    /// Whether the objects of a live API are all there, so that what is missing is missing indeed. Without
    /// it, nothing is said of pods and Secrets where there are none at all.
    pub is_live: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            domain: "cluster.local".to_owned(),
            root_namespace: "istio-system".to_owned(),
            mesh: None,
            default_namespace: "default".to_owned(),
            is_live: false,
        }
    }
}

impl Settings {
    /// Who sees services that do not say; empty is everyone.
    pub(crate) fn services_export_to(&self) -> &[String] {
        self.mesh.as_ref().map_or(&[], |mesh| &mesh.default_service_export_to)
    }

    /// Who sees VirtualServices that do not say; empty is everyone.
    pub(crate) fn virtual_services_export_to(&self) -> &[String] {
        self.mesh.as_ref().map_or(&[], |mesh| &mesh.default_virtual_service_export_to)
    }

    /// Who sees DestinationRules that do not say; empty is everyone.
    pub(crate) fn destination_rules_export_to(&self) -> &[String] {
        self.mesh.as_ref().map_or(&[], |mesh| &mesh.default_destination_rule_export_to)
    }
}

/// Who an object is and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Kind, name and namespace.
    pub name: ResourceName,
    /// Its annotations.
    pub annotations: Texts,
    /// The file it was read from.
    pub origin: Option<Origin>,
}

/// An object and its source.
#[derive(Clone, Debug)]
pub struct Item<T> {
    /// Who it is.
    pub source: Source,
    /// What it says.
    pub value: T,
}

impl<T> Item<T> {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.source.name.namespace
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.source.name.name
    }
}

/// A pod, or what a Deployment and its like make pods from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// Labels of the pods.
    pub labels: Texts,
    /// Annotations of the pods.
    pub annotations: Texts,
    /// What runs in them.
    pub spec: PodSpec,
    /// The phase, of a pod.
    pub phase: Option<String>,
}

/// The objects.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// What is taken for granted.
    pub settings: Settings,
    objects: BTreeMap<ResourceName, Object>,
    services_elsewhere: Vec<Item<Service>>,
    listeners: BTreeMap<ResourceName, Vec<SocketAddr>>,
}

#[derive(Clone, Debug)]
enum Object {
    Config(Item<Config>),
    Service(Item<Service>),
    Namespace(Item<Texts>),
    Secret(Item<Secret>),
    Pod(Item<Workload>),
    Controller(Item<Workload>),
    Invalid(Item<Vec<Violation>>),
    Other(Item<()>),
}

impl World {
    /// No objects yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Adds an object of any kind, in place of one of the same kind and name: so files, added after a live
    /// API, show what would be if they were applied. Lists are taken apart; what is not an object is ignored.
    pub fn add(&mut self, value: Value, origin: Option<Origin>) {
        if let Some(Value::Array(items)) = value.get("items")
            && value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"))
        {
            for item in items.clone() {
                self.add(item, origin.clone());
            }
            return;
        }
        let Some(source) = self.source_of(&value, origin) else { return };
        let name = source.name.clone();
        let object = read(value, source);
        self.objects.insert(name, object);
    }

    fn source_of(&self, value: &Value, origin: Option<Origin>) -> Option<Source> {
        let kind = value.get("kind").and_then(Value::as_str)?.to_owned();
        let metadata = value.get("metadata");
        let text = |field: &str| {
            metadata.and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or_default()
        };
        let namespace = match text("namespace") {
            _ if CLUSTER_SCOPED.contains(&kind.as_str()) => String::new(),
            "" => self.settings.default_namespace.clone(),
            namespace => namespace.to_owned(),
        };
        let annotations = texts(metadata.and_then(|meta| meta.get("annotations")));
        let name = ResourceName { kind, name: text("name").to_owned(), namespace };
        Some(Source { name, annotations, origin })
    }

    /// The mesh's own resources that can be read.
    pub fn configs(&self) -> impl Iterator<Item = &Item<Config>> {
        self.objects.values().filter_map(|object| match object {
            Object::Config(item) => Some(item),
            _ => None,
        })
    }

    /// The Services.
    pub fn services(&self) -> impl Iterator<Item = &Item<Service>> {
        self.objects.values().filter_map(|object| match object {
            Object::Service(item) => Some(item),
            _ => None,
        })
    }

    /// Makes the Services of another cluster of the mesh known: rules may name them, and nothing is said of
    /// them themselves.
    pub fn know_services_of(&mut self, other: &World) {
        self.services_elsewhere.extend(other.services().cloned());
    }

    /// The Services of other clusters of the mesh.
    pub(crate) fn services_elsewhere(&self) -> impl Iterator<Item = &Item<Service>> {
        self.services_elsewhere.iter()
    }

    /// Adds the sockets that listen in a pod.
    pub fn add_listeners(&mut self, pod: ResourceName, sockets: Vec<SocketAddr>) {
        self.listeners.insert(pod, sockets);
    }

    /// The sockets that listen in a pod, as far as they are known.
    pub(crate) fn listeners(&self, pod: &Item<Workload>) -> &[SocketAddr] {
        self.listeners.get(&pod.source.name).map_or(&[], Vec::as_slice)
    }

    /// The labels of the namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = &Item<Texts>> {
        self.objects.values().filter_map(|object| match object {
            Object::Namespace(item) => Some(item),
            _ => None,
        })
    }

    /// A Secret.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Secret> {
        let key = ResourceName { kind: "Secret".into(), name: name.into(), namespace: namespace.into() };
        match self.objects.get(&key) {
            Some(Object::Secret(item)) => Some(&item.value),
            _ => None,
        }
    }

    /// Whether Secrets are known, so that one that is not there is missing.
    pub fn knows_secrets(&self) -> bool {
        self.settings.is_live || self.objects.values().any(|object| matches!(object, Object::Secret(_)))
    }

    /// The pods.
    pub fn pods(&self) -> impl Iterator<Item = &Item<Workload>> {
        self.objects.values().filter_map(|object| match object {
            Object::Pod(item) => Some(item),
            _ => None,
        })
    }

    /// What pods are made from: Deployments and their like.
    pub fn controllers(&self) -> impl Iterator<Item = &Item<Workload>> {
        self.objects.values().filter_map(|object| match object {
            Object::Controller(item) => Some(item),
            _ => None,
        })
    }

    /// Pods, and what pods are made from.
    pub fn workloads(&self) -> impl Iterator<Item = &Item<Workload>> {
        self.pods().chain(self.controllers())
    }

    /// Whether workloads are known, so that a selector that selects none selects nothing.
    pub fn knows_workloads(&self) -> bool {
        self.settings.is_live || self.workloads().next().is_some()
    }

    /// The objects that cannot be read, and why.
    pub fn invalid(&self) -> impl Iterator<Item = &Item<Vec<Violation>>> {
        self.objects.values().filter_map(|object| match object {
            Object::Invalid(item) => Some(item),
            _ => None,
        })
    }

    /// Who all the objects are.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.objects.values().map(|object| match object {
            Object::Config(item) => &item.source,
            Object::Service(item) => &item.source,
            Object::Namespace(item) => &item.source,
            Object::Secret(item) => &item.source,
            Object::Pod(item) | Object::Controller(item) => &item.source,
            Object::Invalid(item) => &item.source,
            Object::Other(item) => &item.source,
        })
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// The kinds without a namespace that are met in files of manifests.
const CLUSTER_SCOPED: [&str; 9] = [
    "Namespace",
    "Node",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "GatewayClass",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

fn read(value: Value, source: Source) -> Object {
    let api_version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    match (api_version.as_str(), source.name.kind.as_str()) {
        ("v1", "Service") => typed(value, source, Object::Service),
        ("v1", "Secret") => typed(value, source, Object::Secret),
        ("v1", "Namespace") => typed(value, source, |item: Item<Namespace>| {
            let labels = item.value.metadata.labels.unwrap_or_default();
            Object::Namespace(Item { source: item.source, value: labels })
        }),
        ("v1", "Pod") => workload(value, source, Object::Pod),
        ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet") => {
            let template = value.pointer("/spec/template").cloned().unwrap_or_default();
            workload(template, source, Object::Controller)
        }
        (version, _) if version.split('/').next().is_some_and(is_istio_group) => {
            let namespace = source.name.namespace.clone();
            match mizzen_api::parse(value) {
                Ok(mut value) => {
                    value.meta.namespace = namespace;
                    Object::Config(Item { source, value })
                }
                Err(violations) => Object::Invalid(Item { source, value: violations }),
            }
        }
        _ => Object::Other(Item { source, value: () }),
    }
}

fn is_istio_group(group: &str) -> bool {
    Kind::ALL.iter().any(|kind| kind.group() == group)
}

fn typed<T: DeserializeOwned>(
    value: Value,
    source: Source,
    object: impl FnOnce(Item<T>) -> Object,
) -> Object {
    match serde_json::from_value(value) {
        Ok(value) => object(Item { source, value }),
        Err(error) => {
            Object::Invalid(Item { source, value: vec![Violation::error("spec", error.to_string())] })
        }
    }
}

/// Reads a pod or a pod template.
fn workload(value: Value, source: Source, object: impl FnOnce(Item<Workload>) -> Object) -> Object {
    let labels = texts(value.pointer("/metadata/labels"));
    let annotations = texts(value.pointer("/metadata/annotations"));
    let phase = value.pointer("/status/phase").and_then(Value::as_str).map(str::to_owned);
    let spec = value.get("spec").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    typed(spec, source, |item: Item<PodSpec>| {
        let value = Workload { labels, annotations, spec: item.value, phase };
        object(Item { source: item.source, value })
    })
}

fn texts(value: Option<&Value>) -> Texts {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Whether `labels` has all of `wanted`. An empty selector selects everything.
pub(crate) fn selects(wanted: &Texts, labels: &Texts) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

impl Workload {
    /// Whether a sidecar or gateway proxy runs in the pod.
    pub fn has_proxy(&self) -> bool {
        let init = self.spec.init_containers.iter().flatten();
        self.spec.containers.iter().chain(init).any(|container| container.name == "istio-proxy")
    }

    /// What the pod itself says of injection: its label, else its annotation.
    pub fn injection(&self) -> Option<&str> {
        self.labels.get(pod::INJECT).or_else(|| self.annotations.get(pod::INJECT)).map(String::as_str)
    }
}
