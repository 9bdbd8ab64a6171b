//! Upstream clusters: endpoints, load balancing, outlier ejection, circuit breaking, pools.

use crate::compile::CompileError;
use crate::connection::Downstream;
use crate::stream::Stream;
use crate::worker::Worker;
use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// A compiled cluster with its endpoints. Shared by all workers.
pub struct Cluster {}

impl Cluster {
    /// The cluster's name.
    pub fn name(&self) -> &Arc<str> {
        unreachable!()
    }

    /// The name under which its endpoints are delivered by EDS, when they are.
    pub fn eds_name(&self) -> Option<&Arc<str>> {
        None
    }

    /// Whether it can serve: its first endpoints (EDS, DNS) have arrived.
    pub fn is_warm(&self) -> bool {
        true
    }

    /// Takes new endpoints from EDS. Called on the configuration thread; requests see them at once.
    pub fn assign(&self, _assignment: &ClusterLoadAssignment) -> Result<(), CompileError> {
        Ok(())
    }

    /// This cluster's part of `/clusters?format=json`: Envoy's `admin.v3.ClusterStatus`.
    pub fn status(&self) -> envoy_types::pb::envoy::admin::v3::ClusterStatus {
        Default::default()
    }
}

/// Connection pools of one worker.
pub struct Pools {}

impl Pools {
    /// Empty pools for the worker with this index.
    pub fn new(_worker: usize) -> Self {
        Self {}
    }
}

/// A chosen upstream host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where it was connected.
    pub address: SocketAddr,
    /// The endpoint's metadata (`istio.workload`, `envoy.transport_socket_match`).
    pub metadata: Option<Arc<Metadata>>,
}

/// A connection for the TCP proxy. Dropping it gives back its place in the circuit breaker.
pub struct Connection {
    /// The bytes, TLS already done where the endpoint asks for it.
    pub stream: Stream,
    /// Who it is.
    pub host: Host,
    /// Our end of it.
    pub local: SocketAddr,
    /// The TLS session, where there is one.
    pub tls: Option<crate::connection::TlsInfo>,
}

/// Why a TCP connection to a cluster could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No host to choose from (response flag UH).
    #[error("cluster '{0}' has no healthy host")]
    NoHealthyHost(Arc<str>),
    /// The circuit breaker is open (UO).
    #[error("cluster '{0}' has as many connections as its circuit breaker allows")]
    Overflow(Arc<str>),
    /// Connecting failed or took too long (UF).
    #[error("{host}: {reason}")]
    Failed {
        /// Whom we tried.
        host: SocketAddr,
        /// What happened.
        reason: String,
    },
}

/// Connects to one host of `cluster` for a TCP proxy: one choice, one attempt (the TCP proxy counts
/// its own attempts). Outcome goes into the host's outlier data.
pub async fn connect(
    _worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    _downstream: &Downstream,
) -> Result<Connection, ConnectError> {
    Err(ConnectError::NoHealthyHost(Arc::clone(cluster.name())))
}
