//! Metrics, access logs and traces: one record a request or connection, taken once at its end.

use crate::compile::CompileError;
use crate::connection::Downstream;
use crate::upstream::Host;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::{Any, Struct};
use std::sync::Arc;
use std::time::Duration;

/// Process-wide telemetry; recorders of workers report into it.
pub struct Telemetry {}

impl Telemetry {
    /// Telemetry of the proxy that is `node`.
    pub fn new(_node: &Node) -> Arc<Self> {
        Arc::new(Self {})
    }

    /// The recorder of one worker.
    pub fn recorder(self: &Arc<Self>, _worker: usize) -> Recorder {
        Recorder {}
    }

    /// All metrics, summed over workers, in Prometheus's text format.
    pub fn prometheus(&self) -> String {
        String::new()
    }

    /// Opens log files again, as after a rotation.
    pub fn reopen_logs(&self) {}
}

/// One worker's counters and log writers.
pub struct Recorder {}

/// What the other proxy said of its workload (metadata exchange).
#[derive(Clone, Debug, Default)]
pub struct PeerMetadata {}

impl PeerMetadata {
    /// Reads the Struct that TCP metadata exchange carries.
    pub fn from_struct(_metadata: &Struct) -> Self {
        Self {}
    }

    /// The Struct we send of ourselves.
    pub fn of_node(_node: &Node) -> Struct {
        Struct::default()
    }
}

/// A compiled access log: where to, which format, when.
pub struct AccessLog {}

impl AccessLog {
    /// Compiles a `FileAccessLog` (called by `compile::access_log`, which knows the wrapper).
    pub fn file(
        _log: &envoy_types::pb::envoy::extensions::access_loggers::file::v3::FileAccessLog,
        _telemetry: &Arc<Telemetry>,
    ) -> Result<Self, CompileError> {
        Ok(Self {})
    }
}

/// The compiled `istio.stats` network filter.
pub struct TcpStats {}

impl TcpStats {
    /// Compiles the filter's `stats.PluginConfig`.
    pub fn compile(_config: &Any, _telemetry: &Arc<Telemetry>) -> Result<Self, CompileError> {
        Ok(Self {})
    }

    /// Counts bytes since the last call, while the connection is open (`istio_tcp_*_bytes_total`).
    pub fn progress(&self, _record: &ConnectionRecord<'_>) {}
}

/// What happened to one TCP connection. `received` and `sent` are totals from the client's view.
pub struct ConnectionRecord<'a> {
    /// The connection.
    pub downstream: &'a Downstream,
    /// The cluster it was sent to.
    pub cluster: Option<&'a Arc<crate::upstream::Cluster>>,
    /// The host it was sent to.
    pub host: Option<&'a Host>,
    /// Our end of the upstream connection.
    pub upstream_local: Option<std::net::SocketAddr>,
    /// Bytes read from the client.
    pub received: u64,
    /// Bytes written to the client.
    pub sent: u64,
    /// From accept to end.
    pub duration: Duration,
    /// Envoy's response flags, for example `UF,URX`; empty when all went well.
    pub flags: &'static str,
    /// `%RESPONSE_CODE_DETAILS%` and `%CONNECTION_TERMINATION_DETAILS%`.
    pub details: &'static str,
    /// Why connecting failed (`%UPSTREAM_TRANSPORT_FAILURE_REASON%`).
    pub upstream_failure: Option<&'a str>,
}

/// The connection was accepted (`istio_tcp_connections_opened_total`); called once its peer is known.
pub fn record_connection_opened(_stats: &[Arc<TcpStats>], _record: &ConnectionRecord<'_>) {}

/// The connection ended: metrics and access log, once.
pub fn record_connection(_stats: &[Arc<TcpStats>], _logs: &[Arc<AccessLog>], _record: &ConnectionRecord<'_>) {
}
