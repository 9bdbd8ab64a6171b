//! The TCP proxy: choose a cluster, connect, pass bytes both ways, record once.

use super::metadata_exchange::{self, Exchanging};
use super::{Ends, denied, exchanges_metadata};
use crate::connection::Downstream;
use crate::stream::Stream;
use crate::telemetry::{
    AccessLog, ConnectionMeter, ConnectionRecord, ResponseFlags, TcpStats, record_connection,
    record_connection_opened,
};
use crate::upstream::{self, Cluster, ConnectError, Connection};
use mizzen_net::{CopyCounters, CopyOptions};
use rand::RngExt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

/// How long the peer's header is waited for before its workload counts as unknown. Our own proxies
/// and Envoys of clients that speak first send it at once.
const HEADER_PATIENCE: Duration = Duration::from_secs(1);

/// A compiled `envoy.filters.network.tcp_proxy`.
pub struct TcpProxy {
    /// Prefix of its statistics.
    pub stat_prefix: Arc<str>,
    /// Where connections go.
    pub target: Target,
    /// Ends connections on which nothing moved; 1 h unless the filter says otherwise, `None` for never.
    pub idle_timeout: Option<Duration>,
    /// Longest life of a connection.
    pub longest: Option<Duration>,
    /// How often connecting is tried; at least 1.
    pub connect_attempts: u32,
    /// Whether clusters that balance by hash take that of the client's address; otherwise they choose at random.
    pub hash_source_ip: bool,
    /// Logs, once a connection.
    pub access_logs: Vec<Arc<AccessLog>>,
    /// Istio's TCP metrics.
    pub stats: Vec<Arc<TcpStats>>,
}

/// Where a TCP proxy sends connections.
pub enum Target {
    /// One cluster.
    Cluster(Arc<str>),
    /// One of several, by weight.
    Weighted(Vec<WeightedCluster>),
}

/// A cluster with its share.
pub struct WeightedCluster {
    /// The cluster's name.
    pub name: Arc<str>,
    /// Sum of the weights up to and including this one, so that a choice is one search.
    pub up_to: u64,
}

impl Target {
    /// The cluster for the random `number`.
    pub fn choose(&self, number: impl FnOnce(u64) -> u64) -> &Arc<str> {
        match self {
            Target::Cluster(name) => name,
            Target::Weighted(clusters) => {
                // Compilation refuses an empty list and a sum of zero.
                static NONE: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "".into());
                let total = clusters.last().map_or(1, |last| last.up_to);
                let number = number(total);
                let place = clusters.partition_point(|cluster| cluster.up_to <= number);
                clusters.get(place).map_or(&NONE, |cluster| &cluster.name)
            }
        }
    }
}

/// How a connection ended.
#[derive(Default)]
struct Outcome {
    cluster: Option<Arc<Cluster>>,
    connection: Option<Facts>,
    received: u64,
    sent: u64,
    flags: ResponseFlags,
    termination: Option<String>,
    upstream_failure: Option<String>,
}

/// What is kept of the upstream connection while its stream is in use. Dropping it gives back the
/// connection's place in the circuit breaker.
struct Facts {
    host: Arc<upstream::Host>,
    info: upstream::ConnectionInfo,
}

/// Serves one connection until it ends.
pub(crate) async fn serve(stream: Stream, downstream: Rc<Downstream>, proxy: Arc<TcpProxy>) {
    if let Some(reason) = denied(&downstream) {
        let outcome = Outcome { termination: Some(reason), ..Outcome::default() };
        return finish(&proxy, &downstream, ConnectionMeter::default(), &outcome);
    }
    let mut outcome = Outcome::default();
    let connection = match connect(&downstream, &proxy, &mut outcome).await {
        Some(connection) => connection,
        None => return finish(&proxy, &downstream, ConnectionMeter::default(), &outcome),
    };
    let exchange = (exchanges_metadata(&downstream), agreed_upstream(&connection));
    let Connection { stream: upstream, host, info } = connection;
    outcome.connection = Some(Facts { host, info });
    let mut ends = Ends { downstream: stream, upstream };
    let (counters, mut meter) = (CopyCounters::default(), ConnectionMeter::default());
    let moved = pass(&mut ends, exchange, &downstream, &proxy, &outcome, &counters, &mut meter).await;
    (outcome.received, outcome.sent) = counters.totals();
    if let Err(error) = moved {
        let (flags, termination) = ended_by(&error);
        outcome.flags = flags;
        outcome.termination = Some(termination);
    }
    finish(&proxy, &downstream, meter, &outcome);
}

/// Chooses a cluster and connects to one of its hosts. Failure is noted in `outcome`.
async fn connect(downstream: &Rc<Downstream>, proxy: &TcpProxy, outcome: &mut Outcome) -> Option<Connection> {
    let worker = &downstream.worker;
    let name = proxy.target.choose(|total| rand::rng().random_range(0..total));
    let Some(cluster) = worker.generation().cluster(name).cloned() else {
        outcome.flags = ResponseFlags::NO_CLUSTER;
        outcome.upstream_failure = Some(format!("cluster '{name}' does not exist"));
        return None;
    };
    outcome.cluster = Some(Arc::clone(&cluster));
    let hash = proxy.hash_source_ip.then(|| upstream::balance::source_hash(downstream.peer.ip()));
    for attempt in 1..=proxy.connect_attempts {
        let error = match upstream::connect(worker, &cluster, downstream, hash).await {
            Ok(connection) => {
                outcome.flags = ResponseFlags::NONE;
                return Some(connection);
            }
            Err(error) => error,
        };
        tracing::debug!(cluster = %name, attempt, %error, "no upstream connection");
        outcome.upstream_failure = Some(error.to_string());
        outcome.flags = match error {
            ConnectError::NoHealthyHost(_) => ResponseFlags::NO_HEALTHY_UPSTREAM,
            ConnectError::Overflow(_) => ResponseFlags::UPSTREAM_OVERFLOW,
            ConnectError::Failed { .. } => ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
        };
        if !matches!(error, ConnectError::Failed { .. }) {
            return None;
        }
    }
    outcome.flags.insert(ResponseFlags::RETRY_LIMIT_EXCEEDED);
    None
}

fn agreed_upstream(connection: &Connection) -> bool {
    connection.stream.application_protocol() == Some(metadata_exchange::PROTOCOL)
}

/// Exchanges descriptions where agreed, then passes bytes until both ends are done.
async fn pass(
    ends: &mut Ends,
    (from_client, from_server): (bool, bool),
    downstream: &Rc<Downstream>,
    proxy: &TcpProxy,
    outcome: &Outcome,
    counters: &CopyCounters,
    meter: &mut ConnectionMeter,
) -> io::Result<()> {
    let options = CopyOptions { idle_timeout: proxy.idle_timeout };
    if !from_client
        && !from_server
        && let (Stream::Plain(client), Stream::Plain(server)) = (&mut ends.downstream, &mut ends.upstream)
    {
        *meter = opened(proxy, downstream, outcome);
        // What inspectors read goes first; from then on the kernel moves the bytes.
        let early = client.take_prefix();
        if !early.is_empty() {
            server.write_all(&early).await?;
            counters.forward.fetch_add(early.len() as u64, std::sync::atomic::Ordering::Relaxed);
        }
        let copy = mizzen_net::copy_bidirectional(client.socket(), server.socket(), &options, counters);
        return watch(copy, proxy, counters, meter).await;
    }
    let node = downstream.worker.recorder.telemetry().node();
    let mut client = Exchanging::new(&mut ends.downstream, from_client);
    let mut server = Exchanging::new(&mut ends.upstream, from_server);
    if from_server {
        server.write_all(&metadata_exchange::header(node)).await?;
        server.flush().await?;
    }
    if from_client {
        client.write_all(&metadata_exchange::header(node)).await?;
        client.flush().await?;
        if let Ok(peer) = timeout(HEADER_PATIENCE, client.peer()).await
            && let Some(peer) = peer?
        {
            // Set here only, so it cannot be set already.
            let _ = downstream.peer_metadata.set(Arc::new(peer));
        }
    }
    *meter = opened(proxy, downstream, outcome);
    let copy = mizzen_net::copy_bidirectional_buffered(&mut client, &mut server, &options, counters);
    watch(copy, proxy, counters, meter).await
}

/// Runs the copy, reporting progress, for as long as the connection may live.
async fn watch(
    copy: impl Future<Output = io::Result<(u64, u64)>>,
    proxy: &TcpProxy,
    counters: &CopyCounters,
    meter: &mut ConnectionMeter,
) -> io::Result<()> {
    tokio::pin!(copy);
    let end = async {
        match proxy.longest {
            Some(longest) => sleep(longest).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let mut reports = proxy.stats.iter().map(|stats| stats.reporting_interval).min().map(|interval| {
        let mut reports = interval_at(Instant::now() + interval, interval);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reports
    });
    loop {
        let report = async {
            match &mut reports {
                Some(reports) => {
                    reports.tick().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = &mut copy => return result.map(|_| ()),
            () = &mut end => return Err(io::Error::other(TooLong)),
            () = report => {
                let (received, sent) = counters.totals();
                meter.progress(received, sent);
            }
        }
    }
}

/// The connection lived as long as it may.
#[derive(Debug, thiserror::Error)]
#[error("the longest life of a connection was reached")]
struct TooLong;

fn ended_by(error: &io::Error) -> (ResponseFlags, String) {
    let flags = match error.kind() {
        io::ErrorKind::TimedOut => ResponseFlags::STREAM_IDLE_TIMEOUT,
        io::ErrorKind::Other if error.get_ref().is_some_and(|inner| inner.is::<TooLong>()) => {
            ResponseFlags::DURATION_TIMEOUT
        }
        // Either end may reset a connection it has done with; that is no failure of ours.
        _ => ResponseFlags::NONE,
    };
    (flags, error.to_string())
}

fn opened(proxy: &TcpProxy, downstream: &Downstream, outcome: &Outcome) -> ConnectionMeter {
    if proxy.stats.is_empty() {
        return ConnectionMeter::default();
    }
    record_connection_opened(&proxy.stats, &record(downstream, outcome))
}

fn finish(proxy: &TcpProxy, downstream: &Downstream, meter: ConnectionMeter, outcome: &Outcome) {
    record_connection(meter, &proxy.access_logs, &record(downstream, outcome));
}

fn record<'a>(downstream: &'a Downstream, outcome: &'a Outcome) -> ConnectionRecord<'a> {
    let facts = outcome.connection.as_ref();
    let tls = facts.and_then(|facts| facts.info.tls.as_ref());
    let principal = |certificate: Option<&'a Arc<mizzen_identity::PeerCertificate>>| {
        certificate.and_then(|certificate| certificate.uri_sans.first()).map(|name| &**name)
    };
    ConnectionRecord {
        downstream,
        cluster: outcome.cluster.as_ref(),
        host: facts.map(|facts| &*facts.host),
        upstream_local: facts.and_then(|facts| facts.info.local),
        upstream_principal: principal(tls.and_then(|tls| tls.peer.as_ref())),
        upstream_local_principal: principal(tls.and_then(|tls| tls.local.as_ref())),
        received: outcome.received,
        sent: outcome.sent,
        duration: downstream.started.elapsed(),
        flags: outcome.flags,
        details: "",
        termination: outcome.termination.as_deref(),
        upstream_failure: outcome.upstream_failure.as_deref(),
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
