//! A response on its way out: an answer of our own, an upstream's, or a change of protocol.

use super::body::{Exchange, ResponseBody};
use super::connection_manager::{Connection, ServerHeader};
use super::error_response::{self, Failure};
use super::forward::Arrived;
use super::headers;
use super::mutation::{HeaderMutations, rendered};
use super::plan::Step;
use super::prepare::weighted;
use super::routes::{Forward, Route, RouteTable, VirtualHost};
use super::upgrade;
use crate::telemetry::RequestRecord;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use std::rc::Rc;
use std::time::Instant;

/// What a response still needs when it is on its way out.
pub(super) struct Finish<'a> {
    pub(super) connection: &'a Rc<Connection>,
    pub(super) table: &'a RouteTable,
    pub(super) virtual_host: Option<&'a VirtualHost>,
    pub(super) route: Option<&'a Route>,
    pub(super) marks: Option<HeaderMap>,
    pub(super) tells_peer: bool,
    pub(super) request_id: Option<HeaderValue>,
    pub(super) grpc: bool,
}

impl Finish<'_> {
    /// An answer that no upstream is asked for.
    pub(super) fn local(&self, mut exchange: Box<Exchange>, step: Step<'_>) -> Response<ResponseBody> {
        let empty = Bytes::new;
        let (status, mut headers, body, details) = match step {
            Step::NoRoute => return self.failed(exchange, &Failure::NoRoute, None),
            Step::Denied(verdict) => return self.failed(exchange, &Failure::Denied(verdict.details()), None),
            Step::Forward(_) => return self.failed(exchange, &Failure::NoRoute, None),
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
        exchange.record.details = details.into();
        if body.is_empty() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        self.send(exchange, status, headers, body, false)
    }

    /// A failure as a response.
    pub(super) fn failed(
        &self,
        mut exchange: Box<Exchange>,
        failure: &Failure,
        grpc_code: Option<u32>,
    ) -> Response<ResponseBody> {
        let reply = failure.reply();
        exchange.record.flags.insert(reply.flags);
        exchange.record.details = reply.details.clone();
        let (status, mut headers, body) =
            error_response::message(reply.status, reply.body, self.grpc, grpc_code);
        if reply.overloaded && !self.connection.manager.filters.router.suppress_envoy_headers {
            headers.insert(headers::OVERLOADED, HeaderValue::from_static("true"));
        }
        self.send(exchange, status, headers, body, reply.close)
    }

    fn send(
        &self,
        mut exchange: Box<Exchange>,
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        close: bool,
    ) -> Response<ResponseBody> {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        self.dress(&mut exchange.record, &mut response, None);
        // A request whose body was not read leaves bytes on an HTTP/1 connection.
        let unread = exchange.source.as_ref().is_some_and(|source| source.ended.get().is_none());
        if (close || unread) && exchange.record.version != Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|()| ResponseBody::text(body, exchange))
    }

    /// An upstream's response.
    pub(super) fn arrived(
        &self,
        mut exchange: Box<Exchange>,
        arrived: Arrived,
        forward: &Forward,
        refused_upgrade: bool,
    ) -> Response<ResponseBody> {
        let (parts, body) = arrived.response.into_parts();
        let mut response = Response::from_parts(parts, ());
        self.take_in(&mut exchange.record, &mut response);
        if let Some(cookie) = arrived.cookie {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        self.dress(
            &mut exchange.record,
            &mut response,
            weighted(forward, arrived.chosen).map(|cluster| &cluster.response_headers),
        );
        let http1 = exchange.record.version != Version::HTTP_2;
        if http1 && (refused_upgrade || self.connection.is_closing()) {
            // Bytes sent after an upgrade that was refused are not a request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        *response.version_mut() = Version::HTTP_11;
        exchange.in_flight = Some(arrived.in_flight);
        exchange.expect_grpc(self.grpc);
        exchange.deadline = arrived.deadline;
        exchange.idle = arrived.idle;
        response.map(|()| ResponseBody::upstream(body, exchange))
    }

    /// A connection that changes its protocol: from now on bytes are copied.
    pub(super) fn switched(
        &self,
        mut exchange: Box<Exchange>,
        mut arrived: Arrived,
        forward: &Forward,
        client: hyper::upgrade::OnUpgrade,
    ) -> Response<ResponseBody> {
        let upstream = hyper::upgrade::on(&mut arrived.response);
        let kind = arrived.response.headers().get(header::UPGRADE).cloned();
        let (parts, _) = arrived.response.into_parts();
        let mut response = Response::from_parts(parts, ());
        self.take_in(&mut exchange.record, &mut response);
        self.dress(
            &mut exchange.record,
            &mut response,
            weighted(forward, arrived.chosen).map(|cluster| &cluster.response_headers),
        );
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(kind) = kind {
            response.headers_mut().insert(header::UPGRADE, kind);
        }
        let counts = self.connection.manager.counts.of(self.connection.downstream.worker.index);
        counts.downstream_cx_upgrades_total.increment();
        exchange.in_flight = Some(arrived.in_flight);
        upgrade::start(client, upstream, exchange, arrived.idle);
        response.map(|()| ResponseBody::empty())
    }

    /// Takes what the upstream says to us out of its response.
    fn take_in(&self, record: &mut RequestRecord, response: &mut Response<()>) {
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
        if survey.envoy {
            headers.remove(headers::DECORATOR_OPERATION);
        }
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
        chosen: Option<&HeaderMutations>,
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
pub(super) fn fail(
    connection: &Rc<Connection>,
    mut exchange: Box<Exchange>,
    failure: &Failure,
) -> Response<ResponseBody> {
    let table = RouteTable::default();
    let finish = Finish {
        connection,
        table: &table,
        virtual_host: None,
        route: None,
        marks: None,
        tells_peer: false,
        request_id: None,
        grpc: false,
    };
    if let Failure::Normalized(location) = failure {
        exchange.record.details = "path_normalization_redirect".into();
        let location = location_header(location);
        return finish.send(exchange, StatusCode::TEMPORARY_REDIRECT, location, Bytes::new(), false);
    }
    finish.failed(exchange, failure, None)
}
