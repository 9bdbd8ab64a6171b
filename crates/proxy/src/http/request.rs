//! One request: admitted, planned, answered, recorded.

use super::body::{Exchange, GrpcFrames, RequestSource, ResponseBody};
use super::connection_manager::{Connection, ServerHeader, StripPort};
use super::error_response::{self, Failure, LocalReply};
use super::filter::fault::Abort;
use super::filter::rbac::{Subject, Verdict};
use super::forward::{Arrived, Flight, weighted};
use super::headers::{self, Client};
use super::matcher::HeaderView;
use super::mutation::rendered;
use super::normalize;
use super::plan::{Ground, Plan, Step, plan};
use super::routes::{Forward, RequestView, Route, RouteTable, VirtualHost};
use super::upgrade;
use crate::telemetry::{RequestRecord, ResponseFlags};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of a request that are kept for retries unless configured.
const REPLAY_LIMIT: usize = 64 * 1024;

/// A request that was found to be in order.
struct Admitted {
    method: Method,
    path: PathAndQuery,
    authority: HeaderValue,
    headers: HeaderMap,
    client: Client,
    grpc: bool,
    secure: bool,
    edge: bool,
    tells_peer: bool,
    upgrade: Option<String>,
    random: u64,
}

/// Answers one request.
pub(super) async fn answer(connection: Rc<Connection>, request: Request<Incoming>) -> Response<ResponseBody> {
    let worker = Rc::clone(&connection.downstream.worker);
    let manager = Arc::clone(&connection.manager);
    let http1 = request.version() != Version::HTTP_2;
    let counts = manager.counts.of(worker.index);
    counts.downstream_rq_total.increment();
    counts.downstream_rq_active.increment();
    if http1 {
        counts.downstream_rq_http1_total.increment()
    } else {
        counts.downstream_rq_http2_total.increment()
    }
    connection.request_began();
    let mut record = RequestRecord::begin(&connection, &request);
    let mut request = request;
    let downstream_upgrade = http1.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let extensions = parts.extensions.clone();
    let version = parts.version;
    let mut admitted = match admit(&connection, parts, &mut record) {
        Ok(admitted) => admitted,
        Err(failure) => return fail(record, &failure, None, false),
    };
    let generation = worker.generation();
    let table = match &manager.routes {
        super::connection_manager::RouteSource::Inline(table) => Some(Arc::clone(table)),
        super::connection_manager::RouteSource::Named(name) => generation.route_table(name).cloned(),
    };
    drop(generation);
    let table = table.unwrap_or_default();
    for name in &table.internal_only_headers {
        if admitted.edge {
            admitted.headers.remove(name);
        }
    }
    let authority = admitted.authority.clone();
    let authority = authority.to_str().unwrap_or_default();
    let host = normalize::host(authority, table.ignore_port);
    let path = admitted.path.clone();
    let view = RequestView {
        header: HeaderView {
            method: admitted.method.as_str(),
            path: path.as_str(),
            authority,
            scheme: if admitted.secure { "https" } else { "http" },
            headers: &admitted.headers,
        },
        host: &host,
        path: path.path(),
        query: path.query().unwrap_or_default(),
        grpc: admitted.grpc,
        connect: admitted.method == Method::CONNECT,
        random: admitted.random,
        client_certificate: connection.downstream.is_mutual_tls(),
    };
    let subject = Subject { remote: admitted.client.address, ..Subject::of(&connection.downstream) };
    let ground = Ground { subject, secure: admitted.secure, internal: admitted.client.internal };
    let decided = plan(&table, &manager.filters, &view, &ground);
    note(&mut record, &decided, counts);
    let Plan { virtual_host, route, response_marks, faults, step, .. } = decided;
    let finish = Finish {
        connection: &connection,
        table: &table,
        virtual_host: virtual_host.map(|host| &**host),
        route: route.map(|route| &**route),
        marks: response_marks,
        tells_peer: admitted.tells_peer,
        request_id: admitted
            .headers
            .get(headers::REQUEST_ID)
            .filter(|_| manager.request_id_in_response)
            .cloned(),
        grpc: admitted.grpc,
    };
    let forward = match step {
        Step::Forward(forward) => forward,
        step => {
            if manager.tracing.is_some() {
                record.request_headers =
                    crate::telemetry::capture(&manager.captured.request, &admitted.headers);
            }
            record.request_headers = crate::telemetry::capture(&manager.captured.request, &admitted.headers);
            return finish.local(record, step);
        }
    };
    if let Some(delay) = faults.delay {
        counts.fault_delays_injected.increment();
        record.flags.insert(ResponseFlags::DELAY_INJECTED);
        tokio::time::sleep(delay).await;
    }
    if let Some(abort) = faults.abort {
        counts.fault_aborts_injected.increment();
        record.request_headers = crate::telemetry::capture(&manager.captured.request, &admitted.headers);
        let (status, code) = match abort {
            Abort::Http(status) => (status, None),
            Abort::Grpc(code) => (StatusCode::OK, Some(code)),
        };
        return finish.failed(record, &Failure::Fault(status), code);
    }
    let (Some(virtual_host), Some(route)) = (virtual_host, route) else {
        return finish.failed(record, &Failure::NoRoute, None);
    };
    let upgrade = match upgrade::allowed(
        &manager.upgrades,
        &forward.upgrades,
        admitted.upgrade.take(),
        &admitted.method,
    ) {
        Ok(upgrade) => upgrade,
        Err(failure) => return finish.failed(record, &failure, None),
    };
    let source = (!body.is_end_stream()).then(|| {
        let limit = route.buffer_limit.unwrap_or(REPLAY_LIMIT);
        let keeps =
            forward.retry.is_some() || !forward.mirrors.is_empty() || view_has_retry(&admitted.headers);
        RequestSource::new(body, keeps.then_some(limit), admitted.grpc, record.started)
    });
    if source.is_none() {
        record.request_read = Some(record.started.elapsed());
    }
    if let Some(tracing) = &manager.tracing {
        let operation = route.operation.clone();
        tracing.begin(
            &mut record,
            &mut admitted.headers,
            operation,
            admitted.random,
            admitted.client.internal,
        );
    }
    let flight = Flight {
        connection: &connection,
        table: &table,
        virtual_host,
        route,
        forward,
        method: admitted.method,
        path: admitted.path,
        authority: admitted.authority,
        headers: admitted.headers,
        source: source.clone(),
        extensions,
        client_version: version,
        remote: admitted.client.address,
        random: admitted.random,
        grpc: admitted.grpc,
        upgrade: upgrade.clone(),
        secure: admitted.secure,
    };
    let mut record = Pending::new(record, source);
    match flight.run(record.get()).await {
        Err(failure) => {
            let (record, source) = record.take();
            finish.failed_with(record, source, &failure, None)
        }
        Ok(arrived) => {
            let (record, source) = record.take();
            match (upgrade, downstream_upgrade) {
                (Some(_), Some(client)) if arrived.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    finish.switched(record, source, arrived, forward, client)
                }
                (upgrade, _) => finish.arrived(record, source, arrived, forward, upgrade.is_some()),
            }
        }
    }
}

/// A record that is closed even when the client goes away while its request is under way.
struct Pending(Option<(RequestRecord, Option<Rc<RequestSource>>)>);

impl Pending {
    fn new(record: RequestRecord, source: Option<Rc<RequestSource>>) -> Self {
        Self(Some((record, source)))
    }

    fn get(&mut self) -> &mut RequestRecord {
        match &mut self.0 {
            Some((record, _)) => record,
            // Taken only by `take`, which consumes this.
            None => unreachable!("a record is taken once, at its end"),
        }
    }

    fn take(mut self) -> (RequestRecord, Option<Rc<RequestSource>>) {
        match self.0.take() {
            Some(both) => both,
            None => unreachable!("a record is taken once, at its end"),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some((record, source)) = self.0.take() {
            drop(exchange(record, source, None, false));
        }
    }
}

fn view_has_retry(headers: &HeaderMap) -> bool {
    headers.contains_key(headers::RETRY_ON) || headers.contains_key(headers::RETRY_GRPC_ON)
}

/// Notes what was decided.
fn note(record: &mut RequestRecord, plan: &Plan<'_>, counts: &crate::telemetry::counters::ManagerCounts) {
    if let (Some(route), Some(host)) = (plan.route, plan.virtual_host) {
        record.route = Some((Arc::clone(route), Arc::clone(&host.name)));
    }
    for verdict in &plan.shadow {
        match verdict {
            Verdict::Allowed(_) => counts.rbac_shadow_allowed.increment(),
            Verdict::Denied(_) => counts.rbac_shadow_denied.increment(),
        }
    }
    match &plan.step {
        Step::NoRoute => counts.no_route.increment(),
        Step::Denied(_) => counts.rbac_denied.increment(),
        Step::Redirect(..) | Step::Secure(_) => counts.rq_redirect.increment(),
        Step::Respond(_) => counts.rq_direct_response.increment(),
        Step::Preflight(_) | Step::Forward(_) => {}
    }
}

/// Checks a request and brings it into the one form that everything after looks at.
fn admit(
    connection: &Connection,
    parts: http::request::Parts,
    record: &mut RequestRecord,
) -> Result<Admitted, Failure> {
    let manager = &connection.manager;
    let http::request::Parts { method, uri, version, mut headers, .. } = parts;
    let survey = headers::survey(&headers);
    record.request_header_bytes = survey.bytes as u64;
    if headers.len() > manager.max_headers || survey.bytes > manager.max_header_bytes {
        manager.counts.of(connection.downstream.worker.index).downstream_rq_too_large.increment();
        return Err(Failure::HeadersTooLarge);
    }
    if version < Version::HTTP_11 && !manager.http1.accept_http_10 {
        return Err(Failure::VersionNotServed);
    }
    if survey.underscore {
        match manager.underscores {
            None => {}
            Some(true) => return Err(Failure::BadRequest("http1.unexpected_underscore")),
            Some(false) => drop_underscored(&mut headers),
        }
    }
    let authority = authority(connection, &uri, version, &mut headers)?;
    let upgrade = if version == Version::HTTP_11 { headers::upgrade_type(&headers) } else { None };
    if survey.hop_by_hop {
        headers::strip_hop_by_hop(&mut headers);
    }
    let path = path(manager, &method, &uri)?;
    let secure = connection.downstream.tls.is_some();
    let client = headers::forwarded_for(manager, connection.downstream.peer, secure, &mut headers);
    record.remote = client.address;
    let edge = manager.use_remote_address && !client.internal;
    let mut tells_peer = false;
    if survey.envoy {
        if let Some(value) = headers.get(headers::PEER_METADATA) {
            tells_peer = headers.contains_key(headers::PEER_METADATA_ID);
            if manager.filters.metadata_exchange.is_some_and(|exchange| exchange.discover_downstream) {
                record.peer = connection.peer_of_header(value);
            }
        }
        if edge {
            headers::strip_at_edge(&mut headers);
        }
    }
    headers::client_cert(manager, connection.downstream.tls.as_ref(), &mut headers);
    headers::request_id(manager, edge, &mut headers);
    let grpc = headers::is_grpc(&headers);
    record.grpc = grpc;
    record.authority = Some(authority.clone());
    record.target = http::Uri::from(path.clone());
    Ok(Admitted {
        method,
        path,
        authority,
        headers,
        client,
        grpc,
        secure,
        edge,
        tells_peer,
        upgrade,
        random: rand::random(),
    })
}

fn drop_underscored(headers: &mut HeaderMap) {
    let names: Vec<_> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The host a request is for. The target's own authority beats `host` (RFC 9112 §3.2.2).
fn authority(
    connection: &Connection,
    uri: &http::Uri,
    version: Version,
    headers: &mut HeaderMap,
) -> Result<HeaderValue, Failure> {
    let manager = &connection.manager;
    let mut hosts = headers.get_all(header::HOST).iter();
    let (first, more) = (hosts.next().cloned(), hosts.next().is_some());
    if more {
        return Err(Failure::BadRequest("http1.invalid_host"));
    }
    headers.remove(header::HOST);
    let given = match uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => first,
    };
    let given = match given {
        Some(given) => given,
        None if version < Version::HTTP_11 => match &manager.http1.default_host {
            Some(host) => host.clone(),
            None => return Err(Failure::BadRequest("missing_host_header")),
        },
        None => return Err(Failure::BadRequest("missing_host_header")),
    };
    let text = given.to_str().map_err(|_| Failure::BadRequest("http1.invalid_host"))?;
    if !normalize::is_host(text) {
        return Err(Failure::BadRequest("http1.invalid_host"));
    }
    let mut changed: Cow<'_, str> = Cow::Borrowed(text);
    if manager.strip_host_dot {
        let host = normalize::without_port(text);
        if let Some(bare) = host.strip_suffix('.') {
            changed = Cow::Owned(format!("{bare}{}", text.get(host.len()..).unwrap_or_default()));
        }
    }
    let strips = match manager.strip_port {
        None => false,
        Some(StripPort::Any) => true,
        Some(StripPort::Matching) => normalize::port(&changed) == Some(connection.downstream.local.port()),
    };
    if strips {
        changed = Cow::Owned(normalize::without_port(&changed).to_owned());
    }
    match changed {
        Cow::Borrowed(_) => Ok(given.clone()),
        Cow::Owned(changed) => {
            HeaderValue::from_str(&changed).map_err(|_| Failure::BadRequest("http1.invalid_host"))
        }
    }
}

/// The path in the form that routing, policy and upstream see.
fn path(
    manager: &super::connection_manager::HttpConnectionManager,
    method: &Method,
    uri: &http::Uri,
) -> Result<PathAndQuery, Failure> {
    let Some(given) = uri.path_and_query() else {
        return match *method {
            Method::CONNECT => Ok(PathAndQuery::from_static("/")),
            _ => Err(Failure::BadRequest("missing_path_rejected")),
        };
    };
    if !given.path().starts_with('/') && given.path() != "*" {
        return Err(Failure::BadRequest("path_normalization_failed"));
    }
    let normal = normalize::path(given.path(), manager.path_rules)
        .map_err(|_| Failure::BadRequest("path_normalization_failed"))?;
    let target = match (normal.text, given.query()) {
        (Cow::Borrowed(_), _) => given.clone(),
        (Cow::Owned(path), query) => {
            let text = match query {
                Some(query) => format!("{path}?{query}"),
                None => path,
            };
            PathAndQuery::try_from(text).map_err(|_| Failure::BadRequest("path_normalization_failed"))?
        }
    };
    if normal.redirect {
        return Err(Failure::Normalized(target.to_string()));
    }
    Ok(target)
}

/// What a response still needs when it is on its way out.
struct Finish<'a> {
    connection: &'a Rc<Connection>,
    table: &'a RouteTable,
    virtual_host: Option<&'a VirtualHost>,
    route: Option<&'a Route>,
    marks: Option<HeaderMap>,
    tells_peer: bool,
    request_id: Option<HeaderValue>,
    grpc: bool,
}

impl Finish<'_> {
    /// An answer that no upstream is asked for.
    fn local(&self, mut record: RequestRecord, step: Step<'_>) -> Response<ResponseBody> {
        let empty = Bytes::new;
        let (status, mut headers, body, details) = match step {
            Step::NoRoute => return self.failed(record, &Failure::NoRoute, None),
            Step::Denied(verdict) => return self.failed(record, &Failure::Denied(verdict.details()), None),
            Step::Forward(_) => return self.failed(record, &Failure::NoRoute, None),
            Step::Secure(location) => {
                (StatusCode::MOVED_PERMANENTLY, location_header(&location), empty(), "direct_response")
            }
            Step::Redirect(status, location) => {
                (status, location_header(&location), empty(), "direct_response")
            }
            Step::Preflight(headers) => (StatusCode::OK, headers, empty(), "cors_response"),
            Step::Respond(response) => {
                let (status, headers, body) =
                    error_response::message(response.status, response.body.clone(), self.grpc, None);
                (status, headers, body, "direct_response")
            }
        };
        record.details = details.into();
        if body.is_empty() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        self.send(record, None, status, headers, body, false)
    }

    fn failed(
        &self,
        record: RequestRecord,
        failure: &Failure,
        grpc_code: Option<u32>,
    ) -> Response<ResponseBody> {
        self.failed_with(record, None, failure, grpc_code)
    }

    /// A failure as a response.
    fn failed_with(
        &self,
        mut record: RequestRecord,
        source: Option<Rc<RequestSource>>,
        failure: &Failure,
        grpc_code: Option<u32>,
    ) -> Response<ResponseBody> {
        let reply = failure.reply();
        record.flags.insert(reply.flags);
        record.details = reply.details.clone();
        let (status, mut headers, body) =
            error_response::message(reply.status, reply.body, self.grpc, grpc_code);
        if reply.overloaded && !self.connection.manager.filters.router.suppress_envoy_headers {
            headers.insert(headers::OVERLOADED, HeaderValue::from_static("true"));
        }
        self.send(record, source, status, headers, body, reply.close)
    }

    fn send(
        &self,
        mut record: RequestRecord,
        source: Option<Rc<RequestSource>>,
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        close: bool,
    ) -> Response<ResponseBody> {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        self.dress(&mut record, &mut response, None);
        // A request whose body was not read leaves bytes on an HTTP/1 connection.
        let unread = source.as_ref().is_some_and(|source| source.ended.get().is_none());
        if (close || unread) && record.version != Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let exchange = exchange(record, source, None, self.grpc);
        response.map(|()| ResponseBody::text(body, exchange))
    }

    /// An upstream's response.
    fn arrived(
        &self,
        mut record: RequestRecord,
        source: Option<Rc<RequestSource>>,
        arrived: Arrived,
        forward: &Forward,
        refused_upgrade: bool,
    ) -> Response<ResponseBody> {
        let (parts, body) = arrived.response.into_parts();
        let mut response = Response::from_parts(parts, ());
        self.from_upstream(&mut record, &mut response);
        if let Some(cookie) = arrived.cookie {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        self.dress(
            &mut record,
            &mut response,
            weighted(forward, arrived.chosen).map(|cluster| &cluster.response_headers),
        );
        let http1 = record.version != Version::HTTP_2;
        if http1 && (refused_upgrade || self.connection.is_closing()) {
            // Bytes sent after an upgrade that was refused are not a request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        *response.version_mut() = Version::HTTP_11;
        let mut exchange = exchange(record, source, None, self.grpc);
        exchange.in_flight = Some(arrived.in_flight);
        exchange.permit = Some(arrived.permit);
        exchange.deadline = arrived.deadline;
        exchange.idle = arrived.idle;
        response.map(|()| ResponseBody::upstream(body, exchange))
    }

    /// A connection that changes its protocol: from now on bytes are copied.
    fn switched(
        &self,
        mut record: RequestRecord,
        source: Option<Rc<RequestSource>>,
        mut arrived: Arrived,
        forward: &Forward,
        client: hyper::upgrade::OnUpgrade,
    ) -> Response<ResponseBody> {
        let upstream = hyper::upgrade::on(&mut arrived.response);
        let kind = arrived.response.headers().get(header::UPGRADE).cloned();
        let (parts, _) = arrived.response.into_parts();
        let mut response = Response::from_parts(parts, ());
        self.from_upstream(&mut record, &mut response);
        self.dress(
            &mut record,
            &mut response,
            weighted(forward, arrived.chosen).map(|cluster| &cluster.response_headers),
        );
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(kind) = kind {
            response.headers_mut().insert(header::UPGRADE, kind);
        }
        let counts = self.connection.manager.counts.of(self.connection.downstream.worker.index);
        counts.downstream_cx_upgrades_total.increment();
        let mut exchange = exchange(record, source, None, false);
        exchange.in_flight = Some(arrived.in_flight);
        exchange.permit = Some(arrived.permit);
        upgrade::start(client, upstream, exchange, arrived.idle);
        response.map(|()| ResponseBody::empty())
    }

    /// Takes what the upstream says to us out of its response.
    fn from_upstream(&self, record: &mut RequestRecord, response: &mut Response<()>) {
        let headers = response.headers_mut();
        let survey = headers::survey(headers);
        if survey.hop_by_hop {
            headers::strip_hop_by_hop(headers);
            headers.remove(header::TE);
        }
        if let Some(exchange) = self.connection.manager.filters.metadata_exchange
            && survey.envoy
            && exchange.discover_upstream
        {
            if let Some(value) = headers.remove(headers::PEER_METADATA) {
                record.peer = self.connection.downstream.worker.recorder.peer_of_header(&value);
            }
            headers.remove(headers::PEER_METADATA_ID);
        }
        headers.remove(headers::DECORATOR_OPERATION);
        if record.grpc {
            record.grpc_status = headers::grpc_status(headers);
        }
        record.details = "via_upstream".into();
        if !self.connection.manager.filters.router.suppress_envoy_headers {
            let milliseconds = u64::try_from(record.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            headers.insert(headers::SERVICE_TIME, HeaderValue::from(milliseconds));
        }
        if self.virtual_host.is_some_and(|host| host.attempt_count_in_response) {
            headers.insert(headers::ATTEMPT_COUNT, HeaderValue::from(record.attempts));
        }
    }

    /// Adds what every response of this connection manager has.
    fn dress(
        &self,
        record: &mut RequestRecord,
        response: &mut Response<()>,
        chosen: Option<&super::mutation::HeaderMutations>,
    ) {
        let manager = &self.connection.manager;
        record.status = Some(response.status());
        let headers = response.headers_mut();
        let mut order: smallvec::SmallVec<[_; 4]> = smallvec::SmallVec::new();
        order.extend(chosen);
        order.extend(self.route.map(|route| &route.response_headers));
        order.extend(self.virtual_host.map(|host| &host.response_headers));
        order.push(&self.table.response_headers);
        if self.table.most_specific_wins {
            order.reverse();
        }
        for mutations in order.into_iter().filter(|mutations| !mutations.is_empty()) {
            mutations.apply(headers, |_, format| rendered(&record.entry_now(), format));
        }
        if let Some(marks) = &self.marks {
            for (name, value) in marks {
                headers.insert(name, value.clone());
            }
        }
        match manager.server_header {
            ServerHeader::PassThrough => {}
            ServerHeader::AppendIfAbsent if headers.contains_key(header::SERVER) => {}
            ServerHeader::Overwrite | ServerHeader::AppendIfAbsent => {
                headers.insert(header::SERVER, manager.server_name.clone());
            }
        }
        if let Some(id) = &self.request_id {
            headers.insert(headers::REQUEST_ID, id.clone());
        }
        if self.tells_peer
            && manager.filters.metadata_exchange.is_some_and(|exchange| exchange.tell_downstream)
        {
            headers::add_peer_metadata(self.connection, headers);
        }
        record.response_header_bytes = headers::survey(headers).bytes as u64;
        record.response_headers = crate::telemetry::capture(&manager.captured.response, headers);
        record.response_began = Some(record.started.elapsed());
        record.last_moved = Instant::now();
    }
}

fn location_header(location: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(location) {
        headers.insert(header::LOCATION, value);
    }
    headers
}

/// A failure before a plan was made.
fn fail(
    mut record: RequestRecord,
    failure: &Failure,
    source: Option<Rc<RequestSource>>,
    grpc: bool,
) -> Response<ResponseBody> {
    let connection = Rc::clone(&record.connection);
    if let Failure::Normalized(location) = failure {
        record.details = "path_normalization_redirect".into();
        let table = RouteTable::default();
        let finish = Finish {
            connection: &connection,
            table: &table,
            virtual_host: None,
            route: None,
            marks: None,
            tells_peer: false,
            request_id: None,
            grpc,
        };
        return finish.send(
            record,
            source,
            StatusCode::TEMPORARY_REDIRECT,
            location_header(location),
            Bytes::new(),
            false,
        );
    }
    let LocalReply { status, body, flags, details, close, .. } = failure.reply();
    record.flags.insert(flags);
    record.details = details;
    record.status = Some(status);
    let (status, headers, body) = error_response::message(status, body, grpc, None);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().insert(header::SERVER, connection.manager.server_name.clone());
    if close && record.version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let exchange = exchange(record, source, None, grpc);
    response.map(|()| ResponseBody::text(body, exchange))
}

fn exchange(
    record: RequestRecord,
    source: Option<Rc<RequestSource>>,
    idle: Option<std::time::Duration>,
    grpc: bool,
) -> Box<Exchange> {
    Box::new(Exchange {
        record,
        source,
        in_flight: None,
        permit: None,
        deadline: None,
        idle,
        grpc: grpc.then(GrpcFrames::default),
        complete: false,
    })
}
