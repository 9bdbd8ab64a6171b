//! The configuration in force: one immutable whole, swapped in at once. A request looks up routes
//! and clusters in the generation that is current when it arrives; a connection keeps the listener
//! and filter chain it started with.

use crate::compile::route::RouteTable;
use crate::listener::Listener;
use crate::upstream::Cluster;
use ahash::AHashMap;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Names to values; a new generation copies it and shares what did not change.
pub type ByName<T> = AHashMap<Arc<str>, Arc<T>>;

/// Everything that serves traffic at one moment.
#[derive(Default)]
pub struct Generation {
    /// Counts up by one for each swap.
    pub number: u64,
    /// Listeners that are warm, by name. An immutable value inside; sockets are the workers' matter.
    pub listeners: BTreeMap<Arc<str>, Arc<Listener>>,
    /// The same listeners by address, for the hand-over by original destination.
    pub addresses: AHashMap<SocketAddr, Arc<Listener>>,
    /// Route tables delivered by RDS, by route configuration name. Inline ones are inside their
    /// HTTP connection manager.
    pub routes: Arc<ByName<RouteTable>>,
    /// Clusters that are warm, by name.
    pub clusters: Arc<ByName<Cluster>>,
}

impl Generation {
    /// The listener that stands for exactly this address.
    pub fn listener_at(&self, address: SocketAddr) -> Option<&Arc<Listener>> {
        self.addresses.get(&address)
    }

    /// The warm cluster of this name.
    pub fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters.get(name)
    }

    /// The route table delivered under this name.
    pub fn route_table(&self, name: &str) -> Option<&Arc<RouteTable>> {
        self.routes.get(name)
    }
}
