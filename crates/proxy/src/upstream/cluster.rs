//! A cluster and the hosts it has now.

use super::balance::{Balance, EvenSequence, PickContext};
use super::breaker::Breaker;
use super::host::{Health, Host, HostState};
use super::outlier;
use super::settings::{ClusterSettings, Discovery};
use crate::compile::CompileError;
use crate::connection::Downstream;
use crate::telemetry::counters::{ClusterCounts, Kind, Sharded, Shared};
use crate::telemetry::intern::Id;
use crate::telemetry::{PeerMetadata, Telemetry};
use ahash::AHashMap;
use arc_swap::ArcSwap;
use envoy_types::pb::envoy::config::core::v3::{Locality, Metadata, SocketAddress, address, socket_address};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, lb_endpoint,
};
use envoy_types::pb::google::protobuf::value;
use parking_lot::Mutex;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use tokio::sync::Notify;

/// A compiled cluster with its hosts. Shared by all workers.
pub struct Cluster {
    settings: ClusterSettings,
    /// Unique in this process.
    pub(crate) id: u64,
    /// The destination service, as metrics name it.
    pub service: Id,
    pub(super) breaker: Breaker,
    pub(super) control: tokio::runtime::Handle,
    telemetry: Arc<Telemetry>,
    table: ArcSwap<Balance>,
    /// Locality weights of the last assignment: (priority, locality, weight).
    writer: Mutex<Vec<(u32, u32, u32)>>,
    cursor: EvenSequence,
    warm: AtomicBool,
    warmed: Notify,
    counts: Sharded<ClusterCounts>,
    ejected: Shared,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cluster").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster with the endpoints that came with it. State of hosts that `previous` has too is
    /// kept. Name resolution and sweeps run on `control`.
    pub fn start(
        settings: ClusterSettings,
        breaker: Breaker,
        assignment: Option<&ClusterLoadAssignment>,
        previous: Option<&Arc<Cluster>>,
        telemetry: &Arc<Telemetry>,
        control: &tokio::runtime::Handle,
    ) -> Result<Arc<Self>, CompileError> {
        use std::sync::atomic::AtomicU64;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let waits =
            matches!(settings.discovery, Discovery::Eds(_) | Discovery::StrictDns | Discovery::LogicalDns);
        let cluster = Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            service: settings.service,
            breaker,
            control: control.clone(),
            telemetry: Arc::clone(telemetry),
            table: ArcSwap::from_pointee(Balance::default()),
            writer: Mutex::default(),
            cursor: EvenSequence::new(),
            warm: AtomicBool::new(!waits),
            warmed: Notify::new(),
            counts: Sharded::new(telemetry.workers()),
            ejected: Shared::default(),
            settings,
        });
        if let Some(previous) = previous {
            cluster.table.store(previous.table.load_full());
            if matches!(cluster.settings.discovery, Discovery::Eds(_))
                && previous.is_warm()
                && cluster.same_endpoints(previous)
            {
                cluster.inherit(previous);
            }
        }
        match (&cluster.settings.discovery, assignment) {
            (Discovery::Static, Some(assignment)) => {
                cluster.assign(assignment).map_err(|error| error.at("load_assignment"))?
            }
            (Discovery::StrictDns | Discovery::LogicalDns, Some(assignment)) => {
                super::dns::start(&cluster, assignment)?
            }
            _ => {}
        }
        outlier::start_sweeps(&cluster);
        Ok(cluster)
    }

    /// Whether the endpoints of `previous` are also this cluster's.
    fn same_endpoints(&self, previous: &Cluster) -> bool {
        self.settings.discovery == previous.settings.discovery
    }

    /// Takes over the hosts of `previous` until its own endpoints arrive again.
    fn inherit(&self, previous: &Arc<Cluster>) {
        let weights = previous.writer.lock().clone();
        let old = previous.table.load();
        // Transports are numbered by cluster; without the endpoint's metadata they cannot be
        // matched again, so hosts are taken over only where both clusters number them alike.
        if self.numbers_transports_like(previous) {
            let table =
                Balance::new(old.hosts().to_vec(), &self.settings.sharing, &self.settings.policy, &weights);
            *self.writer.lock() = weights;
            self.table.store(Arc::new(table));
            self.mark_warm();
        }
    }

    /// Whether endpoints are matched to transports as in `previous`.
    fn numbers_transports_like(&self, previous: &Cluster) -> bool {
        let (own, others) = (&self.settings.transports.matches, &previous.settings.transports.matches);
        own.len() == others.len()
            && own
                .iter()
                .zip(others)
                .all(|(own, other)| own.name == other.name && own.criteria == other.criteria)
    }

    /// The cluster's name.
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// What is configured.
    pub fn settings(&self) -> &ClusterSettings {
        &self.settings
    }

    /// The name under which its endpoints are delivered by EDS, when they are.
    pub fn eds_name(&self) -> Option<&Arc<str>> {
        match &self.settings.discovery {
            Discovery::Eds(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it is outside of the mesh, as its metadata says (`istio.external`).
    pub fn is_external(&self) -> bool {
        let metadata = self.settings.metadata.as_ref();
        let external =
            metadata.and_then(|metadata| metadata.filter_metadata.get("istio")?.fields.get("external"));
        matches!(external.and_then(|value| value.kind.as_ref()), Some(value::Kind::BoolValue(true)))
    }

    /// Whether it can serve: its first endpoints (EDS, DNS) have arrived.
    pub fn is_warm(&self) -> bool {
        self.warm.load(Ordering::Acquire)
    }

    /// Resolves once the cluster can serve.
    pub async fn warmed(&self) {
        let warmed = self.warmed.notified();
        tokio::pin!(warmed);
        // Registered before the flag is read, so that the moment is not missed.
        warmed.as_mut().enable();
        if !self.is_warm() {
            warmed.await;
        }
    }

    /// Lets the cluster serve with what it has, as when its endpoints do not arrive in time.
    pub fn mark_warm(&self) {
        self.warm.store(true, Ordering::Release);
        self.warmed.notify_waiters();
    }

    /// Takes new endpoints. Called on the configuration thread; requests see them at once.
    pub fn assign(&self, assignment: &ClusterLoadAssignment) -> Result<(), CompileError> {
        let mut described = Vec::new();
        let mut weights = Vec::new();
        for (number, locality) in (0u32..).zip(&assignment.endpoints) {
            if let Some(weight) = &locality.load_balancing_weight {
                weights.push((locality.priority, number, weight.value));
            }
            if locality.lb_config.is_some() {
                let field = format!("endpoints[{number}].lb_config");
                return Err(CompileError::unsupported(field, "a separate endpoint list"));
            }
            let place = place(locality.locality.as_ref());
            for (index, endpoint) in locality.lb_endpoints.iter().enumerate() {
                let at = format!("endpoints[{number}].lb_endpoints[{index}]");
                let (address, hostname) = endpoint_address(endpoint).map_err(|error| error.at(at))?;
                described.push(Described {
                    address,
                    hostname,
                    weight: endpoint.load_balancing_weight.as_ref().map_or(1, |weight| weight.value.max(1)),
                    priority: locality.priority,
                    locality: Arc::clone(&place),
                    locality_number: number,
                    health: Health::from_status(endpoint.health_status),
                    metadata: endpoint.metadata.as_ref(),
                });
            }
        }
        if !assignment.policy.as_ref().is_none_or(|policy| policy.drop_overloads.is_empty()) {
            return Err(CompileError::unsupported("policy.drop_overloads", "dropping a share of requests"));
        }
        self.replace(
            described,
            weights,
            assignment
                .policy
                .as_ref()
                .and_then(|policy| policy.overprovisioning_factor.as_ref())
                .map(|factor| factor.value),
        );
        Ok(())
    }

    /// Replaces all hosts; those that were there before keep their state.
    pub(super) fn replace(
        &self,
        described: Vec<Described<'_>>,
        weights: Vec<(u32, u32, u32)>,
        overprovisioning: Option<u32>,
    ) {
        let mut writer = self.writer.lock();
        let old = self.table.load_full();
        let known: AHashMap<SocketAddr, &Arc<Host>> =
            old.hosts().iter().map(|host| (host.address, host)).collect();
        let peers = &self.telemetry.names().peers;
        let mut kept = ahash::AHashSet::new();
        let hosts = described
            .into_iter()
            .map(|described| {
                let before = known.get(&described.address);
                let state = before.map_or_else(HostState::new, |host| Arc::clone(&host.state));
                kept.insert(described.address);
                let peer = described
                    .metadata
                    .and_then(workload_of)
                    .and_then(PeerMetadata::of_endpoint)
                    .map_or(Id::UNKNOWN, |peer| peers.id(&peer));
                Arc::new(Host {
                    address: described.address,
                    hostname: described.hostname,
                    weight: described.weight,
                    priority: described.priority,
                    locality: described.locality,
                    locality_number: described.locality_number,
                    health: described.health,
                    peer,
                    transport: self.settings.transports.select(described.metadata),
                    state,
                })
            })
            .collect();
        for host in old.hosts().iter().filter(|host| !kept.contains(&host.address)) {
            host.state.removed.store(true, Ordering::Release);
        }
        let mut sharing = self.settings.sharing.clone();
        if let Some(factor) = overprovisioning {
            sharing.overprovisioning = factor;
        }
        self.table.store(Arc::new(Balance::new(hosts, &sharing, &self.settings.policy, &weights)));
        *writer = weights;
        drop(writer);
        self.mark_warm();
    }

    /// Draws the picture again after a host's health has changed.
    pub(super) fn rebalance(&self) {
        let weights = self.writer.lock();
        let hosts = self.table.load().hosts().to_vec();
        self.table.store(Arc::new(Balance::new(
            hosts,
            &self.settings.sharing,
            &self.settings.policy,
            &weights,
        )));
    }

    /// All hosts, whatever their health.
    pub fn hosts(&self) -> Vec<Arc<Host>> {
        self.table.load().hosts().to_vec()
    }

    /// The host for one request; `None` when there is none that may be used. `wanted` is where an
    /// `ORIGINAL_DST` cluster is told to go.
    pub fn pick(&self, worker: usize, context: PickContext<'_>) -> Option<Arc<Host>> {
        let table = self.table.load();
        let counts = self.counts.of(worker);
        let picked = table.pick(&self.settings.policy, &self.cursor, context).map(Arc::clone);
        if table.panicking {
            counts.lb_healthy_panic.increment();
        }
        if picked.is_none() {
            counts.upstream_cx_none_healthy.increment();
        }
        picked
    }

    /// Where an `ORIGINAL_DST` cluster sends this connection (or request, by its header).
    pub fn original_destination(
        &self,
        downstream: &Downstream,
        headers: Option<&http::HeaderMap>,
    ) -> Option<SocketAddr> {
        let Discovery::OriginalDestination(settings) = &self.settings.discovery else { return None };
        let named = settings.header.as_ref().and_then(|name| headers?.get(name));
        let mut address = match named {
            Some(value) => value.to_str().ok()?.parse().ok()?,
            None => downstream.original_destination?,
        };
        if let Some(port) = settings.port {
            address.set_port(port);
        }
        Some(address)
    }

    /// A host made for one destination of an `ORIGINAL_DST` cluster.
    pub(super) fn host_at(&self, address: SocketAddr) -> Arc<Host> {
        Arc::new(Host {
            address,
            hostname: None,
            weight: 1,
            priority: 0,
            locality: place(None),
            locality_number: 0,
            health: Health::Healthy,
            peer: Id::UNKNOWN,
            transport: self.settings.transports.select(None),
            state: HostState::new(),
        })
    }

    /// One worker's part of the statistics.
    pub fn counts(&self, worker: usize) -> &ClusterCounts {
        self.counts.of(worker)
    }

    pub(super) fn ejections_active(&self, change: i64) {
        match change {
            0.. => self.ejected.add(change.unsigned_abs()),
            _ => self.ejected.subtract(change.unsigned_abs()),
        }
    }

    /// Each statistic by the name that follows `cluster.NAME.` in `/stats`.
    pub fn each_statistic(&self, mut visit: impl FnMut(&str, Kind, u64)) {
        self.counts.each(&mut visit);
        let table = self.table.load();
        let healthy = table.hosts().iter().filter(|host| host.is_available()).count();
        visit("membership_total", Kind::Gauge, table.hosts().len() as u64);
        visit("membership_healthy", Kind::Gauge, healthy as u64);
        visit("outlier_detection.ejections_active", Kind::Gauge, self.ejected.get());
        use super::breaker::Resource;
        for (name, resource) in [
            ("circuit_breakers.default.cx_open", Resource::Connections),
            ("circuit_breakers.default.rq_pending_open", Resource::Pending),
            ("circuit_breakers.default.rq_open", Resource::Requests),
            ("circuit_breakers.default.rq_retry_open", Resource::Retries),
        ] {
            visit(name, Kind::Gauge, u64::from(self.breaker.is_open(resource)));
        }
    }
}

/// One endpoint as its source describes it.
pub(super) struct Described<'a> {
    pub(super) address: SocketAddr,
    pub(super) hostname: Option<Arc<str>>,
    pub(super) weight: u32,
    pub(super) priority: u32,
    pub(super) locality: Arc<Locality>,
    pub(super) locality_number: u32,
    pub(super) health: Health,
    pub(super) metadata: Option<&'a Metadata>,
}

/// Where endpoints run. Most say nothing of it, and share that.
pub(super) fn place(locality: Option<&Locality>) -> Arc<Locality> {
    static NOWHERE: LazyLock<Arc<Locality>> = LazyLock::new(Arc::default);
    locality.map_or_else(|| Arc::clone(&NOWHERE), |locality| Arc::new(locality.clone()))
}

/// Endpoint metadata `istio.workload`.
fn workload_of(metadata: &Metadata) -> Option<&str> {
    match metadata.filter_metadata.get("istio")?.fields.get("workload")?.kind.as_ref()? {
        value::Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The address of an endpoint, which must be numeric here.
fn endpoint_address(endpoint: &LbEndpoint) -> Result<(SocketAddr, Option<Arc<str>>), CompileError> {
    let (endpoint, socket) = endpoint_socket(endpoint)?;
    let ip: IpAddr = socket.address.parse().map_err(|_| {
        let reason =
            format!("'{}' is not an IP address; use STRICT_DNS or LOGICAL_DNS for names", socket.address);
        CompileError::invalid("endpoint.address.socket_address.address", reason)
    })?;
    let hostname = (!endpoint.hostname.is_empty()).then(|| endpoint.hostname.as_str().into());
    Ok((SocketAddr::new(ip, port(socket)?), hostname))
}

/// The parts of an endpoint that every discovery reads.
pub(super) fn endpoint_socket(endpoint: &LbEndpoint) -> Result<(&Endpoint, &SocketAddress), CompileError> {
    let Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else {
        return Err(CompileError::missing("endpoint"));
    };
    if !endpoint.additional_addresses.is_empty() {
        return Err(CompileError::unsupported("endpoint.additional_addresses", "more than one address"));
    }
    match endpoint.address.as_ref().and_then(|address| address.address.as_ref()) {
        Some(address::Address::SocketAddress(socket)) => Ok((endpoint, socket)),
        Some(_) => Err(CompileError::unsupported("endpoint.address", "an address other than socket_address")),
        None => Err(CompileError::missing("endpoint.address")),
    }
}

/// The numeric port of a socket address.
pub(super) fn port(socket: &SocketAddress) -> Result<u16, CompileError> {
    match &socket.port_specifier {
        Some(socket_address::PortSpecifier::PortValue(port)) => u16::try_from(*port).map_err(|_| {
            CompileError::invalid(
                "endpoint.address.socket_address.port_value",
                format!("{port} is not a port"),
            )
        }),
        _ => Err(CompileError::missing("endpoint.address.socket_address.port_value")),
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
