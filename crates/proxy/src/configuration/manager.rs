//! The manager: resources in, generations out.
//!
//! A resource is compiled at once and refused or accepted. An accepted cluster waits until it has
//! endpoints, an accepted listener until it has its routes; meanwhile what served before goes on.
//! Whatever cannot be had in time is gone without, as in Envoy (`initial_fetch_timeout`).

mod virtual_hosts;
mod warming;

use super::records::Records;
use super::sockets::{BindError, Closed, Sockets};
use crate::compile::route::RouteTable;
use crate::compile::{self, CompileError, Context, decode};
use crate::generation::{ByName, Generation};
use crate::http::routes::VirtualHost;
use crate::listener::Listener;
use crate::upstream::Cluster;
use crate::worker::{Current, WorkerThread};
use bytes::Bytes;
use envoy_types::pb::envoy::config::cluster::v3 as cluster_pb;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3 as listener_pb;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use mizzen_xds::TypeUrl;
use mizzen_xds::client::{Handler, Names, Received, Rejection, Update};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// A value that waits for what it refers to.
struct Warming<T> {
    value: Arc<T>,
    since: Instant,
}

/// Holds all configuration and puts generations in force.
pub struct Manager {
    context: Context,
    current: Arc<Current>,
    workers: Vec<WorkerThread>,
    sockets: Sockets,
    records: Records,
    listeners: BTreeMap<Arc<str>, Arc<Listener>>,
    warming_listeners: BTreeMap<Arc<str>, Warming<Listener>>,
    clusters: Arc<ByName<Cluster>>,
    warming_clusters: BTreeMap<Arc<str>, Warming<Cluster>>,
    routes: Arc<ByName<RouteTable>>,
    /// Virtual hosts that came by themselves, by `ROUTES/NAME`.
    virtual_hosts: BTreeMap<Arc<str>, Arc<VirtualHost>>,
    /// Route configurations and load assignments that the server says do not exist.
    absent: BTreeSet<(TypeUrl, Arc<str>)>,
    wanted_endpoints: Names,
    wanted_routes: Names,
    wanted_virtual_hosts: Names,
    /// Types whose first answer is still to come before the proxy is live.
    awaited: BTreeSet<TypeUrl>,
    draining: bool,
    connected: bool,
    /// Tells that something waits, or that the last awaited type has come.
    changed: Arc<Notify>,
}

impl Manager {
    /// A manager without configuration. `awaited` types must have arrived before it is live.
    pub fn new(
        context: Context,
        current: Arc<Current>,
        workers: Vec<WorkerThread>,
        awaited: BTreeSet<TypeUrl>,
    ) -> Self {
        Self {
            context,
            current,
            workers,
            awaited,
            sockets: Sockets::default(),
            records: Records::default(),
            listeners: BTreeMap::new(),
            warming_listeners: BTreeMap::new(),
            clusters: Arc::default(),
            warming_clusters: BTreeMap::new(),
            routes: Arc::default(),
            virtual_hosts: BTreeMap::new(),
            absent: BTreeSet::new(),
            wanted_endpoints: Names::default(),
            wanted_routes: Names::default(),
            wanted_virtual_hosts: Names::default(),
            draining: false,
            connected: false,
            changed: Arc::default(),
        }
    }

    /// Takes the bootstrap's own clusters and listeners, encoded, and binds the sockets of the latter.
    pub fn take_static(&mut self, clusters: Vec<Bytes>, listeners: Vec<Bytes>) -> Result<(), StaticError> {
        let version: Arc<str> = "".into();
        for (index, body) in clusters.into_iter().enumerate() {
            let at = |error: CompileError| error.at(format!("static_resources.clusters[{index}]"));
            let cluster: cluster_pb::Cluster = decode(&body).map_err(at)?;
            let name: Arc<str> = cluster.name.as_str().into();
            self.refuse_twice(TypeUrl::CLUSTER, &name).map_err(at)?;
            self.cluster(&name, &cluster)
                .map_err(|error| error.at(format!("static_resources.clusters[{index}] ({name})")))?;
            self.records.accept(TypeUrl::CLUSTER, &name, body, &version, true);
        }
        for (index, body) in listeners.into_iter().enumerate() {
            let at = |error: CompileError| error.at(format!("static_resources.listeners[{index}]"));
            let listener: listener_pb::Listener = decode(&body).map_err(at)?;
            let name = listener_name(&listener, index);
            self.refuse_twice(TypeUrl::LISTENER, &name).map_err(at)?;
            self.listener(&name, &listener)
                .map_err(|error| error.at(format!("static_resources.listeners[{index}] ({name})")))?;
            self.records.accept(TypeUrl::LISTENER, &name, body, &version, true);
        }
        self.settle().into_iter().next().map_or(Ok(()), |error| Err(error.into()))
    }

    fn refuse_twice(&self, kind: TypeUrl, name: &str) -> Result<(), CompileError> {
        match self.records.get(kind, name) {
            Some(_) => Err(CompileError::invalid("name", format!("'{name}' is there twice"))),
            None => Ok(()),
        }
    }

    /// The configuration as it was received.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The generation in force.
    pub fn generation(&self) -> Arc<Generation> {
        self.current.load()
    }

    /// What compilation uses.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Names of listeners and clusters that wait for what they refer to.
    pub fn warming(&self) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        (self.warming_listeners.keys().cloned().collect(), self.warming_clusters.keys().cloned().collect())
    }

    /// A listener that waits for its routes.
    pub fn warming_listener(&self, name: &str) -> bool {
        self.warming_listeners.contains_key(name)
    }

    /// Whether all initial configuration is in force.
    pub fn is_live(&self) -> bool {
        self.awaited.is_empty() && self.warming_listeners.is_empty() && self.warming_clusters.is_empty()
    }

    /// Whether a stream to the control plane is open.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether the proxy drains.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Where a listener is bound.
    pub fn listener_addresses(&self, name: &str) -> Vec<std::net::SocketAddr> {
        self.sockets.addresses(name)
    }

    /// Stops accepting, and asks open connections to finish. With `inbound_only`, on listeners of
    /// inbound traffic only. Returns what tells when the sockets are closed.
    pub fn drain(&mut self, inbound_only: bool) -> Vec<Closed> {
        use crate::listener::Direction;
        let listeners = &self.listeners;
        let drains = |name: &str| {
            let listener = listeners.get(name);
            !inbound_only || listener.is_some_and(|listener| listener.direction == Direction::Inbound)
        };
        self.draining |= !inbound_only;
        let closed = self.sockets.close_unless(|name, _| !drains(name));
        for listener in listeners.values().filter(|listener| drains(&listener.name)) {
            listener.all_chains().for_each(|chain| chain.drain.start());
        }
        closed
    }

    /// Looks whether anything that waited can be put in force. Returns whether anything still waits.
    pub fn tick(&mut self) -> bool {
        if self.anything_warm() {
            self.settle();
        }
        !self.warming_clusters.is_empty() || !self.warming_listeners.is_empty()
    }

    /// Notified when there is something to look at with [`Manager::tick`] again.
    pub fn warming_started(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Ends all workers and with them every connection.
    pub fn stop(&mut self) {
        self.sockets.close_unless(|_, _| false);
        self.workers.drain(..).for_each(WorkerThread::stop);
    }

    // === Compilation ===

    fn cluster(&mut self, name: &Arc<str>, cluster: &cluster_pb::Cluster) -> Result<(), CompileError> {
        let waiting = self.warming_clusters.get(name).map(|warming| &warming.value);
        let previous = waiting.or_else(|| self.clusters.get(name)).cloned();
        let compiled = compile::cluster::compile(cluster, previous.as_ref(), &self.context)?;
        if let Some(eds) = compiled.eds_name()
            && let Some(record) = self.records.get(TypeUrl::ENDPOINT, eds)
        {
            // It decoded and was taken before; the endpoints did not change with the cluster.
            if let Ok(assignment) = ClusterLoadAssignment::decode(record.body.clone()) {
                compiled.assign(&assignment)?;
            }
        }
        let since = Instant::now();
        self.warming_clusters.insert(Arc::clone(name), Warming { value: compiled, since });
        Ok(())
    }

    fn listener(&mut self, name: &Arc<str>, listener: &listener_pb::Listener) -> Result<(), CompileError> {
        let before = self.records.get(TypeUrl::LISTENER, name).map(|record| record.body.clone());
        let definition = before.and_then(|body| listener_pb::Listener::decode(body).ok());
        let waiting = self.warming_listeners.get(name).map(|warming| &warming.value);
        let compiled = waiting.or_else(|| self.listeners.get(name));
        let previous = definition.as_ref().zip(compiled.map(|compiled| &**compiled));
        let compiled = compile::listener::compile(listener, previous, &self.context)?;
        let since = Instant::now();
        self.warming_listeners.insert(
            Arc::clone(name),
            Warming { value: Arc::new(Listener { name: Arc::clone(name), ..compiled }), since },
        );
        Ok(())
    }

    fn endpoints(&mut self, name: &Arc<str>, assignment: &ClusterLoadAssignment) -> Result<(), CompileError> {
        let active = self.clusters.values();
        let waiting = self.warming_clusters.values().map(|warming| &warming.value);
        for cluster in active.chain(waiting).filter(|cluster| cluster.eds_name() == Some(name)) {
            cluster.assign(assignment)?;
        }
        Ok(())
    }

    fn route(&mut self, name: &Arc<str>, body: &[u8]) -> Result<(), CompileError> {
        // What was refused is not in the record's body, so it is what the table was compiled from.
        let before = self.records.get(TypeUrl::ROUTE, name).map(|record| &*record.body);
        let previous = before.zip(self.routes.get(name).map(|table| &**table));
        let table = compile::route::compile(body, previous, &self.discovered(name), &self.context)?;
        Arc::make_mut(&mut self.routes).insert(Arc::clone(name), Arc::new(table));
        Ok(())
    }

    /// Decodes and takes one resource.
    fn take(&mut self, kind: TypeUrl, resource: &Received) -> Result<(), CompileError> {
        let record = self.records.get(kind, &resource.name);
        if record.is_some_and(|record| record.fixed) {
            return Err(CompileError::invalid("name", "belongs to a resource of the bootstrap"));
        }
        if record.is_some_and(|record| record.failure.is_none() && record.body == resource.body) {
            return Ok(());
        }
        let name = &resource.name;
        match kind {
            TypeUrl::CLUSTER => self.cluster(name, &decode(&resource.body)?),
            TypeUrl::ENDPOINT => self.endpoints(name, &decode(&resource.body)?),
            TypeUrl::LISTENER => self.listener(name, &decode(&resource.body)?),
            TypeUrl::ROUTE => self.route(name, &resource.body),
            TypeUrl::VIRTUAL_HOST => self.virtual_host(name, &resource.body),
            TypeUrl::SECRET => {
                self.context.secrets.deliver(&decode::<Secret>(&resource.body)?, &resource.version)
            }
            other => Err(CompileError::unsupported("type_url", other)),
        }
    }

    fn forget(&mut self, kind: TypeUrl, name: &Arc<str>) {
        if self.records.get(kind, name).is_some_and(|record| record.fixed) {
            return;
        }
        self.records.remove(kind, name);
        match kind {
            TypeUrl::CLUSTER => {
                self.warming_clusters.remove(name);
                Arc::make_mut(&mut self.clusters).remove(name);
            }
            TypeUrl::LISTENER => {
                self.warming_listeners.remove(name);
                if let Some(gone) = self.listeners.remove(name) {
                    gone.all_chains().for_each(|chain| chain.drain.start());
                }
            }
            TypeUrl::ENDPOINT => {
                self.absent.insert((kind, Arc::clone(name)));
                let nothing = ClusterLoadAssignment { cluster_name: name.to_string(), ..Default::default() };
                if let Err(error) = self.endpoints(name, &nothing) {
                    tracing::warn!(cluster = %name, %error, "its endpoints could not be taken away");
                }
            }
            TypeUrl::ROUTE => {
                self.absent.insert((kind, Arc::clone(name)));
                Arc::make_mut(&mut self.routes).remove(name);
            }
            TypeUrl::VIRTUAL_HOST => {
                self.absent.insert((kind, Arc::clone(name)));
                self.virtual_hosts.remove(name);
            }
            TypeUrl::SECRET => self.context.secrets.store().remove(name),
            _ => {}
        }
    }
}

impl Handler for Manager {
    fn apply(&mut self, update: &Update) -> Vec<Rejection> {
        let mut rejections = Vec::new();
        for name in &update.removed {
            self.forget(update.kind, name);
        }
        for resource in &update.resources {
            let (name, body, version) = (&resource.name, resource.body.clone(), &resource.version);
            match self.take(update.kind, resource) {
                Ok(()) => {
                    self.absent.remove(&(update.kind, Arc::clone(name)));
                    // Secrets are kept parsed and in one place only.
                    if update.kind != TypeUrl::SECRET {
                        self.records.accept(update.kind, name, body, version, false);
                    }
                }
                Err(error) => {
                    tracing::warn!(resource = %name, kind = %update.kind, %error, "refused; what served before goes on");
                    if update.kind != TypeUrl::SECRET
                        && self.records.get(update.kind, name).is_none_or(|record| !record.fixed)
                    {
                        self.records.refuse(update.kind, name, body, version, &error.to_string());
                    }
                    rejections.push(Rejection { name: Arc::clone(name), reason: error.to_string() });
                }
            }
        }
        if update.kind == TypeUrl::VIRTUAL_HOST {
            self.gather_virtual_hosts(update);
        }
        self.records.set_version(update.kind, &update.version);
        self.awaited.remove(&update.kind);
        // Endpoints and secrets of what is in force are in force already, without a generation.
        let in_place = matches!(update.kind, TypeUrl::ENDPOINT | TypeUrl::SECRET);
        if !in_place || self.anything_warm() {
            self.settle();
        }
        rejections
    }

    fn wanted(&self, kind: TypeUrl) -> Names {
        match kind {
            TypeUrl::ENDPOINT => Arc::clone(&self.wanted_endpoints),
            TypeUrl::ROUTE => Arc::clone(&self.wanted_routes),
            TypeUrl::VIRTUAL_HOST => Arc::clone(&self.wanted_virtual_hosts),
            TypeUrl::SECRET => Arc::new(self.context.secrets.wanted()),
            _ => Names::default(),
        }
    }

    fn connected(&mut self, connected: bool) {
        self.connected = connected;
    }
}

/// Why the bootstrap's own resources cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum StaticError {
    /// One of them is refused.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// Envoy gives listeners without a name one of their own.
fn listener_name(listener: &listener_pb::Listener, index: usize) -> Arc<str> {
    if listener.name.is_empty() { format!("listener-{index}").into() } else { listener.name.as_str().into() }
}
