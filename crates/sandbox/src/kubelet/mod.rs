//! The kubelet: watches the pods of its node through the API and makes them run, as network
//! namespaces with process groups in them.

mod access;
mod attach;
mod container;
mod context;
mod environment;
mod files;
mod image;
mod logs;
mod mounts;
mod node_object;
mod pod;
mod probes;
mod process;
mod runtime;
mod state;
mod sweep;
mod unhonoured;
mod views;
mod volumes;

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource, ResourceExt as _};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use crate::events::Recorder;
use crate::node::NodeNetwork;
use context::{PodContext, PodView, Touched};

pub use context::KubeletSettings;
pub use files::ClusterDns;
pub use image::{COMMAND_ANNOTATION, ImageMap};
pub use runtime::PodRuntime;

/// The pods that run on the node, by namespace and name. Shared with what serves logs and `exec`.
#[derive(Clone, Default)]
pub struct Pods(Arc<Mutex<PodsByName>>);

/// By namespace and name.
type PodsByName = HashMap<(String, String), Arc<PodContext>>;

impl Pods {
    fn find(&self, namespace: &str, name: &str) -> Option<Arc<PodContext>> {
        self.0.lock().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }
}

/// The kubelet and scheduler of the one node.
pub struct Kubelet {
    client: kube::Client,
    settings: Arc<KubeletSettings>,
    network: Arc<NodeNetwork>,
    pods: Pods,
    events: Recorder,
    touched: broadcast::Sender<Touched>,
    /// By uid: how a pod's own task is told of changes.
    views: HashMap<String, watch::Sender<PodView>>,
}

impl Kubelet {
    /// A kubelet that has not started yet. What earlier ones left in the state folder is removed.
    pub fn new(
        client: kube::Client,
        settings: KubeletSettings,
        network: Arc<NodeNetwork>,
        pods: Pods,
        events: &Recorder,
    ) -> Self {
        for folder in ["pods", "logs"] {
            let folder = settings.state.join(folder);
            if let Err(error) = std::fs::remove_dir_all(&folder)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %folder.display(), %error, "cannot remove what an earlier run left");
            }
        }
        let (touched, _) = broadcast::channel(1024);
        let events = events.for_component("kubelet").on_host(&settings.node_name);
        Self { client, settings: Arc::new(settings), network, pods, events, touched, views: HashMap::new() }
    }

    /// Registers the node and runs its pods for as long as it is polled.
    pub async fn run(mut self) -> Result<(), kube::Error> {
        node_object::register(&self.client, &self.settings).await?;
        tokio::spawn(node_object::keep_alive(self.client.clone(), self.settings.clone()));
        tokio::spawn(tell_of::<ConfigMap>(self.client.clone(), self.touched.clone(), false));
        tokio::spawn(tell_of::<Secret>(self.client.clone(), self.touched.clone(), true));
        let pods: Api<Pod> = Api::all(self.client.clone());
        let mut changes = std::pin::pin!(watcher(pods, watcher::Config::default()).default_backoff());
        let mut listed: Vec<String> = Vec::new();
        loop {
            match changes.try_next().await {
                Ok(Some(watcher::Event::Apply(pod))) => self.see(pod),
                Ok(Some(watcher::Event::InitApply(pod))) => {
                    listed.extend(pod.uid());
                    self.see(pod);
                }
                Ok(Some(watcher::Event::Init)) => listed.clear(),
                Ok(Some(watcher::Event::InitDone)) => self.forget_all_but(&listed),
                Ok(Some(watcher::Event::Delete(pod))) => self.forget(&pod.uid().unwrap_or_default()),
                Ok(None) => return Ok(()),
                Err(error) => tracing::debug!(%error, "the watch of pods broke and is opened again"),
            }
        }
    }

    /// A pod is new or has changed.
    fn see(&mut self, pod: Pod) {
        let Some(uid) = pod.uid() else { return };
        if node_object::wants_node(&pod) {
            let scheduler = self.events.for_component("default-scheduler");
            let (client, settings) = (self.client.clone(), self.settings.clone());
            tokio::spawn(async move { node_object::schedule(&client, &settings, &pod, &scheduler).await });
            return;
        }
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if node != Some(self.settings.node_name.as_str()) {
            return;
        }
        let view = PodView { pod: Arc::new(pod), gone: false };
        match self.views.get(&uid) {
            Some(known) => {
                known.send_replace(view);
            }
            None => self.take_on(uid, view),
        }
    }

    fn take_on(&mut self, uid: String, view: PodView) {
        let phase = view.pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let done = matches!(phase, Some("Succeeded" | "Failed")) && !view.is_ending();
        if done {
            return;
        }
        let (sender, receiver) = watch::channel(view);
        let context = Arc::new(PodContext::new(
            self.settings.clone(),
            self.client.clone(),
            self.events.clone(),
            self.touched.clone(),
            receiver,
        ));
        let key = (context.namespace.clone(), context.name.clone());
        self.views.insert(uid, sender);
        self.pods.0.lock().insert(key.clone(), context.clone());
        let (network, pods) = (self.network.clone(), self.pods.clone());
        tokio::spawn(async move {
            pod::run(context.clone(), network).await;
            let mut pods = pods.0.lock();
            // A newer pod may have taken the name.
            if pods.get(&key).is_some_and(|known| known.uid == context.uid) {
                pods.remove(&key);
            }
        });
    }

    /// A pod is gone from the API.
    fn forget(&mut self, uid: &str) {
        if let Some(view) = self.views.remove(uid) {
            view.send_modify(|view| view.gone = true);
        }
    }

    fn forget_all_but(&mut self, listed: &[String]) {
        let gone: Vec<String> = self.views.keys().filter(|uid| !listed.contains(uid)).cloned().collect();
        for uid in gone {
            self.forget(&uid);
        }
    }
}

/// Tells the pods which objects of a kind have changed.
async fn tell_of<K>(client: kube::Client, touched: broadcast::Sender<Touched>, secret: bool)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let mut changes =
        std::pin::pin!(watcher(Api::<K>::all(client), watcher::Config::default()).default_backoff());
    loop {
        match changes.try_next().await {
            Ok(Some(
                watcher::Event::Apply(object)
                | watcher::Event::InitApply(object)
                | watcher::Event::Delete(object),
            )) => {
                let change = Touched {
                    namespace: object.namespace().unwrap_or_default(),
                    name: object.name_any(),
                    secret,
                };
                // Nobody listens while no pod runs.
                let _ = touched.send(change);
            }
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => tracing::debug!(%error, "a watch broke and is opened again"),
        }
    }
}
