//! What happened to one request. Filled while it runs, read once when it has ended: metrics, access
//! log and span all come from here.

use super::entry::{Entry, HttpEntry};
use super::intern::Id;
use super::series::{Measured, Protocol, Reporter, Security, SeriesKey, Shape};
use super::{ResponseFlags, Telemetry};
use crate::compile::{CompileError, unpack_named};
use crate::http::Connection;
use crate::http::routes::Route;
use crate::listener::Direction;
use crate::upstream::{Cluster, Host};
use envoy_types::pb::google::protobuf::Any;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The compiled `istio.stats` HTTP filter.
#[derive(Debug)]
pub struct HttpStats {
    shape: Id,
    /// Whether the `Host` header stands in for an unknown destination service.
    host_fallback: bool,
}

impl HttpStats {
    /// Compiles the filter's `stats.PluginConfig`.
    pub fn compile(config: &Any, telemetry: &Arc<Telemetry>) -> Result<Self, CompileError> {
        let config: mizzen_proto::stats::PluginConfig =
            unpack_named(config, mizzen_proto::type_url::STATS, "typed_config")?;
        Ok(Self { shape: shape(&config, telemetry)?, host_fallback: !config.disable_host_header_fallback })
    }
}

/// What a `stats.PluginConfig` changes, or what in it is not honoured.
pub(super) fn shape(
    config: &mizzen_proto::stats::PluginConfig,
    telemetry: &Telemetry,
) -> Result<Id, CompileError> {
    let refuse = |field: &str, what: &str| Err(CompileError::unsupported(field, what));
    if !config.definitions.is_empty() {
        return refuse("definitions", "a metric definition");
    }
    if config.reporter != 0 {
        return refuse("reporter", "a reporter other than the listener's direction");
    }
    if config.rotation_interval.is_some() || config.graceful_deletion_interval.is_some() {
        return refuse("rotation_interval", "metric expiry");
    }
    let mut shape = Shape::default();
    for (index, metric) in config.metrics.iter().enumerate() {
        if !metric.dimensions.is_empty() {
            return refuse(&format!("metrics[{index}].dimensions"), "a computed dimension");
        }
        if !metric.r#match.is_empty() {
            return refuse(&format!("metrics[{index}].match"), "a match expression");
        }
        if metric.drop {
            shape.dropped.push(metric.name.clone());
        }
        let labels = metric.tags_to_remove.iter().map(|label| (metric.name.clone(), label.clone()));
        shape.removed_labels.extend(labels);
    }
    Ok(telemetry.names().shapes.id(&shape))
}

/// Values of captured headers, in the order of [`crate::http::Captured`]'s names.
pub type CapturedValues = SmallVec<[Option<HeaderValue>; 6]>;

/// One request, from its arrival to the last byte of its response.
pub struct RequestRecord {
    /// The connection it came on.
    pub connection: Rc<Connection>,
    /// The client's address after `x-forwarded-for`.
    pub remote: SocketAddr,
    /// When it arrived.
    pub started: Instant,
    /// The same on the wall clock.
    pub started_at: SystemTime,
    /// Version of the request.
    pub version: Version,
    /// Method.
    pub method: Method,
    /// Target as sent upstream.
    pub target: Uri,
    /// Host as sent upstream.
    pub authority: Option<HeaderValue>,
    /// Captured request headers.
    pub request_headers: CapturedValues,
    /// Captured response headers.
    pub response_headers: CapturedValues,
    /// Status sent to the client; none when there was no response.
    pub status: Option<StatusCode>,
    /// Response flags.
    pub flags: ResponseFlags,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: Cow<'static, str>,
    /// `%CONNECTION_TERMINATION_DETAILS%`.
    pub termination: Option<Cow<'static, str>>,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub upstream_failure: Option<Box<str>>,
    /// Body bytes received from the client.
    pub received: u64,
    /// Body bytes sent to the client.
    pub sent: u64,
    /// Bytes of the request's headers.
    pub request_header_bytes: u64,
    /// Bytes of the response's headers.
    pub response_header_bytes: u64,
    /// The route, once one was found, and its virtual host's name.
    pub route: Option<(Arc<Route>, Arc<str>)>,
    /// The cluster the route chose, whether it exists or not.
    pub cluster_name: Option<Arc<str>>,
    /// The cluster.
    pub cluster: Option<Arc<Cluster>>,
    /// The host that was tried last.
    pub host: Option<Arc<Host>>,
    /// Our end of that connection.
    pub upstream_local: Option<SocketAddr>,
    /// The identity the upstream proved, and ours towards it.
    pub upstream_principals: Option<Rc<crate::upstream::Principals>>,
    /// How many attempts were made.
    pub attempts: u32,
    /// The workload at the other end, as it announced itself.
    pub peer: Id,
    /// Whether it is a gRPC call.
    pub grpc: bool,
    /// `grpc-status` of the response.
    pub grpc_status: Option<u8>,
    /// gRPC messages received from the client and sent to it.
    pub messages: (u64, u64),
    /// Until the request was read whole.
    pub request_read: Option<Duration>,
    /// Until the response began.
    pub response_began: Option<Duration>,
    /// When anything of the response last moved.
    pub last_moved: Instant,
    /// Trailers of the response, where a log needs them.
    pub trailers: Option<HeaderMap>,
    /// The span of this request, when it is traced.
    pub span: Option<Box<super::tracing::Span>>,
}

impl RequestRecord {
    /// The record of a request that has just arrived.
    pub fn begin<B>(connection: &Rc<Connection>, request: &http::Request<B>) -> Self {
        let started = Instant::now();
        Self {
            connection: Rc::clone(connection),
            remote: connection.downstream.peer,
            started,
            started_at: SystemTime::now(),
            version: request.version(),
            method: request.method().clone(),
            target: request.uri().clone(),
            authority: None,
            request_headers: CapturedValues::new(),
            response_headers: CapturedValues::new(),
            status: None,
            flags: ResponseFlags::NONE,
            details: Cow::Borrowed(""),
            termination: None,
            upstream_failure: None,
            received: 0,
            sent: 0,
            request_header_bytes: 0,
            response_header_bytes: 0,
            route: None,
            cluster_name: None,
            cluster: None,
            host: None,
            upstream_local: None,
            upstream_principals: None,
            attempts: 0,
            peer: Id::UNKNOWN,
            grpc: false,
            grpc_status: None,
            messages: (0, 0),
            request_read: None,
            response_began: None,
            last_moved: started,
            trailers: None,
            span: None,
        }
    }

    /// Whether an access log prints trailers.
    pub fn wants_trailers(&self) -> bool {
        self.connection.manager.captured.trailers
    }

    /// The request so far, with its live headers, for formats in header values.
    pub fn entry_with<'a>(&'a self, headers: &'a HeaderMap) -> Entry<'a> {
        let mut entry = self.entry(self.started.elapsed());
        if let Some(http) = &mut entry.http {
            http.live = Some(headers);
        }
        entry
    }

    /// The request so far.
    pub fn entry_now(&self) -> Entry<'_> {
        self.entry(self.started.elapsed())
    }

    /// Records a request that has ended: statistics, metrics, access log, span.
    pub fn finish(&mut self) {
        let connection = Rc::clone(&self.connection);
        let manager = &connection.manager;
        let worker = &connection.downstream.worker;
        let duration = self.started.elapsed();
        connection.request_ended();
        let status = self.status.map_or(0, |status| status.as_u16());
        let counts = manager.counts.of(worker.index);
        counts.downstream_rq_active.decrement();
        if status != 0 {
            counts.response(status);
        }
        if self.flags.contains(ResponseFlags::STREAM_IDLE_TIMEOUT) {
            counts.downstream_rq_idle_timeout.increment();
        }
        if self.grpc {
            self.count_grpc(counts);
        }
        if let Some(stats) = &manager.stats {
            let measured = Measured {
                duration_micros: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
                request_bytes: self.received + self.request_header_bytes,
                response_bytes: self.sent + self.response_header_bytes,
                request_messages: self.messages.0,
                response_messages: self.messages.1,
            };
            worker.recorder.series.record(self.key(stats, status), &measured);
        }
        if !manager.access_logs.is_empty() {
            let entry = self.entry(duration);
            for log in &manager.access_logs {
                log.write(worker.index, &entry);
            }
        }
        if let (Some(span), Some(tracing)) = (self.span.take(), &manager.tracing) {
            tracing.finish(*span, self, duration);
        }
    }

    fn count_grpc(&self, counts: &super::counters::ManagerCounts) {
        match self.grpc_status {
            Some(0) => counts.grpc_success.increment(),
            _ => counts.grpc_failure.increment(),
        }
        counts.grpc_request_message_count.add(self.messages.0);
        counts.grpc_response_message_count.add(self.messages.1);
    }

    fn key(&self, stats: &HttpStats, response_code: u16) -> SeriesKey {
        let connection = &self.connection;
        let inbound = connection.downstream.listener.direction == Direction::Inbound;
        let (peer, peer_principal, local_principal, security) = if inbound {
            let security =
                if connection.downstream.is_mutual_tls() { Security::MutualTls } else { Security::None };
            (self.peer, connection.peer_principal, connection.local_principal, security)
        } else {
            let announced = (self.peer != Id::UNKNOWN).then_some(self.peer);
            let peer = announced.or_else(|| self.host.as_ref().map(|host| host.peer)).unwrap_or_default();
            let (theirs, ours) =
                self.upstream_principals.as_ref().map(|both| (both.peer, both.local)).unwrap_or_default();
            (peer, theirs, ours, Security::Unknown)
        };
        SeriesKey {
            reporter: if inbound { Reporter::Destination } else { Reporter::Source },
            protocol: if self.grpc { Protocol::Grpc } else { Protocol::Http },
            security,
            grpc_status: self.grpc_status,
            response_code,
            flags: self.flags,
            peer,
            peer_principal,
            local_principal,
            service: self.service(stats, inbound),
            shape: stats.shape,
        }
    }

    fn service(&self, stats: &HttpStats, inbound: bool) -> Id {
        if let Some(cluster) = self.cluster.as_ref().filter(|cluster| cluster.service != Id::UNKNOWN) {
            return cluster.service;
        }
        if inbound && !stats.host_fallback {
            return Id::UNKNOWN;
        }
        let host = match &self.authority {
            Some(host) if stats.host_fallback => host.to_str().unwrap_or_default(),
            _ => "",
        };
        let virtual_host = self.route.as_ref().map_or("", |(_, name)| name);
        let cluster = self.cluster_name.as_deref().unwrap_or_default();
        let name = match (virtual_host, cluster) {
            ("block_all", _) | (_, "BlackHoleCluster") => "BlackHoleCluster",
            ("allow_any", _) | (_, "PassthroughCluster") => "PassthroughCluster",
            (_, "InboundPassthroughCluster") => "InboundPassthroughCluster",
            _ => host.split([':', '.']).next().unwrap_or_default(),
        };
        self.connection.downstream.worker.recorder.service_of_host(host, name)
    }

    fn entry(&self, duration: Duration) -> Entry<'_> {
        let connection = &self.connection;
        let captured = &connection.manager.captured;
        Entry {
            downstream: &connection.downstream,
            remote: self.remote,
            started_at: self.started_at,
            duration,
            received: self.received,
            sent: self.sent,
            flags: self.flags,
            details: &self.details,
            termination: self.termination.as_deref(),
            upstream_failure: self.upstream_failure.as_deref(),
            cluster: self.cluster_name.as_deref(),
            upstream: self.host.as_ref().map(|host| host.address),
            upstream_local: self.upstream_local,
            upstream_principal: self.upstream_principals.as_ref().and_then(|both| both.peer_name.as_deref()),
            attempts: self.attempts,
            route: self.route.as_ref().map_or("", |(route, _)| &route.name),
            http: Some(HttpEntry {
                method: Some(&self.method),
                path: self.target.path_and_query().map_or("", |path| path.as_str()),
                authority: self.authority.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default(),
                scheme: if connection.downstream.tls.is_some() { "https" } else { "http" },
                version: self.version,
                request_names: &captured.request,
                request_values: &self.request_headers,
                response_names: &captured.response,
                response_values: &self.response_headers,
                trailers: self.trailers.as_ref(),
                live: None,
                status: self.status,
                grpc_status: self.grpc_status,
                virtual_host: self.route.as_ref().map_or("", |(_, name)| name),
                trace: self.span.as_ref().map(|span| (span.context.trace, span.context.span)),
                request_read: self.request_read,
                response_began: self.response_began,
            }),
        }
    }
}

/// The values of `names` in `headers`.
pub fn capture(names: &[HeaderName], headers: &HeaderMap) -> CapturedValues {
    names.iter().map(|name| headers.get(name).cloned()).collect()
}
