//! The mesh as everyone in the control plane sees it: the newest snapshot.

use mizzen_model::Snapshot;
use std::sync::Arc;
use tokio::sync::watch;

/// Holds the newest snapshot.
pub(crate) struct Mesh {
    current: watch::Sender<Arc<Snapshot>>,
    /// The newest of which Istio's resources differ from those before.
    configured: watch::Sender<Arc<Snapshot>>,
}

impl Mesh {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Arc<Self> {
        Arc::new(Self {
            current: watch::Sender::new(snapshot.clone()),
            configured: watch::Sender::new(snapshot),
        })
    }

    /// The newest.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.borrow().clone()
    }

    /// Tells of every newer one.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.current.subscribe()
    }

    /// Tells of every newer one in which Istio's resources differ. Endpoints change all the time, and must
    /// not make anybody look at every resource.
    pub(crate) fn watch_configuration(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.configured.subscribe()
    }

    /// Puts a newer one in force.
    pub(crate) fn replace(&self, snapshot: Arc<Snapshot>, configuration: bool) {
        self.current.send_replace(snapshot.clone());
        if configuration {
            self.configured.send_replace(snapshot);
        }
    }
}

/// The trust domain of the mesh, as its settings say now.
#[derive(Clone)]
pub(crate) struct TrustDomain(pub(crate) Arc<Mesh>);

impl TrustDomain {
    pub(crate) fn get(&self) -> String {
        self.0.snapshot().mesh().trust_domain.clone()
    }
}
