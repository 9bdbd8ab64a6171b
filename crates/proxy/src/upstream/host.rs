//! Upstream hosts: what is configured of one, and what is known of it from traffic.

use super::breaker::Permit;
use super::outlier::OutlierState;
use crate::telemetry::intern::Id;
use envoy_types::pb::envoy::config::core::v3::Locality;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// One upstream host as its cluster's current endpoints describe it.
#[derive(Debug)]
pub struct Host {
    /// Where it is connected.
    pub address: SocketAddr,
    /// The name it was resolved from, or the endpoint's `hostname`; for `auto_host_rewrite`.
    pub hostname: Option<Arc<str>>,
    /// Share of traffic relative to its neighbours, at least 1.
    pub weight: u32,
    /// 0 is preferred.
    pub priority: u32,
    /// Where it runs.
    pub locality: Arc<Locality>,
    /// Position of its locality in the load assignment.
    pub(super) locality_number: u32,
    /// Its health as EDS says.
    pub health: Health,
    /// The workload behind it, from endpoint metadata `istio.workload`.
    pub peer: Id,
    /// Which of the cluster's transport sockets its metadata asks for.
    pub(super) transport: usize,
    /// What outlives a change of endpoints.
    pub(crate) state: Arc<HostState>,
}

/// Health as EDS says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Takes traffic.
    Healthy,
    /// Takes no traffic.
    Unhealthy,
    /// Takes no new traffic; what runs may finish.
    Draining,
    /// Takes traffic when nothing better is left.
    Degraded,
}

impl Health {
    /// From `HealthStatus`; unknown is healthy.
    pub fn from_status(status: i32) -> Self {
        match status {
            2 | 4 => Self::Unhealthy,
            3 => Self::Draining,
            5 => Self::Degraded,
            _ => Self::Healthy,
        }
    }
}

/// What is known of a host from traffic; kept while endpoints change around it.
#[derive(Debug)]
pub struct HostState {
    /// Unique in this process; pools are found by it.
    pub id: u64,
    /// When it was first seen, for slow start.
    pub added: Instant,
    /// Requests in flight, all workers.
    pub active: AtomicU32,
    /// Connections open, all workers.
    pub connections: AtomicU32,
    /// Set when no endpoint names it any more: its pools are closed once idle.
    pub removed: AtomicBool,
    /// Requests sent.
    pub requests: AtomicU64,
    /// Requests that failed (5xx or no response).
    pub failures: AtomicU64,
    /// Connections made.
    pub connected: AtomicU64,
    /// Connections that could not be made.
    pub connect_failures: AtomicU64,
    /// Outlier detection.
    pub outlier: OutlierState,
}

impl HostState {
    /// The state of a host seen for the first time.
    pub fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            added: Instant::now(),
            active: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            removed: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            outlier: OutlierState::default(),
        })
    }

    /// Requests in flight.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }
}

impl Host {
    /// Position of its locality in the load assignment.
    pub(super) fn locality_number(&self) -> u32 {
        self.locality_number
    }

    /// Whether it should be given traffic while others can be.
    pub fn is_available(&self) -> bool {
        matches!(self.health, Health::Healthy | Health::Degraded) && !self.state.outlier.is_ejected()
    }
}

/// A request in flight: counted at its host and in its cluster. Dropping it ends it there.
#[derive(Debug)]
pub struct InFlight {
    permit: Permit,
    host: Arc<Host>,
    worker: usize,
}

impl InFlight {
    /// Begins a request at `host`, which has its place in the circuit breaker.
    pub fn begin(permit: Permit, host: &Arc<Host>, worker: usize) -> Self {
        host.state.active.fetch_add(1, Ordering::Relaxed);
        host.state.requests.fetch_add(1, Ordering::Relaxed);
        let counts = permit.cluster().counts(worker);
        counts.upstream_rq_total.increment();
        counts.upstream_rq_active.increment();
        Self { permit, host: Arc::clone(host), worker }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.host.state.active.fetch_sub(1, Ordering::Relaxed);
        self.permit.cluster().counts(self.worker).upstream_rq_active.decrement();
    }
}
