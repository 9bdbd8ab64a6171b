//! Sending a request to its cluster: host, connection, attempts, and the response's way back.

use super::body::{Deadline, RequestBody, RequestSource};
use super::connection_manager::Connection;
use super::error_response::{Failure, http_status_of};
use super::headers;
use super::mutation::rendered;
use super::routes::{
    ClusterChoice, Forward, GrpcTimeout, HashSource, HostRewrite, Route, RouteTable, VirtualHost,
    WeightedCluster, rewritten,
};
use crate::retry::{Attempt, RetryPolicy};
use crate::telemetry::{RequestRecord, ResponseFlags};
use crate::timeout::limited;
use crate::upstream::balance::{PickContext, stable_hash};
use crate::upstream::breaker::{Permit, Resource};
use crate::upstream::outlier::{self, Outcome};
use crate::upstream::{
    AcquireError, Ask, Cluster, Discovery, FailureKind, Host, InFlight, Lease, ResponseBody as UpstreamBody,
    SendError, Version,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use smallvec::SmallVec;
use std::borrow::Cow;
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
}

/// A response from upstream, with what the record must still see of it.
pub(super) struct Arrived {
    pub(super) response: Response<UpstreamBody>,
    pub(super) in_flight: InFlight,
    pub(super) permit: Permit,
    pub(super) deadline: Option<(Instant, Deadline)>,
    pub(super) idle: Option<Duration>,
    /// Header changes that the chosen cluster adds to the route's.
    pub(super) chosen: Option<usize>,
    /// A cookie that keeps the client at its host.
    pub(super) cookie: Option<HeaderValue>,
}

/// Which limit a wait ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Route,
    PerTry,
    Stream,
    Idle,
}

/// How an attempt failed.
enum AttemptError {
    /// For good: there is nobody to ask.
    Final(Failure),
    Acquire(AcquireError),
    Send(SendError, bool),
    Limit(Limit),
}

impl<'a> Flight<'a> {
    /// Sends the request, as often as its policies say, until there is a response or no hope.
    pub(super) async fn run(mut self, record: &mut RequestRecord) -> Result<Arrived, Failure> {
        let worker = Rc::clone(&self.connection.downstream.worker);
        let (name, chosen) = self.choose()?;
        record.cluster_name = Some(Arc::clone(&name));
        let Some(cluster) = worker.generation().cluster(&name).cloned() else {
            self.connection.manager.counts.of(worker.index).no_cluster.increment();
            return Err(Failure::NoCluster(self.forward.not_found));
        };
        record.cluster = Some(Arc::clone(&cluster));
        let timeouts = self.timeouts();
        let policy = self.retry_policy();
        let (hash, cookie) = self.hash();
        self.prepare(record, chosen, &timeouts, policy.as_deref());
        crate::mirror::start(&self);
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
                Ok((response, in_flight, permit)) => {
                    let again = may_retry && self.wants_retry(policy.as_deref(), &response);
                    if !again {
                        drop(retrying.take());
                        if retries > 0 && response.status().as_u16() < 500 {
                            cluster.counts(worker.index).upstream_rq_retry_success.increment();
                        }
                        let deadline = timeouts.deadline(record.started, self.source.as_deref());
                        let idle = timeouts.idle;
                        return Ok(Arrived { response, in_flight, permit, deadline, idle, chosen, cookie });
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
                        counts.upstream_rq_retry_limit_exceeded.increment();
                        record.flags.insert(ResponseFlags::RETRY_LIMIT_EXCEEDED);
                    }
                    return Err(failure(error));
                }
                match Permit::take(&cluster, Resource::Retries) {
                    Some(permit) => retrying = Some(permit),
                    None => {
                        counts.upstream_rq_retry_overflow.increment();
                        return Err(failure(error));
                    }
                }
            } else if retrying.is_none() {
                retrying = Permit::take(&cluster, Resource::Retries);
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

    /// The cluster, and which of several weighted ones it is.
    fn choose(&self) -> Result<(Arc<str>, Option<usize>), Failure> {
        match &self.forward.cluster {
            ClusterChoice::Named(name) => Ok((Arc::clone(name), None)),
            ClusterChoice::Header(name) => {
                let named = self.headers.get(name).and_then(|value| value.to_str().ok());
                named.map(|name| (name.into(), None)).ok_or(Failure::NoCluster(self.forward.not_found))
            }
            ClusterChoice::Weighted(weighted) => {
                let given =
                    weighted.header.as_ref().and_then(|name| headers::number::<u64>(&self.headers, name));
                let point = given.map_or_else(
                    || weighted.sequence.next(weighted.total),
                    |number| number % weighted.total.max(1),
                );
                let index = weighted.clusters.partition_point(|cluster| cluster.up_to <= point);
                let cluster =
                    weighted.clusters.get(index).ok_or(Failure::NoCluster(self.forward.not_found))?;
                Ok((Arc::clone(&cluster.name), Some(index)))
            }
        }
    }

    fn weighted(&self, chosen: Option<usize>) -> Option<&WeightedCluster> {
        weighted(self.forward, chosen)
    }

    /// Changes headers, path and host as the route says.
    fn prepare(
        &mut self,
        record: &mut RequestRecord,
        chosen: Option<usize>,
        timeouts: &Times,
        policy: Option<&RetryPolicy>,
    ) {
        let router = self.connection.manager.filters.router;
        self.rewrite_path(router.suppress_envoy_headers);
        self.rewrite_host(chosen);
        self.change_headers(record, chosen);
        for name in [
            headers::TIMEOUT,
            headers::PER_TRY_TIMEOUT,
            headers::RETRY_ON,
            headers::RETRY_GRPC_ON,
            headers::MAX_RETRIES,
        ] {
            self.headers.remove(name);
        }
        if !router.suppress_envoy_headers {
            let per_try = policy.and_then(|policy| policy.per_try_timeout);
            let expected = match (timeouts.route, per_try) {
                (Some(route), Some(per_try)) => Some(route.min(per_try)),
                (one, other) => one.or(other),
            };
            if let Some(expected) = expected {
                let milliseconds = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
                self.headers.insert(headers::EXPECTED_TIMEOUT, HeaderValue::from(milliseconds));
            }
        }
        if let Some(via) = &self.connection.manager.via {
            self.headers.append(header::VIA, via.clone());
        }
        self.exchange_metadata(record);
        record.method = self.method.clone();
        record.target = Uri::from(self.path.clone());
        record.authority = Some(self.authority.clone());
        record.request_headers = self.captured_request_headers();
    }

    fn captured_request_headers(&self) -> crate::telemetry::CapturedValues {
        crate::telemetry::capture(&self.connection.manager.captured.request, &self.headers)
    }

    fn rewrite_path(&mut self, suppress_envoy_headers: bool) {
        let matcher = &self.route.matcher.path;
        let Some(path) = rewritten(&self.forward.path, matcher, self.path.path()) else { return };
        let text = match self.path.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let Ok(rewritten) = PathAndQuery::try_from(text) else { return };
        if !suppress_envoy_headers && let Ok(original) = HeaderValue::from_str(self.path.as_str()) {
            self.headers.insert(headers::ORIGINAL_PATH, original);
        }
        self.path = rewritten;
    }

    fn rewrite_host(&mut self, chosen: Option<usize>) {
        let own = self.weighted(chosen).and_then(|cluster| cluster.host.clone());
        let new = own.or_else(|| match &self.forward.host {
            HostRewrite::Keep | HostRewrite::Auto => None,
            HostRewrite::Literal(host) => Some(host.clone()),
            HostRewrite::Header(name) => self.headers.get(name).cloned(),
            HostRewrite::Path(substitution) => {
                HeaderValue::from_str(&substitution.apply(self.path.path())).ok()
            }
        });
        if let Some(new) = new {
            self.set_authority(new);
        }
    }

    fn set_authority(&mut self, new: HeaderValue) {
        let old = std::mem::replace(&mut self.authority, new);
        if self.forward.append_forwarded_host {
            self.headers.append(headers::FORWARDED_HOST, old);
        }
    }

    fn change_headers(&mut self, record: &RequestRecord, chosen: Option<usize>) {
        let own = weighted(self.forward, chosen).map(|cluster| &cluster.request_headers);
        let mut order: SmallVec<[_; 4]> = SmallVec::new();
        order.extend(own);
        order.extend([
            &self.route.request_headers,
            &self.virtual_host.request_headers,
            &self.table.request_headers,
        ]);
        if self.table.most_specific_wins {
            order.reverse();
        }
        let mut authority = None;
        for mutations in order.into_iter().filter(|mutations| !mutations.is_empty()) {
            let changed = mutations
                .apply(&mut self.headers, |headers, format| rendered(&record.entry_with(headers), format));
            authority = changed.or(authority);
        }
        if let Some(new) = authority {
            self.set_authority(new);
        }
    }

    /// `istio.metadata_exchange` towards the upstream.
    fn exchange_metadata(&mut self, record: &RequestRecord) {
        let Some(exchange) = self.connection.manager.filters.metadata_exchange else { return };
        if exchange.discover_downstream || exchange.tell_upstream {
            self.headers.remove(headers::PEER_METADATA);
            self.headers.remove(headers::PEER_METADATA_ID);
        }
        let external = record.cluster.as_ref().is_some_and(|cluster| cluster.is_external());
        if exchange.tell_upstream && !(exchange.skip_external && external) {
            headers::add_peer_metadata(self.connection, &mut self.headers);
        }
    }

    /// The hash for consistent load balancing, and a cookie where one has to be made for it.
    fn hash(&self) -> (Option<u64>, Option<HeaderValue>) {
        let mut hash: Option<u64> = None;
        let mut cookie = None;
        for policy in &self.forward.hash {
            let part = match &policy.source {
                HashSource::Header(name, substitution) => {
                    self.headers.get(name).map(|value| match substitution {
                        Some(substitution) => stable_hash(
                            substitution.apply(&String::from_utf8_lossy(value.as_bytes())).as_bytes(),
                        ),
                        None => stable_hash(&super::matcher::joined(&self.headers, name)),
                    })
                }
                HashSource::SourceIp => {
                    Some(stable_hash(self.remote.ip().to_canonical().to_string().as_bytes()))
                }
                HashSource::QueryParameter(name) => {
                    super::matcher::parameter(self.path.query().unwrap_or_default(), name)
                        .map(|value| stable_hash(value.as_bytes()))
                }
                HashSource::Cookie { name, ttl, path } => {
                    let found = cookie_value(&self.headers, name).map(|value| stable_hash(value.as_bytes()));
                    found.or_else(|| {
                        let made = format!("{:016x}", self.random);
                        cookie = ttl.and_then(|ttl| set_cookie(name, &made, ttl, path));
                        cookie.as_ref().map(|_| stable_hash(made.as_bytes()))
                    })
                }
            };
            if let Some(part) = part {
                hash = Some(hash.map_or(part, |hash| hash.rotate_left(1) ^ part));
                if policy.terminal {
                    break;
                }
            }
        }
        (hash, cookie)
    }

    /// The route's limits as the request's own headers change them.
    fn timeouts(&self) -> Times {
        let manager = &self.connection.manager;
        let mut route = self.forward.timeout;
        let stream =
            self.forward.max_stream_duration.or(manager.timeouts.max_stream).filter(|limit| !limit.is_zero());
        let mut times = Times { route: None, stream, idle: None };
        if self.grpc {
            match self.forward.grpc_timeout {
                GrpcTimeout::Ignored => {}
                GrpcTimeout::Timeout(longest, offset) => {
                    route = bounded(headers::grpc_timeout(&self.headers), longest, offset)
                }
                GrpcTimeout::StreamDuration(longest, offset) => {
                    times.stream =
                        bounded(headers::grpc_timeout(&self.headers), longest, offset).or(times.stream);
                }
            }
        }
        if manager.filters.router.respect_expected_timeout {
            route = headers::number(&self.headers, &headers::EXPECTED_TIMEOUT)
                .map(Duration::from_millis)
                .or(route);
        }
        if let Some(milliseconds) = headers::number(&self.headers, &headers::TIMEOUT) {
            route = Some(Duration::from_millis(milliseconds));
        }
        // An upgraded stream has no end to wait for.
        times.route = route.filter(|limit| !limit.is_zero() && self.upgrade.is_none());
        times.idle =
            self.forward.idle_timeout.or(manager.timeouts.stream_idle).filter(|limit| !limit.is_zero());
        times
    }

    /// The route's retry policy as the request's own headers change it.
    fn retry_policy(&self) -> Option<Cow<'a, RetryPolicy>> {
        let forward: &'a Forward = self.forward;
        let configured = forward.retry.as_deref();
        let mut policy = configured.map(Cow::Borrowed);
        let own_words = [headers::RETRY_ON, headers::RETRY_GRPC_ON];
        if own_words.iter().any(|name| self.headers.contains_key(name)) {
            let changed = policy
                .get_or_insert_with(|| Cow::Owned(RetryPolicy { attempts: 1, ..RetryPolicy::default() }))
                .to_mut();
            for words in own_words.iter().filter_map(|name| self.headers.get(name)?.to_str().ok()) {
                // Words nobody knows are ignored here, as in Envoy: they come from a client.
                if let Ok((on, codes)) = crate::retry::RetryOn::parse(words) {
                    changed.on.insert(on);
                    changed.status_codes.extend(codes);
                }
            }
        }
        if let Some(policy) = &mut policy {
            if let Some(attempts) = headers::number(&self.headers, &headers::MAX_RETRIES) {
                policy.to_mut().attempts = attempts;
            }
            if let Some(milliseconds) = headers::number(&self.headers, &headers::PER_TRY_TIMEOUT) {
                policy.to_mut().per_try_timeout = Some(Duration::from_millis(milliseconds));
            }
        }
        let view = super::matcher::HeaderView {
            method: self.method.as_str(),
            path: self.path.as_str(),
            authority: self.authority.to_str().unwrap_or_default(),
            scheme: "",
            headers: &self.headers,
        };
        policy.filter(|policy| policy.attempts > 0 && policy.applies_to(&view))
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
    ) -> Result<(Response<UpstreamBody>, InFlight, Permit), AttemptError> {
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
            counts.upstream_rq_total.increment();
            let in_flight = InFlight::begin(&host);
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
                Ok((response, in_flight, permit))
            }
            Ok(Err(error)) => {
                if let AttemptError::Send(sent, _) = &error {
                    if !sent.unsent {
                        outlier::report(cluster, &host, Outcome::NoResponse);
                    }
                    if sent.cause != crate::upstream::SendFailure::ConnectionTermination {
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
            // Carries the case in which header names were received.
            *request.extensions_mut() = self.extensions.clone();
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
        policy.wants(&attempt)
            && self.has_headers()
            && self.source.as_ref().is_none_or(|source| source.can_replay())
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
        match limit {
            Limit::Route => Failure::Timeout,
            Limit::PerTry => Failure::PerTryTimeout,
            Limit::Stream => Failure::StreamDuration,
            Limit::Idle => Failure::StreamIdle,
        }
    }
}

impl AttemptError {
    /// The error as retry policies see it.
    fn attempt(&self) -> Option<Attempt<'static>> {
        use crate::upstream::SendFailure;
        Some(match self {
            Self::Final(_) | Self::Limit(Limit::Route | Limit::Stream | Limit::Idle) => return None,
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

/// The limits of one request; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    route: Option<Duration>,
    stream: Option<Duration>,
    idle: Option<Duration>,
}

impl Times {
    /// The route's timeout runs from when the request was received whole.
    fn route_limit(
        &self,
        started: Instant,
        source: Option<&RequestSource>,
        now: Instant,
    ) -> Option<(Instant, Limit)> {
        let from = match source {
            Some(source) => source.ended.get().unwrap_or(now),
            None => started,
        };
        self.route.map(|limit| (from + limit, Limit::Route))
    }

    fn next(
        &self,
        started: Instant,
        source: Option<&RequestSource>,
        now: Instant,
    ) -> Option<(Instant, Limit)> {
        let moved = source.map_or(started, |source| source.moved.get());
        let idle = self.idle.map(|limit| (moved.max(started) + limit, Limit::Idle));
        let stream = self.stream.map(|limit| (started + limit, Limit::Stream));
        [self.route_limit(started, source, now), idle, stream].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// When the response must have ended.
    fn deadline(&self, started: Instant, source: Option<&RequestSource>) -> Option<(Instant, Deadline)> {
        let now = Instant::now();
        let route = self.route_limit(started, source, now).map(|(at, _)| (at, Deadline::Route));
        let stream = self.stream.map(|limit| (started + limit, Deadline::Stream));
        [route, stream].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

pub(super) fn weighted(forward: &Forward, chosen: Option<usize>) -> Option<&WeightedCluster> {
    match &forward.cluster {
        ClusterChoice::Weighted(weighted) => weighted.clusters.get(chosen?),
        _ => None,
    }
}

fn bounded(told: Option<Duration>, longest: Option<Duration>, offset: Duration) -> Option<Duration> {
    // A longest of zero is no bound.
    let longest = longest.filter(|longest| !longest.is_zero());
    let told = match (told, longest) {
        (Some(told), Some(longest)) => Some(told.min(longest)),
        (told, longest) => told.or(longest),
    };
    told.map(|told| if told > offset { told - offset } else { told })
}

fn cookie_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.trim_matches('"'))
        })
}

fn set_cookie(name: &str, value: &str, ttl: Duration, path: &str) -> Option<HeaderValue> {
    let mut text = format!("{name}=\"{value}\"");
    if !ttl.is_zero() {
        text.push_str(&format!("; Max-Age={}", ttl.as_secs()));
    }
    if !path.is_empty() {
        text.push_str(&format!("; Path={path}"));
    }
    text.push_str("; HttpOnly");
    HeaderValue::from_str(&text).ok()
}
