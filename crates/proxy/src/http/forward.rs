//! Sending a request to its cluster: host, connection, attempts, and the response's way back.

use super::body::{Deadline, RequestBody, RequestSource};
use super::connection_manager::Connection;
use super::error_response::{Failure, http_status_of};
use super::headers;
use super::limits::{Limit, Times};
use super::routes::{Forward, HostRewrite, Route, RouteTable, VirtualHost};
use crate::retry::{Attempt, RetryPolicy};
use crate::telemetry::counters::ClusterCounts;
use crate::telemetry::{RequestRecord, ResponseFlags};
use crate::timeout::limited;
use crate::upstream::balance::PickContext;
use crate::upstream::breaker::{Permit, Resource};
use crate::upstream::outlier::{self, Outcome};
use crate::upstream::{
    AcquireError, Ask, Cluster, Discovery, FailureKind, HeaderCase, Host, InFlight, Lease,
    ResponseBody as UpstreamBody, SendError, SendFailure, Version,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a request that was certainly not sent is sent again without being asked to.
const UNSENT_RETRIES: u32 = 3;

/// A request on its way to a cluster.
pub(crate) struct Flight<'a> {
    pub(crate) connection: &'a Rc<Connection>,
    pub(crate) table: &'a RouteTable,
    pub(crate) virtual_host: &'a VirtualHost,
    pub(crate) route: &'a Route,
    pub(crate) forward: &'a Forward,
    pub(crate) method: Method,
    pub(crate) path: PathAndQuery,
    pub(crate) authority: HeaderValue,
    pub(crate) headers: HeaderMap,
    /// The request's body; `None` when it has none.
    pub(crate) source: Option<Rc<RequestSource>>,
    pub(crate) extensions: http::Extensions,
    pub(crate) client_version: http::Version,
    pub(crate) remote: std::net::SocketAddr,
    pub(crate) random: u64,
    pub(crate) grpc: bool,
    /// The upgrade the client asks for and may have.
    pub(crate) upgrade: Option<String>,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
    /// Whether it carries `x-envoy-*` headers, which may change timeouts and retries. Looking for each
    /// of them in every request is what a good part of its preparation would go to.
    pub(crate) steered: bool,
    /// Whether the upstream wants header names in the case they were received in.
    pub(crate) keeps_case: bool,
}

/// A response from upstream, with what the record must still see of it.
pub(super) struct Arrived {
    pub(super) response: Response<UpstreamBody>,
    pub(super) in_flight: InFlight,
    pub(super) deadline: Option<(Instant, Deadline)>,
    pub(super) idle: Option<Duration>,
    /// Header changes that the chosen cluster adds to the route's.
    pub(super) chosen: Option<usize>,
    /// A cookie that keeps the client at its host.
    pub(super) cookie: Option<HeaderValue>,
}

/// How an attempt failed.
enum AttemptError {
    /// For good: there is nobody to ask.
    Final(Failure),
    Acquire(AcquireError),
    Send(SendError, bool),
    Limit(Limit),
}

impl Flight<'_> {
    /// Sends the request, as often as its policies say, until there is a response or no hope.
    pub(super) async fn run(&mut self, record: &mut RequestRecord) -> Result<Arrived, Failure> {
        let worker = Rc::clone(&self.connection.downstream.worker);
        let (name, chosen) = self.choose()?;
        record.cluster_name = Some(Arc::clone(&name));
        let Some(cluster) = worker.generation().cluster(&name).cloned() else {
            self.connection.manager.counts.of(worker.index).no_cluster.increment();
            // Nothing is prepared for it; the access log tells of the request as it came.
            record.request_headers = self.captured_request_headers();
            return Err(Failure::NoCluster(self.forward.not_found));
        };
        record.cluster = Some(Arc::clone(&cluster));
        self.keeps_case = cluster.settings().header_case == HeaderCase::Preserved;
        let timeouts = self.timeouts();
        let policy = self.retry_policy();
        let (hash, cookie) = self.hash();
        self.prepare(record, chosen, &timeouts, policy.as_deref());
        crate::mirror::start(self);
        let version = match self.upgrade {
            // Only HTTP/1.1 changes protocols on the way.
            Some(_) => Version::Http1,
            None => Version::choose(cluster.settings().protocol, self.client_version),
        };
        let mut tried: SmallVec<[u64; 4]> = SmallVec::new();
        let (mut retries, mut unsent) = (0, 0);
        let mut retrying: Option<Permit> = None;
        loop {
            record.attempts += 1;
            if self.virtual_host.attempt_count {
                self.headers.insert(headers::ATTEMPT_COUNT, HeaderValue::from(record.attempts));
            }
            let attempts = policy.as_ref().filter(|policy| policy.avoid_previous_hosts);
            let pick = PickContext {
                hash,
                tried: &tried,
                attempts: attempts.map_or(0, |policy| policy.host_attempts),
            };
            let may_retry = policy.as_ref().is_some_and(|policy| retries < policy.attempts);
            let outcome =
                self.attempt(record, &cluster, version, pick, &timeouts, policy.as_deref(), may_retry).await;
            if let Some(host) = &record.host {
                tried.push(host.state.id);
            }
            let error = match outcome {
                Ok((response, in_flight)) => {
                    let wanted = self.wants_retry(policy.as_deref(), &response);
                    drop(retrying.take());
                    if wanted && !may_retry {
                        limit_exceeded(record, cluster.counts(worker.index));
                    } else if wanted && self.has_headers() {
                        retrying = retry_permit(record, &cluster, worker.index);
                    }
                    if retrying.is_none() {
                        if retries > 0 && response.status().as_u16() < 500 {
                            cluster.counts(worker.index).upstream_rq_retry_success.increment();
                        }
                        let deadline = timeouts.deadline(record.started, self.source.as_deref());
                        let idle = timeouts.idle;
                        return Ok(Arrived { response, in_flight, deadline, idle, chosen, cookie });
                    }
                    None
                }
                Err(error) => Some(error),
            };
            if let Some(AttemptError::Final(failure)) = error {
                return Err(failure);
            }
            let replayable = self.source.as_ref().is_none_or(|source| source.can_replay());
            // A connection that died before it took the request is nobody's fault: once more, at once.
            if let Some(AttemptError::Send(sent, true)) = &error
                && sent.unsent
                && replayable
                && unsent < UNSENT_RETRIES
                && self.has_headers()
            {
                unsent += 1;
                record.attempts -= 1;
                continue;
            }
            let failure = |error: AttemptError| self.failure(error);
            let wanted = match (&error, &policy) {
                (None, _) => true,
                (Some(error), Some(policy)) => error.attempt().is_some_and(|attempt| policy.wants(&attempt)),
                (Some(_), None) => false,
            };
            let counts = cluster.counts(worker.index);
            if let Some(error) = error {
                if !(wanted && may_retry && replayable && self.has_headers()) {
                    if wanted && policy.is_some() && !may_retry {
                        limit_exceeded(record, counts);
                    }
                    return Err(failure(error));
                }
                drop(retrying.take());
                retrying = retry_permit(record, &cluster, worker.index);
                if retrying.is_none() {
                    return Err(failure(error));
                }
            }
            retries += 1;
            counts.upstream_rq_retry.increment();
            let pause =
                policy.as_ref().map_or(Duration::ZERO, |policy| policy.back_off(retries, rand::random()));
            let source = self.source.as_deref();
            let slept =
                limited(tokio::time::sleep(pause), |now| timeouts.route_limit(record.started, source, now))
                    .await;
            if let Err(limit) = slept {
                return Err(self.limit_failure(limit));
            }
        }
    }

    /// One attempt at one host.
    #[allow(clippy::too_many_arguments)]
    async fn attempt(
        &mut self,
        record: &mut RequestRecord,
        cluster: &Arc<Cluster>,
        version: Version,
        pick: PickContext<'_>,
        timeouts: &Times,
        policy: Option<&RetryPolicy>,
        may_retry: bool,
    ) -> Result<(Response<UpstreamBody>, InFlight), AttemptError> {
        let connection = Rc::clone(self.connection);
        let worker = &connection.downstream.worker;
        let counts = cluster.counts(worker.index);
        let host = self.pick_host(cluster, pick).ok_or(AttemptError::Final(Failure::NoHealthyHost))?;
        record.host = Some(Arc::clone(&host));
        record.upstream_local = None;
        let Some(permit) = Permit::take(cluster, Resource::Requests) else {
            counts.upstream_rq_pending_overflow.increment();
            return Err(AttemptError::Acquire(AcquireError::Overflow));
        };
        if matches!(self.forward.host, HostRewrite::Auto)
            && let Some(name) = host.hostname.as_deref().and_then(|name| HeaderValue::from_str(name).ok())
        {
            self.authority = name;
            record.authority = Some(self.authority.clone());
        }
        let started = Instant::now();
        let source = self.source.clone();
        let per_try = policy.and_then(|policy| policy.per_try_timeout).filter(|limit| !limit.is_zero());
        let record_started = record.started;
        let next_limit = |now: Instant| {
            let per_try = per_try.map(|limit| (started + limit, Limit::PerTry));
            let others = timeouts.next(record_started, source.as_deref(), now);
            [per_try, others].into_iter().flatten().min_by_key(|(at, _)| *at)
        };
        let exchange = async {
            let lease = self.acquire(cluster, &host, version).await.map_err(AttemptError::Acquire)?;
            record.upstream_local = lease.info.local;
            record.upstream_principals = Some(Rc::clone(&lease.info.principals));
            let keep = lease.is_http2()
                || (may_retry && policy.is_some_and(|policy| policy.retries_after_sending(self.grpc)));
            let request = self.request(&lease, keep);
            let reused = lease.reused || lease.is_http2();
            let in_flight = InFlight::begin(permit, &host, worker.index);
            match lease.send(request).await {
                Ok(response) => Ok((response, in_flight)),
                Err(mut error) => {
                    if let Some(request) = error.request.take() {
                        self.take_back(*request);
                    }
                    Err(AttemptError::Send(error, reused))
                }
            }
        };
        match limited(exchange, next_limit).await {
            Ok(Ok((response, in_flight))) => {
                self.note_response(cluster, &host, &response);
                counts.response(response.status().as_u16());
                Ok((response, in_flight))
            }
            Ok(Err(error)) => {
                if let AttemptError::Send(sent, _) = &error {
                    if !sent.unsent {
                        outlier::report(cluster, &host, Outcome::NoResponse);
                    }
                    if sent.cause != SendFailure::ConnectionTermination {
                        counts.upstream_rq_rx_reset.increment();
                    }
                    record.upstream_failure = Some(sent.reason.clone().into());
                }
                if let AttemptError::Acquire(AcquireError::Connect { reason, .. }) = &error {
                    record.upstream_failure = Some((**reason).into());
                }
                Err(error)
            }
            Err(limit) => {
                match limit {
                    Limit::PerTry => counts.upstream_rq_per_try_timeout.increment(),
                    Limit::Route => counts.upstream_rq_timeout.increment(),
                    Limit::Request => {
                        connection.manager.counts.of(worker.index).downstream_rq_timeout.increment()
                    }
                    Limit::Stream | Limit::Idle => {}
                }
                counts.upstream_rq_tx_reset.increment();
                if matches!(limit, Limit::PerTry | Limit::Route) {
                    outlier::report(cluster, &host, Outcome::TimedOut);
                }
                Err(AttemptError::Limit(limit))
            }
        }
    }

    fn pick_host(&self, cluster: &Arc<Cluster>, pick: PickContext<'_>) -> Option<Arc<Host>> {
        let worker = &self.connection.downstream.worker;
        match &cluster.settings().discovery {
            Discovery::OriginalDestination(_) => {
                let address =
                    cluster.original_destination(&self.connection.downstream, Some(&self.headers))?;
                Some(worker.pools.original(cluster, address))
            }
            _ => cluster.pick(worker.index, pick),
        }
    }

    async fn acquire(
        &self,
        cluster: &Arc<Cluster>,
        host: &Arc<Host>,
        version: Version,
    ) -> Result<Lease, AcquireError> {
        let worker = &self.connection.downstream.worker;
        let settings = cluster.settings();
        let server_name = settings.auto_sni.then(|| self.authority.to_str().ok()).flatten();
        let alpn = self.connection.manager.filters.alpn.as_ref();
        let protocols: SmallVec<[&[u8]; 4]> = match (alpn, version) {
            (Some(alpn), Version::Http2) => alpn.http2.iter().map(Vec::as_slice).collect(),
            (Some(alpn), Version::Http1) => alpn.http1.iter().map(Vec::as_slice).collect(),
            _ => SmallVec::new(),
        };
        let application_protocols =
            alpn.filter(|_| !protocols.is_empty()).map(|alpn| (alpn.identity, protocols.as_slice()));
        let ask = Ask {
            version,
            server_name: server_name.map(super::normalize::without_port),
            application_protocols,
        };
        worker.pools.acquire(worker, cluster, host, ask).await
    }

    /// The request for one connection. Headers are copied when another attempt may need them.
    fn request(&mut self, lease: &Lease, keep: bool) -> Request<RequestBody> {
        let mut headers = if keep { self.headers.clone() } else { std::mem::take(&mut self.headers) };
        let body = match &self.source {
            Some(source) => RequestBody::attempt(source),
            None => RequestBody::empty(),
        };
        if !keep && let Some(source) = self.source.as_ref().filter(|_| self.forward.mirrors.is_empty()) {
            source.keep_nothing();
        }
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        if lease.is_http2() {
            *request.version_mut() = http::Version::HTTP_2;
            *request.uri_mut() = self.absolute_uri();
            headers.remove(header::HOST);
        } else {
            *request.uri_mut() = Uri::from(self.path.clone());
            headers.insert(header::HOST, self.authority.clone());
            headers.remove(header::TE);
            if let Some(upgrade) = self.upgrade.as_deref().and_then(|kind| HeaderValue::from_str(kind).ok()) {
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(header::UPGRADE, upgrade);
            }
            if self.keeps_case {
                // Carries the case in which header names were received.
                *request.extensions_mut() = self.extensions.clone();
            }
        }
        *request.headers_mut() = headers;
        request
    }

    /// Takes back a request that its connection did not send.
    fn take_back(&mut self, request: Request<RequestBody>) {
        if self.headers.is_empty() {
            self.headers = request.into_parts().0.headers;
        }
    }

    fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    fn absolute_uri(&self) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(self.path.clone());
        let authority = Authority::try_from(self.authority.as_bytes()).ok();
        if authority.is_some() {
            parts.scheme = Some(if self.secure { Scheme::HTTPS } else { Scheme::HTTP });
            parts.authority = authority;
        }
        Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(self.path.clone()))
    }

    fn note_response(&self, cluster: &Arc<Cluster>, host: &Arc<Host>, response: &Response<UpstreamBody>) {
        let grpc = self.grpc.then(|| headers::grpc_status(response.headers())).flatten();
        let status = grpc.map_or(response.status().as_u16(), http_status_of);
        outlier::report(cluster, host, Outcome::Status(status));
    }

    fn wants_retry(&self, policy: Option<&RetryPolicy>, response: &Response<UpstreamBody>) -> bool {
        let Some(policy) = policy else { return false };
        let grpc_status = self.grpc.then(|| headers::grpc_status(response.headers())).flatten();
        let attempt =
            Attempt::Response { status: response.status(), headers: response.headers(), grpc_status };
        policy.wants(&attempt) && self.source.as_ref().is_none_or(|source| source.can_replay())
    }

    fn failure(&self, error: AttemptError) -> Failure {
        match error {
            AttemptError::Final(failure) => failure,
            AttemptError::Acquire(AcquireError::Overflow) => Failure::Overflow,
            AttemptError::Acquire(AcquireError::Connect { kind: FailureKind::Timeout, .. }) => {
                Failure::ConnectTimeout
            }
            AttemptError::Acquire(AcquireError::Connect { reason, .. }) => {
                Failure::Connect(reason.to_string())
            }
            AttemptError::Send(sent, _) => Failure::Upstream(sent.cause, sent.reason),
            AttemptError::Limit(limit) => self.limit_failure(limit),
        }
    }

    fn limit_failure(&self, limit: Limit) -> Failure {
        // As Envoy: whoever is waited for is who is told to be late.
        let status = match &self.source {
            Some(source) if source.ended.get().is_none() => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::GATEWAY_TIMEOUT,
        };
        match limit {
            Limit::Route => Failure::Timeout,
            Limit::PerTry => Failure::PerTryTimeout,
            Limit::Stream => Failure::StreamDuration(status),
            Limit::Idle => Failure::StreamIdle(status),
            Limit::Request => Failure::RequestTimeout,
        }
    }
}

/// The outcome was worth another attempt, and there was none left.
fn limit_exceeded(record: &mut RequestRecord, counts: &ClusterCounts) {
    counts.upstream_rq_retry_limit_exceeded.increment();
    record.flags.insert(ResponseFlags::RETRY_LIMIT_EXCEEDED);
}

/// Leave for another attempt, where the cluster has not too many under way.
fn retry_permit(record: &mut RequestRecord, cluster: &Arc<Cluster>, worker: usize) -> Option<Permit> {
    let permit = Permit::take(cluster, Resource::Retries);
    if permit.is_none() {
        cluster.counts(worker).upstream_rq_retry_overflow.increment();
        record.flags.insert(ResponseFlags::UPSTREAM_OVERFLOW);
    }
    permit
}

impl AttemptError {
    /// The error as retry policies see it.
    fn attempt(&self) -> Option<Attempt<'static>> {
        Some(match self {
            Self::Final(_) | Self::Limit(Limit::Route | Limit::Stream | Limit::Idle | Limit::Request) => {
                return None;
            }
            Self::Acquire(AcquireError::Overflow) => Attempt::Overflow,
            Self::Acquire(AcquireError::Connect { .. }) => Attempt::ConnectFailed,
            Self::Limit(Limit::PerTry) => Attempt::TimedOut,
            Self::Send(sent, _) => match sent.cause {
                SendFailure::RefusedStream => Attempt::Refused,
                SendFailure::RequestBody => return None,
                _ => Attempt::Reset { unsent: sent.unsent },
            },
        })
    }
}
