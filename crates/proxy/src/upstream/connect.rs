//! Making connections to upstream hosts: socket, then TLS where the endpoint asks for it.

use super::Cluster;
use super::balance::PickContext;
use super::breaker::{Permit, Resource};
use super::host::{Host, HostState};
use super::outlier::{self, Outcome};
use super::settings::Discovery;
use crate::connection::{Downstream, TlsInfo};
use crate::stream::Stream;
use crate::telemetry::Telemetry;
use crate::telemetry::intern::Id;
use crate::tls;
use crate::worker::Worker;
use mizzen_net::{ConnectOptions, PROXY_MARK};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Why a connection to a cluster could not be had.
#[derive(Clone, Debug, thiserror::Error)]
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
        /// What happened, in Envoy's words where it has some.
        reason: String,
        /// Which step failed.
        kind: FailureKind,
    },
}

/// Which step of connecting failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The host refused, or is not reachable.
    Socket,
    /// It did not answer within `connect_timeout`.
    Timeout,
    /// TLS could not be agreed.
    Tls,
}

/// The identities of both ends of an upstream connection, as metrics and logs name them.
#[derive(Clone, Debug, Default)]
pub struct Principals {
    /// The upstream's.
    pub peer: Id,
    /// Ours.
    pub local: Id,
    /// The upstream's first URI SAN.
    pub peer_name: Option<Arc<str>>,
}

/// What is known of an upstream connection.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// Our end of it.
    pub local: Option<SocketAddr>,
    /// Its identities.
    pub principals: Rc<Principals>,
    /// The TLS session, where there is one.
    pub tls: Option<TlsInfo>,
    /// Its place in the circuit breaker and in the host's count.
    _open: Open,
}

/// A connection for the TCP proxy. Dropping it gives back its place in the circuit breaker.
pub struct Connection {
    /// The bytes, TLS already done where the endpoint asks for it.
    pub stream: Stream,
    /// Who it is.
    pub host: Arc<Host>,
    /// What is known of it.
    pub info: ConnectionInfo,
}

/// Counts an open connection; dropping it counts the close.
#[derive(Debug)]
struct Open {
    permit: Permit,
    state: Arc<HostState>,
    worker: usize,
}

impl Open {
    fn begin(permit: Permit, state: &Arc<HostState>, worker: usize) -> Self {
        let counts = permit.cluster().counts(worker);
        counts.upstream_cx_total.increment();
        counts.upstream_cx_active.increment();
        state.connections.fetch_add(1, Ordering::Relaxed);
        state.connected.fetch_add(1, Ordering::Relaxed);
        Self { permit, state: Arc::clone(state), worker }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let counts = self.permit.cluster().counts(self.worker);
        counts.upstream_cx_active.decrement();
        counts.upstream_cx_destroy.increment();
        self.state.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one connection asks of TLS.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TlsAsk<'a> {
    pub(super) server_name: Option<&'a str>,
    pub(super) application_protocols: Option<&'a [&'a [u8]]>,
}

/// Connects to one host of `cluster` for a TCP proxy: one choice, one attempt (the TCP proxy counts
/// its own attempts), by `hash` where the cluster balances by one. Outcome goes into the host's outlier
/// data.
pub async fn connect(
    worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    downstream: &Downstream,
    hash: Option<u64>,
) -> Result<Connection, ConnectError> {
    let host = match &cluster.settings().discovery {
        Discovery::OriginalDestination(_) => cluster
            .original_destination(downstream, None)
            .map(|address| worker.pools.original(cluster, address)),
        _ => cluster.pick(worker.index, PickContext { hash, ..PickContext::default() }),
    };
    let host = host.ok_or_else(|| ConnectError::NoHealthyHost(Arc::clone(cluster.name())))?;
    let permit = Permit::take(cluster, Resource::Connections).ok_or_else(|| {
        cluster.counts(worker.index).upstream_cx_overflow.increment();
        ConnectError::Overflow(Arc::clone(cluster.name()))
    })?;
    let (stream, info) =
        open(worker.index, &worker.recorder.telemetry().clone(), permit, &host, TlsAsk::default()).await?;
    outlier::report(cluster, &host, Outcome::Connected);
    Ok(Connection { stream, host, info })
}

/// Opens a connection to `host` and reports how that went.
pub(super) async fn open(
    worker: usize,
    telemetry: &Arc<Telemetry>,
    permit: Permit,
    host: &Arc<Host>,
    ask: TlsAsk<'_>,
) -> Result<(Stream, ConnectionInfo), ConnectError> {
    let cluster = Arc::clone(permit.cluster());
    let result = dial(&cluster, host, ask).await;
    let counts = cluster.counts(worker);
    match result {
        Ok((stream, tls)) => {
            outlier::report(&cluster, host, Outcome::Reached);
            let local = stream.socket().local_addr().ok();
            let principals = Rc::new(principals(telemetry, tls.as_ref()));
            let open = Open::begin(permit, &host.state, worker);
            Ok((stream, ConnectionInfo { local, principals, tls, _open: open }))
        }
        Err((kind, reason)) => {
            counts.upstream_cx_total.increment();
            counts.upstream_cx_connect_fail.increment();
            host.state.connect_failures.fetch_add(1, Ordering::Relaxed);
            let outcome = if kind == FailureKind::Timeout {
                counts.upstream_cx_connect_timeout.increment();
                Outcome::TimedOut
            } else {
                Outcome::NoResponse
            };
            outlier::report(&cluster, host, outcome);
            Err(ConnectError::Failed { host: host.address, reason, kind })
        }
    }
}

async fn dial(
    cluster: &Cluster,
    host: &Host,
    ask: TlsAsk<'_>,
) -> Result<(Stream, Option<TlsInfo>), (FailureKind, String)> {
    let settings = cluster.settings();
    let options = ConnectOptions {
        source: settings.source,
        // 127.0.0.6 and the like belong to the loopback network, but not to any interface's list.
        transparent: false,
        mark: Some(PROXY_MARK),
        keepalive: settings.keepalive.clone(),
        nodelay: true,
        timeout: Some(settings.connect_timeout),
    };
    let socket = mizzen_net::connect(host.address, &options).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::TimedOut {
            (FailureKind::Timeout, "connection timeout".to_owned())
        } else {
            (FailureKind::Socket, connect_reason(&error))
        }
    })?;
    let Some(connector) = settings.transports.connector(host.transport) else {
        return Ok((Stream::from(socket), None));
    };
    let request = tls::ConnectRequest {
        server_name: ask.server_name,
        application_protocols: ask.application_protocols,
        timeout: Some(settings.connect_timeout.max(Duration::from_millis(1))),
    };
    match connector.connect(socket, request).await {
        Ok((stream, info)) => Ok((stream, Some(info))),
        Err(error @ tls::ConnectError::TimedOut(_)) => Err((FailureKind::Timeout, error.to_string())),
        Err(error) => Err((FailureKind::Tls, format!("TLS_error:|{error}:TLS_error_end"))),
    }
}

/// Envoy's words for why a socket did not connect.
fn connect_reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            format!("delayed connect error: {text} ({code})")
        }
        None => format!("delayed connect error: {error}"),
    }
}

fn principals(telemetry: &Telemetry, tls: Option<&TlsInfo>) -> Principals {
    let Some(tls) = tls else { return Principals::default() };
    let names = &telemetry.names().principals;
    let first = |certificate: Option<&Arc<mizzen_identity::PeerCertificate>>| {
        certificate.and_then(|certificate| certificate.uri_sans.first()).cloned()
    };
    let id = |name: Option<&Arc<str>>| name.map_or(Id::UNKNOWN, |name| names.id(&name.to_string()));
    let peer_name = first(tls.peer.as_ref());
    let local = first(tls.local.as_ref());
    Principals { peer: id(peer_name.as_ref()), local: id(local.as_ref()), peer_name }
}
