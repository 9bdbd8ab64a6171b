//! Connection pools of one worker: for each host, idle HTTP/1 connections (the one used last is
//! used next, so that spare ones can time out) and HTTP/2 connections with room for more streams.
//!
//! Nothing here is shared between threads. Limits are the cluster's circuit breaker, which is.

mod http1;
mod http2;
mod response;

pub use response::{BodyError, ResponseBody};

use super::Cluster;
use super::breaker::{Permit, Resource};
use super::connect::{ConnectError, ConnectionInfo, FailureKind, TlsAsk, open};
use super::host::Host;
use super::settings::HttpProtocol;
use crate::http::body::RequestBody;
use crate::stream::Stream;
use crate::telemetry::counters::ClusterCounts;
use crate::worker::Worker;
use ahash::AHashMap;
use futures::future::Either;
use http::{Request, Response};
use http1::Http1Lease;
use http2::Http2Connection;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Hosts of `ORIGINAL_DST` clusters that are remembered before unused ones are forgotten.
const ORIGINAL_HOSTS: usize = 4096;
/// The sweep for idle connections never runs more often than this.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// The HTTP spoken on an upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Whichever the TLS handshake agrees on.
    Negotiated,
}

impl Version {
    /// The version for a request that came in `client`'s version.
    pub fn choose(protocol: HttpProtocol, client: http::Version) -> Self {
        match protocol {
            HttpProtocol::Http1 => Self::Http1,
            HttpProtocol::Http2 => Self::Http2,
            HttpProtocol::Negotiated => Self::Negotiated,
            HttpProtocol::SameAsClient if client == http::Version::HTTP_2 => Self::Http2,
            HttpProtocol::SameAsClient => Self::Http1,
        }
    }
}

/// What a request asks of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Which HTTP.
    pub version: Version,
    /// The TLS server name, where the cluster takes it from the request.
    pub server_name: Option<&'a str>,
    /// The application protocols to offer, where a filter chose them; with what tells them apart.
    pub application_protocols: Option<(u64, &'a [&'a [u8]])>,
}

/// What connections of one pool have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PoolKey {
    cluster: u64,
    host: u64,
    transport: usize,
    version: Version,
    application_protocols: u64,
    server_name: Option<Box<str>>,
}

/// Why a request got no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AcquireError {
    /// The circuit breaker is open (UO).
    #[error("overflow")]
    Overflow,
    /// The connection could not be made (UF).
    #[error("{reason}")]
    Connect {
        /// What happened.
        reason: Arc<str>,
        /// Which step failed.
        kind: FailureKind,
    },
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
#[error("{cause:?}: {reason}")]
pub struct SendError {
    /// In which way it failed.
    pub cause: SendFailure,
    /// Whether the upstream certainly has not acted on any of the request.
    pub unsent: bool,
    /// The request, where the connection gave it back whole.
    pub request: Option<Box<Request<RequestBody>>>,
    /// The underlying error.
    pub reason: String,
}

/// In which way a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFailure {
    /// The connection ended.
    ConnectionTermination,
    /// The upstream reset the stream.
    RemoteReset,
    /// The upstream refused the stream before looking at it.
    RefusedStream,
    /// The upstream broke the protocol.
    Protocol,
    /// The request's own body failed.
    RequestBody,
}

/// Connection pools of one worker.
pub struct Pools {
    worker: usize,
    hosts: RefCell<AHashMap<PoolKey, Rc<HostPool>>>,
    originals: RefCell<AHashMap<(u64, SocketAddr), Arc<Host>>>,
    sweeping: Cell<bool>,
}

/// Connections to one host.
struct HostPool {
    cluster: Arc<Cluster>,
    host: Arc<Host>,
    idle: RefCell<Vec<http1::Idle>>,
    http2: RefCell<Vec<Rc<Http2Connection>>>,
    /// Connections of this pool, idle or not.
    open: Rc<Cell<usize>>,
    /// Whether an HTTP/2 connection is being made, which others wait for.
    connecting: Cell<bool>,
    /// Told when a connection comes back, is made, or fails.
    changed: Notify,
}

/// A connection, or a stream's place on one, for one request.
pub struct Lease {
    /// What is known of the connection.
    pub info: Rc<ConnectionInfo>,
    /// Whether it has served a request before.
    pub reused: bool,
    kind: Kind,
}

enum Kind {
    Http1(Http1Lease),
    Http2(http2::Http2Lease),
}

impl Pools {
    /// Empty pools for the worker with this index.
    pub fn new(worker: usize) -> Self {
        Self { worker, hosts: RefCell::default(), originals: RefCell::default(), sweeping: Cell::new(false) }
    }

    /// The host of an `ORIGINAL_DST` cluster at `address`.
    pub fn original(&self, cluster: &Arc<Cluster>, address: SocketAddr) -> Arc<Host> {
        let mut originals = self.originals.borrow_mut();
        if originals.len() >= ORIGINAL_HOSTS {
            originals.retain(|_, host| Arc::strong_count(host) > 1);
        }
        Arc::clone(originals.entry((cluster.id, address)).or_insert_with(|| cluster.host_at(address)))
    }

    /// A connection to `host` for one request: an idle one, a place on an HTTP/2 connection, or a
    /// new one, as the circuit breaker allows.
    pub async fn acquire(
        &self,
        worker: &Rc<Worker>,
        cluster: &Arc<Cluster>,
        host: &Arc<Host>,
        ask: Ask<'_>,
    ) -> Result<Lease, AcquireError> {
        let pool = self.pool(cluster, host, ask);
        if let Some(lease) = pool.reuse(ask.version).await {
            return Ok(lease);
        }
        self.start_sweeping(worker);
        let counts = cluster.counts(self.worker);
        let Some(_waiting) = Permit::take(cluster, Resource::Pending) else {
            counts.upstream_rq_pending_overflow.increment();
            return Err(AcquireError::Overflow);
        };
        counts.upstream_rq_pending_total.increment();
        let _counted = PendingCount::begin(counts);
        // Boxed, so that a request that finds a connection does not hold room for making one.
        let acquired = Box::pin(pool.wait(worker, ask)).await;
        if acquired.is_err() {
            counts.upstream_rq_pending_failure_eject.increment();
        }
        acquired
    }

    fn pool(&self, cluster: &Arc<Cluster>, host: &Arc<Host>, ask: Ask<'_>) -> Rc<HostPool> {
        let key = PoolKey {
            cluster: cluster.id,
            host: host.state.id,
            transport: host.transport,
            version: ask.version,
            application_protocols: ask.application_protocols.map_or(0, |(identity, _)| identity),
            server_name: ask.server_name.map(Into::into),
        };
        if let Some(pool) = self.hosts.borrow().get(&key) {
            return Rc::clone(pool);
        }
        let pool = Rc::new(HostPool {
            cluster: Arc::clone(cluster),
            host: Arc::clone(host),
            idle: RefCell::default(),
            http2: RefCell::default(),
            open: Rc::default(),
            connecting: Cell::new(false),
            changed: Notify::new(),
        });
        self.hosts.borrow_mut().insert(key, Rc::clone(&pool));
        pool
    }

    /// Closes idle connections in time, and forgets pools of hosts that are gone. Runs only while
    /// there are pools.
    fn start_sweeping(&self, worker: &Rc<Worker>) {
        if self.sweeping.replace(true) {
            return;
        }
        let worker = Rc::downgrade(worker);
        tokio::task::spawn_local(async move {
            let mut pause = SWEEP_PAUSE;
            loop {
                tokio::time::sleep(pause).await;
                let Some(worker) = worker.upgrade() else { return };
                match worker.pools.sweep() {
                    Some(next) => pause = next.max(SWEEP_PAUSE),
                    None => {
                        worker.pools.sweeping.set(false);
                        return;
                    }
                }
            }
        });
    }

    /// Closes what has been idle for too long; gives the time until the next connection could be.
    fn sweep(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut next: Option<Duration> = None;
        self.hosts.borrow_mut().retain(|_, pool| {
            let removed = pool.host.state.removed.load(Ordering::Acquire);
            let timeout = if removed { Some(Duration::ZERO) } else { pool.cluster.settings().idle_timeout };
            let left = pool.expire(now, timeout);
            if let Some(left) = left {
                // Hosts can be removed at any time, so a long idle timeout is still looked at.
                let left = left.min(Duration::from_secs(30));
                next = Some(next.map_or(left, |next| next.min(left)));
            }
            let in_use = pool.open.get() > 0 || pool.connecting.get() || Rc::strong_count(pool) > 1;
            if in_use {
                next = Some(next.unwrap_or(Duration::from_secs(30)));
            }
            in_use
        });
        next
    }

    /// Connections open now, idle or not.
    pub fn open_connections(&self) -> usize {
        self.hosts.borrow().values().map(|pool| pool.open.get()).sum()
    }
}

impl HostPool {
    /// A connection that is already there.
    async fn reuse(self: &Rc<Self>, version: Version) -> Option<Lease> {
        if version != Version::Http1
            && let Some(lease) = http2::reuse(self)
        {
            return Some(lease);
        }
        if version != Version::Http2 {
            return http1::reuse(self).await;
        }
        None
    }

    /// Waits for a connection: makes one where the breaker allows it, else takes the next that
    /// comes back.
    async fn wait(self: &Rc<Self>, worker: &Rc<Worker>, ask: Ask<'_>) -> Result<Lease, AcquireError> {
        loop {
            // Registered before looking, so that nothing that happens in between is missed.
            let changed = self.changed.notified();
            let freed = self.cluster.breaker.connection_freed();
            if let Some(lease) = self.reuse(ask.version).await {
                return Ok(lease);
            }
            if ask.version != Version::Http1 && self.connecting.get() {
                changed.await;
                continue;
            }
            let permit = match Permit::take(&self.cluster, Resource::Connections) {
                Some(permit) => permit,
                None if self.open.get() == 0 => Permit::force(&self.cluster, Resource::Connections),
                None => {
                    self.cluster.counts(worker.index).upstream_cx_overflow.increment();
                    tokio::select! {
                        () = changed => {}
                        () = freed => {}
                    }
                    continue;
                }
            };
            return self.connect(worker, permit, ask).await;
        }
    }

    async fn connect(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        permit: Permit,
        ask: Ask<'_>,
    ) -> Result<Lease, AcquireError> {
        let _connecting = Connecting::begin(self, ask.version != Version::Http1);
        let tls = TlsAsk {
            server_name: ask.server_name,
            application_protocols: ask.application_protocols.map(|(_, protocols)| protocols),
        };
        let telemetry = worker.recorder.telemetry();
        let (stream, info) =
            open(worker.index, telemetry, permit, &self.host, tls).await.map_err(|error| match error {
                ConnectError::Failed { reason, kind, .. } => {
                    AcquireError::Connect { reason: reason.into(), kind }
                }
                ConnectError::NoHealthyHost(_) | ConnectError::Overflow(_) => AcquireError::Overflow,
            })?;
        let version = match ask.version {
            Version::Negotiated => negotiated(&stream),
            version => version,
        };
        let counts = self.cluster.counts(worker.index);
        let made = match version {
            Version::Http2 => {
                counts.upstream_cx_http2_total.increment();
                http2::start(self, stream, info).await
            }
            Version::Http1 | Version::Negotiated => {
                counts.upstream_cx_http1_total.increment();
                http1::start(self, stream, info).await
            }
        };
        made.map_err(|reason| AcquireError::Connect { reason: reason.into(), kind: FailureKind::Socket })
    }

    /// Drops connections idle since before `now - timeout`; gives the time until the next one is.
    fn expire(&self, now: Instant, timeout: Option<Duration>) -> Option<Duration> {
        let counts = self.cluster.counts(0);
        let mut next: Option<Duration> = None;
        let mut keep = |since: Instant, closed: bool| {
            if closed {
                return false;
            }
            let Some(timeout) = timeout else { return true };
            let idle = now.saturating_duration_since(since);
            if idle >= timeout {
                return false;
            }
            let left = timeout - idle;
            next = Some(next.map_or(left, |next| next.min(left)));
            true
        };
        let before = self.idle.borrow().len() + self.http2.borrow().len();
        self.idle.borrow_mut().retain(|idle| keep(idle.since, idle.is_closed()));
        self.http2.borrow_mut().retain(|connection| match connection.idle_since() {
            Some(since) => keep(since, connection.is_closed()),
            None => !connection.is_closed(),
        });
        let after = self.idle.borrow().len() + self.http2.borrow().len();
        // Counted in the first worker's part: this is rare, and the sum is what is read.
        counts.upstream_cx_idle_timeout.add((before - after) as u64);
        next
    }
}

/// Counts a request that waits for a connection, until it has one or gives up.
struct PendingCount<'a>(&'a ClusterCounts);

impl<'a> PendingCount<'a> {
    fn begin(counts: &'a ClusterCounts) -> Self {
        counts.upstream_rq_pending_active.increment();
        Self(counts)
    }
}

impl Drop for PendingCount<'_> {
    fn drop(&mut self) {
        self.0.upstream_rq_pending_active.decrement();
    }
}

/// Marks that a connection others may share is being made; dropping it tells those who wait.
struct Connecting<'a> {
    pool: &'a HostPool,
    shared: bool,
}

impl<'a> Connecting<'a> {
    fn begin(pool: &'a HostPool, shared: bool) -> Self {
        if shared {
            pool.connecting.set(true);
        }
        Self { pool, shared }
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        if self.shared {
            self.pool.connecting.set(false);
            self.pool.changed.notify_waiters();
        }
    }
}

/// Counts a connection of a pool until its driver has ended.
struct OpenInPool(Rc<Cell<usize>>);

impl OpenInPool {
    fn begin(pool: &HostPool) -> Self {
        pool.open.set(pool.open.get() + 1);
        Self(Rc::clone(&pool.open))
    }
}

impl Drop for OpenInPool {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

fn negotiated(stream: &Stream) -> Version {
    match stream.application_protocol() {
        Some(b"h2" | b"istio-h2") => Version::Http2,
        _ => Version::Http1,
    }
}

impl Lease {
    /// Which HTTP it speaks.
    pub fn is_http2(&self) -> bool {
        matches!(self.kind, Kind::Http2(_))
    }

    /// Sends a request and waits for the head of its response.
    // Not an `async fn`, which would hold the request once more.
    pub fn send(
        self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, SendError>> {
        match self.kind {
            Kind::Http1(lease) => Either::Left(http1::send(lease, request)),
            Kind::Http2(lease) => Either::Right(http2::send(lease, request)),
        }
    }
}
