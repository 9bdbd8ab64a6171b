//! Accepting connections and taking each to the filter chain that serves it.

use super::chain_match::Criteria;
use super::inspect::{self, InspectError, Inspected};
use super::{FilterChain, Listener, Network};
use crate::connection::{Downstream, TlsInfo};
use crate::generation::Generation;
use crate::http;
use crate::stream::{Prefixed, Stream};
use crate::tcp;
use crate::telemetry::{ConnectionMeter, ConnectionRecord, ResponseFlags, record_connection};
use crate::tls::AcceptError;
use crate::worker::Worker;
use mizzen_net::socket::{original_destination, set_keepalive, unmapped, wildcard};
use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// How long to wait when the process is out of file descriptors.
const OUT_OF_DESCRIPTORS_PAUSE: Duration = Duration::from_millis(50);

/// Accepts on one socket of the listener `name` until told to close, then takes what the kernel had
/// already accepted for it.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    name: Arc<str>,
    socket: TcpListener,
    mut closing: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => take(&worker, &name, stream, peer),
                Err(error) => refused(&name, error).await,
            },
            _ = &mut closing => break,
        }
    }
    // Clients whose handshake the kernel has finished would otherwise see a reset.
    while let Some(Ok((stream, peer))) = futures::FutureExt::now_or_never(socket.accept()) {
        take(&worker, &name, stream, peer);
    }
}

async fn refused(name: &str, error: std::io::Error) {
    // The client gave up, or the network did: nothing of ours.
    let ours = matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM));
    if ours {
        tracing::warn!(listener = name, %error, "cannot accept; raise the limit of open files (ulimit -n)");
        tokio::time::sleep(OUT_OF_DESCRIPTORS_PAUSE).await;
    } else {
        tracing::debug!(listener = name, %error, "a connection ended before it was accepted");
    }
}

// From errno(3), the same on every Linux architecture.
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOBUFS: i32 = 105;

/// Starts the task of one connection.
fn take(worker: &Rc<Worker>, name: &Arc<str>, stream: TcpStream, peer: SocketAddr) {
    let generation = worker.generation();
    // Between a generation without the listener and the closing of its sockets.
    let Some(listener) = generation.listeners.get(name) else { return };
    let Some(open) = worker.open_connection(listener) else {
        listener.statistics.overflow.add(1);
        tracing::debug!(listener = %name, %peer, "too many open connections; closed");
        return;
    };
    let listener = Arc::clone(listener);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let accepted = Accepted { listener, stream, peer: unmapped(peer), open };
        // Boxed, so that an idle connection does not carry the memory of its first moments.
        let Some((stream, downstream, open)) = Box::pin(accepted.prepare(&worker, &generation)).await else {
            return;
        };
        drop(generation);
        serve(stream, downstream).await;
        drop(open);
    });
}

async fn serve(stream: Stream, downstream: Rc<Downstream>) {
    let chain = Arc::clone(&downstream.chain);
    match &chain.network {
        Network::Http(manager) => match tcp::denied(&downstream) {
            None => http::serve(stream, downstream, Arc::clone(manager)).await,
            Some(reason) => {
                tracing::debug!(peer = %downstream.peer, reason, "a network filter denied the connection")
            }
        },
        // Boxed, so that an HTTP connection at rest, which is small, does not carry room for it.
        Network::Tcp(proxy) => Box::pin(tcp::serve(stream, downstream, Arc::clone(proxy))).await,
        Network::Closed => {}
    }
}

/// Counts an open connection until it is dropped.
pub(crate) struct OpenConnection {
    worker: Rc<Worker>,
    listener: Arc<Listener>,
}

impl Worker {
    /// Counts a connection in; `None` when too many are open.
    fn open_connection(self: &Rc<Self>, listener: &Arc<Listener>) -> Option<OpenConnection> {
        self.connections().open().then(|| {
            listener.statistics.total.add(1);
            listener.statistics.active.add(1);
            OpenConnection { worker: Rc::clone(self), listener: Arc::clone(listener) }
        })
    }
}

impl OpenConnection {
    /// Counts the connection at another listener from now on.
    fn hand_over(&mut self, to: &Arc<Listener>) {
        self.listener.statistics.active.subtract(1);
        to.statistics.total.add(1);
        to.statistics.active.add(1);
        self.listener = Arc::clone(to);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.listener.statistics.active.subtract(1);
        self.listener.statistics.destroyed.add(1);
        self.worker.connections().close();
    }
}

struct Accepted {
    listener: Arc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
    open: OpenConnection,
}

impl Accepted {
    /// Listener filters, hand-over, choice of a chain, TLS. `None` when the connection ended there,
    /// which has been counted and logged.
    async fn prepare(
        mut self,
        worker: &Rc<Worker>,
        generation: &Generation,
    ) -> Option<(Stream, Rc<Downstream>, OpenConnection)> {
        let (started, started_at) = (Instant::now(), SystemTime::now());
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::debug!(peer = %self.peer, %error, "the connection ended at once");
            return None;
        }
        let mut local = unmapped(self.stream.local_addr().ok()?);
        let mut original = None;
        if self.listener.inspection.original_destination
            && let Ok(destination) = original_destination(&self.stream)
        {
            original = (destination != local).then_some(destination);
            local = destination;
        }
        if self.listener.use_original_dst
            && let Some(other) = find_listener(generation, local, &self.listener)
        {
            self.open.hand_over(other);
            self.listener = Arc::clone(other);
        }
        if let Some(keepalive) = &self.listener.socket.keepalive
            && let Err(error) = set_keepalive(&self.stream, keepalive)
        {
            tracing::debug!(peer = %self.peer, %error, "keepalive could not be set");
        }
        let listener = self.listener;
        let inspected = match inspect::inspect(&mut self.stream, &listener.inspection, local.port()).await {
            Ok(inspected) => inspected,
            Err(error) => {
                inspection_failed(&listener, self.peer, &error);
                return None;
            }
        };
        let peer = inspected.relayed.map_or(self.peer, |relayed| unmapped(relayed.source));
        let local = inspected.relayed.map_or(local, |relayed| unmapped(relayed.destination));
        let chain = choose_chain(&listener, &inspected, local, peer, self.peer);
        let unmatched = chain.is_none();
        let chain = chain.unwrap_or_else(|| Arc::clone(&listener.unmatched));
        let mut downstream = Downstream {
            id: next_id(),
            direct_peer: self.peer,
            peer,
            local,
            original_destination: original,
            server_name: inspected.server_name,
            tls: None,
            listener,
            drain: chain.drain.watch(),
            chain,
            peer_metadata: OnceCell::new(),
            worker: Rc::clone(worker),
            started,
            started_at,
        };
        if unmatched {
            nobody_serves(&downstream);
            return None;
        }
        let (stream, tls) = terminate(&downstream, inspected.prefix, self.stream).await?;
        downstream.tls = tls;
        Some((stream, Rc::new(downstream), self.open))
    }
}

/// The listener a connection to `destination` is handed to: one that stands for exactly this address,
/// else one for the wildcard address with this port.
fn find_listener<'a>(
    generation: &'a Generation,
    destination: SocketAddr,
    accepting: &Arc<Listener>,
) -> Option<&'a Arc<Listener>> {
    let any = SocketAddr::new(wildcard(destination.ip()), destination.port());
    let listener =
        generation.listener_at(destination).or_else(|| generation.listener_at(any)).filter(|found| {
            // The accepting one is a wildcard too; it keeps what nobody else stands for.
            found.name != accepting.name
        })?;
    Some(listener)
}

fn choose_chain(
    listener: &Listener,
    inspected: &Inspected,
    local: SocketAddr,
    peer: SocketAddr,
    direct_peer: SocketAddr,
) -> Option<Arc<FilterChain>> {
    let criteria = Criteria {
        destination: local,
        server_name: inspected.server_name.as_deref(),
        transport_protocol: if inspected.tls { "tls" } else { "raw_buffer" },
        application_protocols: &inspected.application_protocols,
        direct_source: direct_peer.ip(),
        source: peer,
    };
    listener.find_chain(&criteria).cloned()
}

/// Counts and logs a connection that no filter chain takes.
fn nobody_serves(downstream: &Downstream) {
    let listener = &downstream.listener;
    listener.statistics.no_filter_chain_match.add(1);
    tracing::debug!(
        listener = %listener.name, peer = %downstream.peer, destination = %downstream.local,
        server_name = downstream.server_name.as_deref(), "no filter chain takes this connection; closed"
    );
    let record = ConnectionRecord {
        downstream,
        cluster: None,
        host: None,
        upstream_local: None,
        upstream_principal: None,
        upstream_local_principal: None,
        received: 0,
        sent: 0,
        duration: downstream.started.elapsed(),
        flags: ResponseFlags::NO_ROUTE,
        details: "filter_chain_not_found",
        termination: None,
        upstream_failure: None,
    };
    record_connection(ConnectionMeter::default(), &listener.access_logs, &record);
}

async fn terminate(
    downstream: &Downstream,
    prefix: bytes::Bytes,
    socket: TcpStream,
) -> Option<(Stream, Option<TlsInfo>)> {
    let (listener, chain, peer) = (&downstream.listener, &downstream.chain, downstream.peer);
    let stream = Prefixed::new(prefix, socket);
    let Some(acceptor) = &chain.tls else { return Some((Stream::Plain(stream), None)) };
    match acceptor.accept(stream, chain.handshake_timeout).await {
        Ok((stream, tls)) => {
            listener.statistics.handshake.add(1);
            Some((stream, Some(tls)))
        }
        Err(error) => {
            let counter = match &error {
                AcceptError::Secret(_) => &listener.statistics.secret_missing,
                AcceptError::TimedOut(_) => &listener.statistics.handshake_timeout,
                AcceptError::Handshake(_) | AcceptError::NoServerName => &listener.statistics.handshake_error,
            };
            counter.add(1);
            // As visible as lines of the access log, which only requests have. A client that just goes away is not:
            // load balancers ask for life that way.
            let name = &chain.name;
            if error.is_departure() {
                tracing::debug!(listener = %listener.name, chain = %name, %peer, %error, "TLS was not accepted");
            } else {
                tracing::warn!(listener = %listener.name, chain = %name, %peer, %error, "TLS was not accepted");
            }
            None
        }
    }
}

fn inspection_failed(listener: &Listener, peer: SocketAddr, error: &InspectError) {
    let counter = match error {
        InspectError::TimedOut(_) => &listener.statistics.inspection_timeout,
        _ => &listener.statistics.inspection_error,
    };
    counter.add(1);
    if matches!(error, InspectError::Closed | InspectError::Io(_)) {
        tracing::debug!(listener = %listener.name, %peer, %error, "closed before a filter chain was chosen");
    } else {
        tracing::warn!(listener = %listener.name, %peer, %error, "closed before a filter chain was chosen");
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
