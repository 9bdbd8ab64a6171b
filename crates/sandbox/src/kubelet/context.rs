//! What everything about one pod shares: its object, its state, and the ways to the outside.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod};
use kube::Resource as _;
use mizzen_net::NetworkNamespace;
use mizzen_net::process::Namespace;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, watch};

use super::access::{Access, Token};
use super::attach::Main;
use super::environment::Placed;
use super::files::ClusterDns;
use super::image::ImageMap;
use super::logs::Log;
use super::process::Place;
use super::state::{Condition, ContainerState, PodState};
use crate::events::{Recorder, Severity};

/// How the kubelet is set up.
#[derive(Clone, Debug)]
pub struct KubeletSettings {
    /// The node's name.
    pub node_name: String,
    /// The node's address.
    pub node_address: Ipv4Addr,
    /// Where pods' files and logs are kept; emptied at the start.
    pub state: PathBuf,
    /// What runs for an image.
    pub images: ImageMap,
    /// Cluster DNS.
    pub dns: ClusterDns,
}

/// A ConfigMap or Secret that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it is a Secret.
    pub secret: bool,
}

/// The pod object as last seen.
#[derive(Clone, Debug)]
pub struct PodView {
    /// The object.
    pub pod: Arc<Pod>,
    /// Whether the API no longer has it.
    pub gone: bool,
}

impl PodView {
    /// Whether the pod is to end.
    pub fn is_ending(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }
}

/// The logs of a container's last two runs.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// The run that is or was last.
    pub current: Option<Arc<Log>>,
    /// The one before.
    pub previous: Option<Arc<Log>>,
}

/// A pod's network as its containers and probes use it.
#[derive(Clone, Debug)]
pub struct PodPlace {
    /// The network namespace.
    pub network: NetworkNamespace,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The host name's namespace.
    pub host_name: Namespace,
}

/// One pod.
pub struct PodContext {
    pub settings: Arc<KubeletSettings>,
    pub client: kube::Client,
    pub access: Access,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The pod as Events name it.
    pub about: ObjectReference,
    pub events: Recorder,
    pub view: watch::Receiver<PodView>,
    pub touched: broadcast::Sender<Touched>,
    pub changed: Notify,
    pub state: Mutex<PodState>,
    pub logs: Mutex<HashMap<String, Logs>>,
    /// Containers that run now: where, and how clients join them.
    pub running: Mutex<HashMap<String, (Place, Main)>>,
    /// Service-account tokens by audience.
    pub tokens: Mutex<HashMap<String, Token>>,
}

impl PodContext {
    /// A pod the kubelet takes on.
    pub fn new(
        settings: Arc<KubeletSettings>,
        client: kube::Client,
        events: Recorder,
        touched: broadcast::Sender<Touched>,
        view: watch::Receiver<PodView>,
    ) -> Self {
        let pod = view.borrow().pod.clone();
        let namespace = pod.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let name = pod.metadata.name.clone().unwrap_or_default();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let about = reference(&pod);
        let access = Access::new(client.clone(), &namespace);
        let state = Mutex::new(PodState { containers: first_states(&pod), ..PodState::default() });
        Self {
            settings,
            client,
            access,
            namespace,
            name,
            uid,
            about,
            events,
            view,
            touched,
            changed: Notify::new(),
            state,
            logs: Mutex::default(),
            running: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    /// The object as last seen.
    pub fn pod(&self) -> Arc<Pod> {
        self.view.borrow().pod.clone()
    }

    /// Resolves once the pod is to end.
    pub async fn ending(&self) {
        // An error means that the kubelet has dropped the pod.
        let _ = self.view.clone().wait_for(PodView::is_ending).await;
    }

    /// The folder of the pod's files.
    pub fn folder(&self) -> PathBuf {
        self.settings.state.join("pods").join(&self.uid)
    }

    /// The folder of a volume.
    pub fn volume_folder(&self, volume: &str) -> PathBuf {
        self.folder().join("volumes").join(volume)
    }

    /// The folder of a container's logs.
    pub fn log_folder(&self, container: &str) -> PathBuf {
        let pod = format!("{}_{}_{}", self.namespace, self.name, self.uid);
        self.settings.state.join("logs").join(pod).join(container)
    }

    /// What the pod knows of its place.
    pub fn placed(&self) -> Placed {
        Placed {
            pod_address: self.state.lock().address.map(|address| address.to_string()).unwrap_or_default(),
            host_address: self.settings.node_address.to_string(),
            node_name: self.settings.node_name.clone(),
        }
    }

    /// Changes a container's state and has it published.
    pub fn update(&self, container: &str, change: impl FnOnce(&mut ContainerState)) {
        change(self.state.lock().containers.entry(container.to_owned()).or_default());
        self.changed.notify_one();
    }

    /// Says why a container does not run yet.
    pub fn waiting(&self, container: &str, reason: &str, message: Option<String>) {
        self.update(container, |state| {
            state.ready = false;
            state.started = false;
            state.condition = Condition::Waiting { reason: reason.to_owned(), message };
        });
    }

    /// An Event about the pod or one of its containers.
    pub fn event(
        &self,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
        container: Option<&Container>,
    ) {
        let field = container.map(|container| format!("spec.containers{{{}}}", container.name));
        let about = ObjectReference { field_path: field, ..self.about.clone() };
        self.events.record(&about, severity, reason, message);
    }
}

/// A pod as Events name it.
pub fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        ..pod.object_ref(&())
    }
}

/// How the containers of a pod begin. One that ran in an earlier life of this node starts anew and
/// says so by its restart count.
fn first_states(pod: &Pod) -> std::collections::BTreeMap<String, ContainerState> {
    let Some(spec) = &pod.spec else { return std::collections::BTreeMap::new() };
    let status = pod.status.as_ref();
    let inits = status.and_then(|status| status.init_container_statuses.as_ref());
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let earlier = |name: &str| {
        let mut all = inits.into_iter().chain(containers).flatten();
        all.find(|found| found.name == name && found.container_id.is_some()).map(|found| found.restart_count)
    };
    let waits = if spec.init_containers.as_ref().is_some_and(|inits| !inits.is_empty()) {
        "PodInitializing"
    } else {
        "ContainerCreating"
    };
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    let state = |container: &Container| {
        let restarts =
            earlier(&container.name).map_or(0, |count| u32::try_from(count).unwrap_or_default() + 1);
        let condition = Condition::Waiting { reason: waits.to_owned(), message: None };
        (container.name.clone(), ContainerState { restarts, condition, ..ContainerState::default() })
    };
    all.map(state).collect()
}
