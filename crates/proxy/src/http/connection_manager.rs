//! The compiled `HttpConnectionManager` and what it keeps of one connection.

use super::filter::Filters;
use super::normalize::PathRules;
use super::observed::Observations;
use super::routes::RouteTable;
use crate::connection::Downstream;
use crate::telemetry::counters::{ManagerCounts, Sharded};
use crate::telemetry::intern::Id;
use crate::telemetry::tracing::Tracing;
use crate::telemetry::{AccessLog, HttpStats};
use http::{HeaderName, HeaderValue};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// By what TLS agreed on, else by the first bytes.
    #[default]
    Auto,
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What is done with the header `server` of responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerHeader {
    /// Ours replaces it.
    #[default]
    Overwrite,
    /// Ours is added where there is none.
    AppendIfAbsent,
    /// It stays as it is.
    PassThrough,
}

/// What is done with `x-forwarded-client-cert`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardClientCert {
    /// It is removed.
    #[default]
    Sanitize,
    /// It is passed on over mutual TLS, else removed.
    ForwardOnly,
    /// The client's certificate is appended over mutual TLS, else it is removed.
    AppendForward,
    /// It is replaced by the client's certificate.
    SanitizeSet,
    /// It is passed on in any case.
    AlwaysForwardOnly,
}

/// Which parts of the client's certificate are passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCertDetails {
    /// The subject.
    pub subject: bool,
    /// The whole certificate in PEM.
    pub cert: bool,
    /// URI SANs.
    pub uri: bool,
    /// DNS SANs.
    pub dns: bool,
}

/// HTTP/1 of a listener.
#[derive(Clone, Debug, Default)]
pub struct Http1Options {
    /// Whether HTTP/1.0 is served.
    pub accept_http_10: bool,
    /// The host of HTTP/1.0 requests that name none.
    pub default_host: Option<HeaderValue>,
    /// Whether header names keep their case.
    pub preserve_case: bool,
    /// Whether header names are written with capitals.
    pub proper_case: bool,
}

/// HTTP/2 of a listener. `None` is our default.
#[derive(Clone, Debug, Default)]
pub struct Http2Options {
    /// Requests at once on a connection.
    pub max_concurrent_streams: Option<u32>,
    /// Window of a stream in bytes.
    pub stream_window: Option<u32>,
    /// Window of a connection in bytes.
    pub connection_window: Option<u32>,
    /// Pings an idle connection this often, and gives it up without an answer in this time.
    pub keepalive: Option<(Duration, Duration)>,
}

/// Timeouts of a connection manager; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// A connection without requests; Envoy's default is one hour.
    pub idle: Option<Duration>,
    /// The whole life of a connection.
    pub max_connection: Option<Duration>,
    /// Silence of a stream; Envoy's default is five minutes.
    pub stream_idle: Option<Duration>,
    /// The whole life of a stream.
    pub max_stream: Option<Duration>,
    /// Until a request is received whole.
    pub request: Option<Duration>,
    /// Until a request's headers are received.
    pub request_headers: Option<Duration>,
}

/// Longest time for a request's head once its first byte is there, unless configured.
const HEAD: Duration = Duration::from_secs(60);

impl Timeouts {
    /// Longest time for a request's head once its first byte is there. Never unlimited: a head is no stream.
    pub(super) fn head(&self) -> Duration {
        self.request_headers.unwrap_or(HEAD)
    }

    /// How long a client may leave what it asked for untaken. A stream that may be quiet for as long as it likes is
    /// not quiet then, and a connection on which nothing can move is idle.
    pub(super) fn untaken(&self) -> Option<Duration> {
        [self.stream_idle, self.idle].into_iter().flatten().min()
    }
}

/// Names of headers that logs need, so that only those are kept.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    /// Of requests.
    pub request: Vec<HeaderName>,
    /// Of responses.
    pub response: Vec<HeaderName>,
    /// Whether trailers of responses are needed.
    pub trailers: bool,
}

/// Where routes come from.
#[derive(Clone, Debug)]
pub enum RouteSource {
    /// RDS, under this name.
    Named(Arc<str>),
    /// The connection manager itself.
    Inline(Arc<RouteTable>),
}

/// A compiled `envoy.filters.network.http_connection_manager`.
pub struct HttpConnectionManager {
    /// Which HTTP.
    pub codec: Codec,
    /// Its statistics.
    pub counts: Arc<Sharded<ManagerCounts>>,
    /// Where routes come from.
    pub routes: RouteSource,
    /// Filters.
    pub filters: Filters,
    /// `istio.stats`.
    pub stats: Option<HttpStats>,
    /// Access logs.
    pub access_logs: Vec<Arc<AccessLog>>,
    /// Headers they need.
    pub captured: Captured,
    /// Tracing.
    pub tracing: Option<Tracing>,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// HTTP/1.
    pub http1: Http1Options,
    /// HTTP/2.
    pub http2: Http2Options,
    /// Headers a request may have at most; Envoy's default is 100.
    pub max_headers: usize,
    /// Bytes of a request's headers at most; Envoy's default is 60 KiB.
    pub max_header_bytes: usize,
    /// Requests on a connection at most.
    pub max_requests_per_connection: Option<u32>,
    /// Headers with underscores: `None` allows them, true refuses the request, false drops them.
    pub underscores: Option<bool>,
    /// How paths are normalised.
    pub path_rules: PathRules,
    /// Whether the port of `host` is removed: any, or one equal to the listener's.
    pub strip_port: Option<StripPort>,
    /// Whether a dot at the end of `host` is removed.
    pub strip_host_dot: bool,
    /// Whether this is an edge, where the client's address is the connection's.
    pub use_remote_address: bool,
    /// Proxies in front of us whose `x-forwarded-for` is believed.
    pub trusted_hops: usize,
    /// Whether the client's address is left out of `x-forwarded-for`.
    pub skip_forwarded_for: bool,
    /// Whether requests without `x-request-id` get one.
    pub generate_request_id: bool,
    /// Whether the edge keeps the client's `x-request-id`.
    pub preserve_request_id: bool,
    /// Whether responses carry `x-request-id`.
    pub request_id_in_response: bool,
    /// The header `server`.
    pub server_header: ServerHeader,
    /// Our value of it.
    pub server_name: HeaderValue,
    /// Appended to `via`.
    pub via: Option<HeaderValue>,
    /// `x-forwarded-client-cert`.
    pub forward_client_cert: ForwardClientCert,
    /// Its parts.
    pub client_cert_details: ClientCertDetails,
    /// Upgrades that are allowed unless a route says otherwise, by lower-case type.
    pub upgrades: Vec<(String, bool)>,
}

/// When the port of `host` is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StripPort {
    /// Any port.
    Any,
    /// The port the client connected to.
    Matching,
}

impl HttpConnectionManager {
    /// The route configuration it takes from RDS, when its routes are not inline. The listener is
    /// warm once this has arrived.
    pub fn route_config_name(&self) -> Option<&Arc<str>> {
        match &self.routes {
            RouteSource::Named(name) => Some(name),
            RouteSource::Inline(_) => None,
        }
    }
}

/// One HTTP connection: what its requests have in common.
pub struct Connection {
    /// The connection under it.
    pub downstream: Rc<Downstream>,
    /// The connection manager that serves it.
    pub manager: Arc<HttpConnectionManager>,
    /// The client's identity, as metrics name it.
    pub peer_principal: Id,
    /// Our identity, as metrics name it.
    pub local_principal: Id,
    /// The last `x-envoy-peer-metadata` and who it was; nearly always the same for a connection.
    pub(super) last_peer: RefCell<Option<(HeaderValue, Id)>>,
    /// Requests so far.
    requests: Cell<u32>,
    /// Requests in flight.
    pub(super) active: Cell<u32>,
    /// Since when no request is in flight.
    pub(super) idle_since: Cell<Instant>,
    /// Responses of which the client has not taken all that was ready for it.
    offered: Cell<u32>,
    /// When the last piece of a response was ready for it.
    offered_at: Cell<Instant>,
    /// Whether the connection was ended because the client takes nothing.
    given_up: Cell<bool>,
    /// Set once the connection should end after the requests it has, and told then.
    closing: Cell<bool>,
    close: tokio::sync::Notify,
    /// What is seen of its bytes.
    pub(super) seen: Arc<Observations>,
    /// Whether all bodies of its requests were read to their end, so that what comes next is the head of another.
    pub(super) bodies_read: Cell<bool>,
}

impl Connection {
    /// The state of a new connection.
    pub fn new(downstream: Rc<Downstream>, manager: Arc<HttpConnectionManager>) -> Rc<Self> {
        let names = &downstream.worker.recorder.telemetry().names().principals;
        let id = |name: Option<&str>| name.map_or(Id::UNKNOWN, |name| names.id(&name.to_owned()));
        let local = downstream.tls.as_ref().and_then(|tls| tls.local.as_ref());
        let local_principal = id(local.and_then(|local| local.uri_sans.first()).map(AsRef::as_ref));
        let peer_principal = id(downstream.principal());
        Rc::new(Self {
            peer_principal,
            local_principal,
            last_peer: RefCell::default(),
            requests: Cell::default(),
            active: Cell::default(),
            idle_since: Cell::new(Instant::now()),
            offered: Cell::default(),
            offered_at: Cell::new(Instant::now()),
            given_up: Cell::default(),
            closing: Cell::default(),
            close: tokio::sync::Notify::new(),
            seen: Arc::default(),
            bodies_read: Cell::new(true),
            downstream,
            manager,
        })
    }

    /// A request has arrived.
    pub(super) fn request_began(&self) {
        self.seen.head.store(0, Ordering::Relaxed);
        self.active.set(self.active.get() + 1);
        self.requests.set(self.requests.get().saturating_add(1));
        if self.manager.max_requests_per_connection.is_some_and(|limit| self.requests.get() >= limit) {
            self.closing.set(true);
            self.close.notify_one();
        }
    }

    /// A request has ended.
    pub(crate) fn request_ended(&self) {
        self.seen.head.store(0, Ordering::Relaxed);
        self.active.set(self.active.get().saturating_sub(1));
        self.idle_since.set(Instant::now());
    }

    /// A piece of a response is ready for the client since `now`.
    pub(super) fn offer(&self, now: Instant) {
        self.offered.set(self.offered.get() + 1);
        self.offered_at.set(now);
    }

    /// The client has taken the piece of a response that was ready for it.
    pub(super) fn taken(&self) {
        self.offered.set(self.offered.get().saturating_sub(1));
    }

    /// Since when an HTTP/1 connection has nothing to do and holds nothing that a new one would not have: no request,
    /// no part of one, no byte to be sent.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let seen = &self.seen;
        let quiet = self.active.get() == 0
            && self.bodies_read.get()
            && seen.head.load(Ordering::Relaxed) == 0
            && !seen.unsent.load(Ordering::Relaxed);
        quiet.then(|| self.idle_since.get())
    }

    /// Since when the client takes nothing of what is ready for it.
    pub(super) fn untaken_since(&self) -> Option<Instant> {
        (self.offered.get() > 0).then(|| self.offered_at.get())
    }

    /// The connection is ended because the client takes nothing.
    pub(super) fn give_up(&self) {
        self.given_up.set(true);
    }

    /// Whether it was.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// Whether the connection ends after the requests it has.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Resolves when the connection should end after the requests it has.
    pub(super) async fn close_asked(&self) {
        self.close.notified().await;
    }

    /// The workload a `x-envoy-peer-metadata` header describes.
    pub(super) fn peer_of_header(&self, value: &HeaderValue) -> Id {
        if let Some((known, id)) = &*self.last_peer.borrow()
            && known == value
        {
            return *id;
        }
        let id = self.downstream.worker.recorder.peer_of_header(value);
        *self.last_peer.borrow_mut() = Some((value.clone(), id));
        id
    }
}
