//! What every resource of one proxy is made from.

use std::sync::Arc;

use mizzen_model::{Labels, Locality, Scope, Snapshot};

use crate::proxy::Proxy;

/// A proxy and the mesh as it sees it. Made once a view and reused for all its resources.
#[derive(Debug)]
pub struct Context<'a> {
    /// Who asks.
    pub proxy: &'a Proxy,
    /// What it sees.
    pub scope: Scope,
    /// Its labels as they are now.
    pub labels: Arc<Labels>,
    /// Where it runs.
    pub locality: Locality,
}

impl<'a> Context<'a> {
    /// The mesh as a proxy sees it.
    pub fn new(snapshot: &Arc<Snapshot>, proxy: &'a Proxy) -> Self {
        let labels = proxy.current_labels(snapshot);
        let scope = if proxy.is_router() {
            Scope::of_gateway(snapshot, &proxy.namespace, &labels)
        } else {
            Scope::of_sidecar(snapshot, &proxy.namespace, &labels)
        };
        Self { proxy, scope, labels, locality: proxy.current_locality(snapshot) }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.scope.snapshot()
    }
}
