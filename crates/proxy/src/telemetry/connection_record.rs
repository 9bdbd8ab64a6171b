//! What happened to one TCP connection: Istio's TCP metrics and the access log.

use super::entry::Entry;
use super::intern::Id;
use super::request_record::shape;
use super::series::{Protocol, Reporter, Security, SeriesKey, TcpSeries};
use super::{AccessLog, ResponseFlags, Telemetry};
use crate::compile::{CompileError, unpack_named};
use crate::connection::Downstream;
use crate::listener::Direction;
use crate::upstream::{Cluster, Host};
use envoy_types::pb::google::protobuf::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The compiled `istio.stats` network filter.
#[derive(Debug)]
pub struct TcpStats {
    shape: Id,
    /// How often bytes of an open connection are reported; 5 s unless the filter says otherwise.
    pub reporting_interval: Duration,
}

impl TcpStats {
    /// Compiles the filter's `stats.PluginConfig`.
    pub fn compile(config: &Any, telemetry: &Arc<Telemetry>) -> Result<Self, CompileError> {
        let config: mizzen_proto::stats::PluginConfig =
            unpack_named(config, mizzen_proto::type_url::STATS, "typed_config")?;
        let interval = config.tcp_reporting_duration.as_ref();
        let reporting_interval = interval
            .and_then(|interval| Duration::try_from(*interval).ok())
            .filter(|interval| !interval.is_zero())
            .unwrap_or(Duration::from_secs(5));
        Ok(Self { shape: shape(&config, telemetry)?, reporting_interval })
    }
}

/// What happened to one TCP connection so far. `received` and `sent` are totals from the client's
/// view.
pub struct ConnectionRecord<'a> {
    /// The connection.
    pub downstream: &'a Downstream,
    /// The cluster it was sent to.
    pub cluster: Option<&'a Arc<Cluster>>,
    /// The host it was sent to.
    pub host: Option<&'a Host>,
    /// Our end of the upstream connection.
    pub upstream_local: Option<SocketAddr>,
    /// First URI SAN of the upstream's certificate.
    pub upstream_principal: Option<&'a str>,
    /// First URI SAN of the certificate we showed the upstream.
    pub upstream_local_principal: Option<&'a str>,
    /// Bytes read from the client.
    pub received: u64,
    /// Bytes written to the client.
    pub sent: u64,
    /// From accept to end.
    pub duration: Duration,
    /// Response flags; empty when all went well.
    pub flags: ResponseFlags,
    /// `%RESPONSE_CODE_DETAILS%`; empty when there are none.
    pub details: &'static str,
    /// `%CONNECTION_TERMINATION_DETAILS%`.
    pub termination: Option<&'a str>,
    /// Why connecting failed (`%UPSTREAM_TRANSPORT_FAILURE_REASON%`).
    pub upstream_failure: Option<&'a str>,
}

/// Counts one open connection. Bytes are reported as they grow, the close when it is recorded.
#[derive(Debug, Default)]
pub struct ConnectionMeter {
    series: Vec<Arc<TcpSeries>>,
    received: u64,
    sent: u64,
}

impl ConnectionMeter {
    /// Reports what was received and sent since the last report. Both are totals.
    pub fn progress(&mut self, received: u64, sent: u64) {
        let more_received = received.saturating_sub(self.received);
        let more_sent = sent.saturating_sub(self.sent);
        (self.received, self.sent) = (received, sent);
        for series in &self.series {
            series.bytes(more_sent, more_received);
        }
    }
}

/// The connection was accepted (`istio_tcp_connections_opened_total`); called once its peer and its
/// upstream are known. Labels are settled here for the life of the connection.
pub fn record_connection_opened(stats: &[Arc<TcpStats>], record: &ConnectionRecord<'_>) -> ConnectionMeter {
    let recorder = &record.downstream.worker.recorder;
    let series: Vec<_> = stats.iter().map(|stats| recorder.series.tcp(key(stats, record))).collect();
    for series in &series {
        series.opened();
    }
    ConnectionMeter { series, received: 0, sent: 0 }
}

/// The connection ended: metrics and access log, once.
pub fn record_connection(mut meter: ConnectionMeter, logs: &[Arc<AccessLog>], record: &ConnectionRecord<'_>) {
    meter.progress(record.received, record.sent);
    for series in &meter.series {
        series.closed();
    }
    if logs.is_empty() {
        return;
    }
    let entry = Entry {
        downstream: record.downstream,
        remote: record.downstream.peer,
        started_at: record.downstream.started_at,
        duration: record.duration,
        received: record.received,
        sent: record.sent,
        flags: record.flags,
        details: record.details,
        termination: record.termination,
        upstream_failure: record.upstream_failure,
        cluster: record.cluster.map(|cluster| &**cluster.name()),
        upstream: record.host.map(|host| host.address),
        upstream_local: record.upstream_local,
        upstream_principal: record.upstream_principal,
        attempts: u32::from(record.host.is_some()),
        route: "",
        http: None,
    };
    for log in logs {
        log.write(record.downstream.worker.index, &entry);
    }
}

fn key(stats: &TcpStats, record: &ConnectionRecord<'_>) -> SeriesKey {
    let downstream = record.downstream;
    let names = downstream.worker.recorder.telemetry().names();
    let principal = |name: Option<&str>| match name {
        Some(name) => names.principals.id(&name.to_owned()),
        None => Id::UNKNOWN,
    };
    let inbound = downstream.listener.direction == Direction::Inbound;
    let announced = downstream.peer_metadata.get().map(|peer| names.peers.id(peer));
    let local_certificate = downstream.tls.as_ref().and_then(|tls| tls.local.as_ref());
    let (peer, peer_principal, local_principal) = if inbound {
        let local = local_certificate.and_then(|local| local.uri_sans.first()).map(AsRef::as_ref);
        (announced, principal(downstream.principal()), principal(local))
    } else {
        let peer = record.host.map(|host| host.peer);
        (peer, principal(record.upstream_principal), principal(record.upstream_local_principal))
    };
    let security = match (inbound, downstream.is_mutual_tls()) {
        (false, _) => Security::Unknown,
        (true, true) => Security::MutualTls,
        (true, false) => Security::None,
    };
    SeriesKey {
        reporter: if inbound { Reporter::Destination } else { Reporter::Source },
        protocol: Protocol::Tcp,
        security,
        grpc_status: None,
        response_code: 0,
        flags: record.flags,
        peer: peer.unwrap_or_default(),
        peer_principal,
        local_principal,
        service: record.cluster.map(|cluster| cluster.service).unwrap_or_default(),
        shape: stats.shape,
    }
}
