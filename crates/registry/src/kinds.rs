//! Which kinds the mesh depends on, and how their objects become the model's.

use crate::batch::{Batch, Pace, Step, gather};
use crate::settings::{self, InjectionSettings, Settings};
use crate::watch::{Observed, watch as watch_kind, watch_news};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use mizzen_api::{Kind, Violation};
use mizzen_model::{Change, Object, ObjectRef};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Steps that may wait for the gatherer.
const STEPS: usize = 1024;
/// The ConfigMap with the mesh's settings and its key. Source: Istio.
const MESH_CONFIG_NAME: &str = "istio";
const MESH_CONFIG_KEY: &str = "mesh";

/// What to watch.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// The namespace of the control plane, where the mesh's settings are.
    pub root_namespace: String,
    /// How long to gather changes.
    pub pace: Pace,
}

/// Running watches; dropped, they end.
pub struct Registry {
    _tasks: JoinSet<()>,
    batches: mpsc::Receiver<Batch>,
    injection: watch::Receiver<Arc<InjectionSettings>>,
}

impl Registry {
    /// Starts all watches.
    pub fn start(client: &Client, options: &RegistryOptions) -> Self {
        let (steps, receiver) = mpsc::channel(STEPS);
        let mut starter = Starter { client, steps, tasks: JoinSet::new(), kinds: 0 };
        starter.cluster_wide::<core::Namespace>("Namespace", |object| {
            Reading::Use(Object::Namespace(Box::new(object)))
        });
        starter.cluster_wide::<core::Node>("Node", |object| Reading::Use(Object::Node(Box::new(object))));
        starter.cluster_wide::<core::Service>("Service", |object| {
            Reading::Use(Object::Service(Box::new(object)))
        });
        starter.cluster_wide::<core::Pod>("Pod", |object| Reading::Use(Object::Pod(Box::new(object))));
        starter.cluster_wide::<core::Secret>("Secret", secret);
        starter.cluster_wide::<discovery::EndpointSlice>("EndpointSlice", |object| {
            Reading::Use(Object::EndpointSlice(Box::new(object)))
        });
        let injection = starter.mesh_config(&options.root_namespace);
        for kind in Kind::ALL {
            starter.config(kind);
        }
        let Starter { steps, mut tasks, kinds, .. } = starter;
        drop(steps);
        let (sender, batches) = mpsc::channel(1);
        tasks.spawn(gather(receiver, kinds, options.pace, sender));
        Self { _tasks: tasks, batches, injection }
    }

    /// What injection takes from the mesh's settings, as they are now.
    pub fn injection_settings(&self) -> watch::Receiver<Arc<InjectionSettings>> {
        self.injection.clone()
    }

    /// The next batch; the first holds all that existed at the start. While it is awaited and not
    /// taken, changes gather. `None` when the watches have ended.
    pub async fn next(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }
}

/// What becomes of an object of the API.
enum Reading {
    /// The mesh depends on it.
    Use(Object),
    /// The mesh has no use for it: as if it were not there.
    Skip,
    /// It cannot be read; what was read before stays in force.
    KeepPrevious,
}

struct Starter<'a> {
    client: &'a Client,
    steps: mpsc::Sender<Step>,
    tasks: JoinSet<()>,
    kinds: usize,
}

impl Starter<'_> {
    /// Watches a built-in kind in all namespaces.
    fn cluster_wide<K>(&mut self, kind: &'static str, read: fn(K) -> Reading)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let api = Api::<K>::all(self.client.clone());
        let watched = watch_kind(kind, api, watcher::Config::default());
        self.spawn(watched, read, move |namespace, name| reference(kind, namespace, name));
    }

    /// Watches the mesh's settings.
    fn mesh_config(&mut self, root_namespace: &str) -> watch::Receiver<Arc<InjectionSettings>> {
        let (injection, receiver) = watch::channel(Arc::default());
        let api = Api::<core::ConfigMap>::namespaced(self.client.clone(), root_namespace);
        let only = watcher::Config::default().fields(&format!("metadata.name={MESH_CONFIG_NAME}"));
        let read = move |map| mesh_config(&map, &injection);
        self.spawn(watch_kind("ConfigMap", api, only), read, |_, _| ObjectRef::MeshConfig);
        receiver
    }

    /// Watches one of Istio's kinds, in the version it is stored in.
    fn config(&mut self, kind: Kind) {
        let resource = ApiResource {
            group: kind.group().to_owned(),
            version: kind.storage_version().to_owned(),
            api_version: format!("{}/{}", kind.group(), kind.storage_version()),
            kind: kind.name().to_owned(),
            plural: kind.plural().to_owned(),
        };
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &resource);
        let read = move |object| Reading::Use(config(kind, &object));
        let watched = watch_news(kind.name(), api, watcher::Config::default(), without_reports);
        self.spawn(watched, read, move |namespace, name| ObjectRef::config(kind, namespace, name));
    }

    fn spawn<K>(
        &mut self,
        watched: impl Stream<Item = Observed<K>> + Send + 'static,
        read: impl Fn(K) -> Reading + Send + 'static,
        reference: impl Fn(&str, &str) -> ObjectRef + Send + 'static,
    ) where
        K: Resource + Send + 'static,
    {
        self.kinds += 1;
        let steps = self.steps.clone();
        self.tasks.spawn(async move {
            let mut observations = watched.boxed();
            while let Some(observed) = observations.next().await {
                let step = match observed {
                    Observed::Present(mut object) => {
                        // Half of what an API sends is about who wrote which field.
                        object.meta_mut().managed_fields = None;
                        let namespace = object.namespace().unwrap_or_default();
                        let key = reference(&namespace, &object.name_any());
                        let change = match read(*object) {
                            Reading::Use(object) => Change::Upsert(object),
                            Reading::Skip => Change::Delete(key.clone()),
                            Reading::KeepPrevious => continue,
                        };
                        Step::Change(Box::new((key, change)))
                    }
                    Observed::Gone { namespace, name } => {
                        let key = reference(&namespace, &name);
                        Step::Change(Box::new((key.clone(), Change::Delete(key))))
                    }
                    Observed::Complete => Step::Complete,
                };
                if steps.send(step).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn reference(kind: &str, namespace: &str, name: &str) -> ObjectRef {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    match kind {
        "Namespace" => ObjectRef::Namespace { name },
        "Node" => ObjectRef::Node { name },
        "Service" => ObjectRef::Service { namespace, name },
        "Pod" => ObjectRef::Pod { namespace, name },
        "Secret" => ObjectRef::Secret { namespace, name },
        _ => ObjectRef::EndpointSlice { namespace, name },
    }
}

/// Secrets that can hold certificates. Tokens and releases of package managers are none of ours.
fn secret(secret: core::Secret) -> Reading {
    match secret.type_.as_deref().unwrap_or("Opaque") {
        "kubernetes.io/tls" | "Opaque" | "generic" => Reading::Use(Object::Secret(Box::new(secret))),
        _ => Reading::Skip,
    }
}

/// The mesh's settings. Of settings that cannot be read nothing is taken over.
fn mesh_config(map: &core::ConfigMap, injection: &watch::Sender<Arc<InjectionSettings>>) -> Reading {
    let text = map.data.as_ref().and_then(|data| data.get(MESH_CONFIG_KEY)).map_or("", String::as_str);
    match settings::parse(text) {
        Ok(Settings { mesh, injection: of_injection, warnings }) => {
            for warning in warnings {
                tracing::warn!("ConfigMap {MESH_CONFIG_NAME}, key {MESH_CONFIG_KEY}: {warning}");
            }
            injection.send_replace(Arc::new(of_injection));
            Reading::Use(Object::MeshConfig(Box::new(mesh)))
        }
        Err(violations) => {
            for violation in violations {
                tracing::error!(
                    "ConfigMap {MESH_CONFIG_NAME}, key {MESH_CONFIG_KEY}: {violation}; the settings before stay"
                );
            }
            Reading::KeepPrevious
        }
    }
}

/// All of an object but its version and what is reported of it. We write the statuses of Istio's resources
/// ourselves: seen as changes, they would hold up those that are.
fn without_reports(object: &DynamicObject) -> Option<u64> {
    let mut object = object.clone();
    object.metadata.resource_version = None;
    object.metadata.managed_fields = None;
    if let Some(fields) = object.data.as_object_mut() {
        fields.remove("status");
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(&serde_json::to_vec(&object).ok()?);
    Some(hasher.finish())
}

/// One of Istio's resources, or why it cannot be read.
fn config(kind: Kind, object: &DynamicObject) -> Object {
    let reference = ObjectRef::config(kind, object.namespace().unwrap_or_default(), object.name_any());
    let value = match serde_json::to_value(object) {
        Ok(value) => value,
        Err(error) => return Object::Unreadable(reference, vec![Violation::error("", error.to_string())]),
    };
    match mizzen_api::parse(value) {
        Ok(config) => Object::Config(Box::new(config)),
        Err(violations) => Object::Unreadable(reference, violations),
    }
}

#[cfg(test)]
#[path = "kinds_tests.rs"]
mod tests;
