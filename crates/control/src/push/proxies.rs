//! The connected proxies: who they are, what they see, and telling them of changes.

use super::client::{Client, metadata};
use super::sight::Sight;
use super::translation::{Translate, Translation};
use super::view::{View, Views};
use super::{Mesh, TrustDomain};
use crate::caller::Caller;
use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use envoy_types::pb::envoy::config::core::v3::Node;
use mizzen_model::{Snapshot, Touched};
use mizzen_translate::Proxy;
use mizzen_xds::server::{Changes, Connection, Hub, Selection, Session, Source, Touched as TouchedNames};
use mizzen_xds::{Resource, TypeUrl};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// Accepts proxies and pushes to them.
#[derive(Clone)]
pub(crate) struct Proxies(Arc<Inner>);

struct Inner {
    mesh: Arc<Mesh>,
    views: Arc<Views<Translation>>,
    hub: Arc<Hub<ProxySession>>,
    metrics: Arc<Metrics>,
}

impl Proxies {
    pub(crate) fn new(mesh: Arc<Mesh>, metrics: Arc<Metrics>) -> Self {
        let hub = Arc::new(Hub::default());
        Self(Arc::new(Inner { mesh, views: Arc::new(Views::new(Translation)), hub, metrics }))
    }

    /// Open streams.
    pub(crate) fn hub(&self) -> &Arc<Hub<ProxySession>> {
        &self.0.hub
    }

    /// The stream of the proxy of a pod, the newest if it has several.
    pub(crate) fn find(&self, pod: &str, namespace: &str) -> Option<Arc<Connection<ProxySession>>> {
        let mut connections = self.0.hub.connections();
        connections.reverse();
        connections.into_iter().find(|connection| {
            let client = &connection.session().client;
            client.pod == pod && client.namespace == namespace
        })
    }

    /// Tells proxies what a change since `before` means for them; those for which nothing differs hear
    /// nothing.
    pub(crate) async fn push(&self, before: &Arc<Snapshot>, snapshot: &Arc<Snapshot>, touched: &Touched) {
        let this = self.clone();
        let (before, snapshot, touched) = (before.clone(), snapshot.clone(), touched.clone());
        // Translating is work for a processor, and may take a while in a large mesh.
        let pushed = tokio::task::spawn_blocking(move || this.push_now(&before, &snapshot, &touched)).await;
        if let Err(error) = pushed {
            tracing::error!("a push failed, proxies keep what they have until the next: {error}");
        }
    }

    fn push_now(&self, before: &Snapshot, snapshot: &Arc<Snapshot>, touched: &Touched) {
        let generation = snapshot.revision();
        let connections = self.0.hub.connections();
        // Whether proxies are grouped by labels or node follows from the mesh.
        let grouped_by = |mesh: &Snapshot| (mesh.depends_on_client_labels(), mesh.depends_on_client_node());
        let regrouped = grouped_by(before) != grouped_by(snapshot);
        // A view is translated for one of those that stay with it.
        let (moving, staying): (Vec<_>, Vec<_>) = connections.iter().partition(|connection| {
            let session = connection.session();
            (regrouped || session.may_see_otherwise(touched))
                && session.sees_otherwise(&self.0.views, snapshot)
        });
        for connection in &staying {
            let session = connection.session();
            session.sight.load().views().into_iter().for_each(|view| view.represent(&session.subject));
        }
        // Views first move on, so that whoever moves to another finds it current.
        let differing = self.0.views.advance(before, snapshot, touched);
        for connection in moving {
            connection.session().look(&self.0.views, snapshot);
            connection.notify(&Arc::new(Changes { generation, types: everything() }));
        }
        let changes: HashMap<*const View<Translation>, Arc<Changes>> = differing
            .into_iter()
            .map(|(view, differences)| {
                let names = differences.into_iter();
                let types = names.map(|(type_url, names)| (type_url, TouchedNames::Names(names))).collect();
                (Arc::as_ptr(&view), Arc::new(Changes { generation, types }))
            })
            .collect();
        for connection in staying {
            let sight = connection.session().sight.load();
            let of_its = sight.views().into_iter().filter_map(|view| changes.get(&Arc::as_ptr(view)));
            of_its.for_each(|changes| connection.notify(changes));
        }
    }
}

fn everything() -> Vec<(TypeUrl, TouchedNames)> {
    super::translation::TYPES.iter().map(|&type_url| (type_url, TouchedNames::Everything)).collect()
}

impl Source for Proxies {
    type Session = ProxySession;

    fn connect(&self, node: &Node, extensions: &http::Extensions) -> Result<ProxySession, Status> {
        let caller = extensions.get::<Caller>().cloned().unwrap_or(Caller::Anonymous);
        let client = Client::verify(node, &caller).map_err(|error| {
            tracing::warn!(node = node.id, "a proxy was refused: {error}");
            Status::permission_denied(error.to_string())
        })?;
        let snapshot = self.0.mesh.snapshot();
        let translator = &self.0.views.translator;
        let subject =
            translator.subject(node).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let subject = Arc::new(subject);
        let keys = translator.keys(&snapshot, &subject);
        let sight = ArcSwap::from_pointee(Sight::new(&self.0.views, &keys, &subject, &snapshot));
        tracing::info!(node = node.id, "a proxy has connected");
        Ok(ProxySession {
            trust_domain: TrustDomain(self.0.mesh.clone()),
            caller,
            client,
            subject,
            sight,
            proxies: self.0.clone(),
        })
    }
}

/// One proxy's stream.
pub(crate) struct ProxySession {
    /// Who it is, proved.
    pub(crate) caller: Caller,
    /// Who it is, as it says and we have checked.
    pub(crate) client: Client,
    trust_domain: TrustDomain,
    subject: Arc<Proxy>,
    sight: ArcSwap<Sight<Translation>>,
    proxies: Arc<Inner>,
}

impl ProxySession {
    /// Whether a change can move the proxy to another view: its own pod has changed, or what the
    /// pods of its namespace have in common.
    fn may_see_otherwise(&self, touched: &Touched) -> bool {
        touched.mesh
            || !touched.sidecars.is_empty()
            || touched.workloads.iter().any(|workload| {
                *workload.name == *self.client.pod && *workload.namespace == *self.client.namespace
            })
    }

    /// Whether other views than the proxy's fit now.
    fn sees_otherwise(&self, views: &Views<Translation>, snapshot: &Arc<Snapshot>) -> bool {
        !self.sight.load().is_of(&views.translator.keys(snapshot, &self.subject))
    }

    /// Moves to the views that fit now.
    fn look(&self, views: &Views<Translation>, snapshot: &Arc<Snapshot>) {
        let keys = views.translator.keys(snapshot, &self.subject);
        self.sight.store(Arc::new(Sight::new(views, &keys, &self.subject, snapshot)));
    }

    /// Private keys go to gateways that have proved who they are, and nobody else.
    fn may_have_secrets(&self) -> bool {
        let proved =
            matches!(&self.caller, Caller::Workload { namespace, .. } if *namespace == self.client.namespace);
        proved && self.client.kind == "router" && self.caller.identity(&self.trust_domain.get()).is_some()
    }
}

impl Session for ProxySession {
    fn resources(&self, type_url: TypeUrl, selection: Selection<'_>) -> Vec<Resource> {
        if type_url == TypeUrl::SECRET && !self.may_have_secrets() {
            return Vec::new();
        }
        let translator = &self.proxies.views.translator;
        self.sight.load().resources(translator, &self.subject, type_url, selection)
    }

    fn warms_clusters_again(&self) -> bool {
        !self.subject.istio_filters
    }

    fn sent(&self, type_url: TypeUrl, _resources: usize, bytes: usize) {
        let metrics = &self.proxies.metrics;
        metrics.pushes.add(&[short_name(type_url)], 1);
        metrics.config_size.observe(&[short_name(type_url)], bytes as f64);
    }

    fn acknowledged(&self, type_url: TypeUrl, elapsed: Duration) {
        self.proxies.metrics.push_time.observe(&[short_name(type_url)], elapsed.as_secs_f64());
    }

    fn refused(&self, type_url: TypeUrl, detail: &str) {
        let metrics = &self.proxies.metrics;
        metrics.rejects.add(&[short_name(type_url)], 1);
        if let Some(family) = metrics.rejects_of(short_name(type_url)) {
            let node = format!("{}.{}", self.client.pod, self.client.namespace);
            let detail: String = detail.chars().take(200).collect();
            family.set(&[&node, &detail], 1.0);
        }
    }

    fn converged(&self, elapsed: Duration) {
        self.proxies.metrics.convergence.observe(&[], elapsed.as_secs_f64());
    }
}

impl Drop for ProxySession {
    fn drop(&mut self) {
        tracing::info!(pod = self.client.pod, namespace = self.client.namespace, "a proxy has disconnected");
    }
}

/// Istio's short name of a type, as metrics and commands print it.
pub(crate) fn short_name(type_url: TypeUrl) -> &'static str {
    match type_url {
        TypeUrl::CLUSTER => "cds",
        TypeUrl::ENDPOINT => "eds",
        TypeUrl::LISTENER => "lds",
        TypeUrl::ROUTE => "rds",
        TypeUrl::VIRTUAL_HOST => "vhds",
        TypeUrl::SECRET => "sds",
        TypeUrl::EXTENSION_CONFIG => "ecds",
        _ => "nds",
    }
}

/// A text of a node's metadata, for operators.
pub(crate) fn node_text(node: &Node, key: &str) -> String {
    metadata(node, key).unwrap_or_default()
}
