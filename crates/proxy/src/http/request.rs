//! One request: admitted, planned, answered, recorded.

use super::admit::{Admitted, admit};
use super::body::{Exchange, RequestSource, ResponseBody};
use super::connection_manager::{Connection, RouteSource};
use super::error_response::Failure;
use super::filter::fault::Abort;
use super::filter::rbac::{Subject, Verdict};
use super::finish::{self, Finish};
use super::forward::Flight;
use super::headers;
use super::matcher::HeaderView;
use super::normalize;
use super::plan::{Ground, Plan, Step, plan};
use super::routes::RequestView;
use super::upgrade;
use crate::telemetry::counters::ManagerCounts;
use crate::telemetry::{RequestRecord, ResponseFlags, capture};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of a request that are kept for retries unless configured.
const REPLAY_LIMIT: usize = 64 * 1024;

/// Answers one request.
pub(super) async fn answer(
    connection: Rc<Connection>,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
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
    // Whatever happens from here on, dropping the exchange records the request.
    let mut exchange = Exchange::begin(RequestRecord::begin(&connection, &request));
    let asks_upgrade = http1 && request.headers().contains_key(http::header::UPGRADE);
    let client_upgrade = asks_upgrade.then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    let extensions = std::mem::take(&mut parts.extensions);
    let version = parts.version;
    let mut admitted = match admit(&connection, parts, &mut exchange.record) {
        Ok(admitted) => admitted,
        Err(failure) => return finish::fail(&connection, exchange, &failure),
    };
    let generation = worker.generation();
    let table = match &manager.routes {
        RouteSource::Inline(table) => Some(Arc::clone(table)),
        RouteSource::Named(name) => generation.route_table(name).cloned(),
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
    note(&mut exchange.record, &decided, counts);
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
            exchange.record.request_headers = capture(&manager.captured.request, &admitted.headers);
            return finish.local(exchange, step);
        }
    };
    if let Some(delay) = faults.delay {
        counts.fault_delays_injected.increment();
        exchange.record.flags.insert(ResponseFlags::DELAY_INJECTED);
        tokio::time::sleep(delay).await;
    }
    if let Some(abort) = faults.abort {
        counts.fault_aborts_injected.increment();
        exchange.record.request_headers = capture(&manager.captured.request, &admitted.headers);
        let (status, code) = match abort {
            Abort::Http(status) => (status, None),
            Abort::Grpc(code) => (StatusCode::OK, Some(code)),
        };
        return finish.failed(exchange, &Failure::Fault(status), code);
    }
    let (Some(virtual_host), Some(route)) = (virtual_host, route) else {
        return finish.failed(exchange, &Failure::NoRoute, None);
    };
    let upgrade = match upgrade::allowed(
        &manager.upgrades,
        &forward.upgrades,
        admitted.upgrade.take(),
        &admitted.method,
    ) {
        Ok(upgrade) => upgrade,
        Err(failure) => return finish.failed(exchange, &failure, None),
    };
    let source = (!body.is_end_stream()).then(|| {
        let limit = route.buffer_limit.unwrap_or(REPLAY_LIMIT);
        let keeps = forward.retry.is_some() || !forward.mirrors.is_empty() || asks_for_retries(&admitted);
        RequestSource::new(body, keeps.then_some(limit), admitted.grpc, exchange.record.started)
    });
    if source.is_none() {
        exchange.record.request_read = Some(exchange.record.started.elapsed());
    }
    exchange.source.clone_from(&source);
    if let Some(tracing) = &manager.tracing {
        let operation = route.operation.clone();
        tracing.begin(
            &mut exchange.record,
            &mut admitted.headers,
            operation,
            admitted.random,
            admitted.client.internal,
        );
    }
    let mut flight = Flight {
        connection: &connection,
        table: &table,
        virtual_host,
        route,
        forward,
        method: admitted.method,
        path: admitted.path,
        authority: admitted.authority,
        headers: admitted.headers,
        source,
        extensions,
        client_version: version,
        remote: admitted.client.address,
        random: admitted.random,
        grpc: admitted.grpc,
        upgrade: upgrade.clone(),
        secure: admitted.secure,
        steered: admitted.steered,
        keeps_case: false,
    };
    match flight.run(&mut exchange.record).await {
        Err(failure) => finish.failed(exchange, &failure, None),
        Ok(arrived) => match (upgrade, client_upgrade) {
            (Some(_), Some(client)) if arrived.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                finish.switched(exchange, arrived, forward, client)
            }
            (upgrade, _) => finish.arrived(exchange, arrived, forward, upgrade.is_some()),
        },
    }
}

fn asks_for_retries(admitted: &Admitted) -> bool {
    let has = |name| admitted.headers.contains_key(name);
    admitted.steered && (has(headers::RETRY_ON) || has(headers::RETRY_GRPC_ON))
}

/// Notes what was decided.
fn note(record: &mut RequestRecord, plan: &Plan<'_>, counts: &ManagerCounts) {
    if let (Some(route), Some(host)) = (plan.route, plan.virtual_host) {
        record.route = Some((Arc::clone(route), Arc::clone(&host.name)));
    }
    for verdict in &plan.shadow {
        match verdict {
            Verdict::Allowed(_) => counts.rbac_shadow_allowed.increment(),
            Verdict::Denied(_) => counts.rbac_shadow_denied.increment(),
        }
    }
    if plan.polices && !matches!(plan.step, Step::Denied(_)) {
        counts.rbac_allowed.increment();
    }
    match &plan.step {
        Step::NoRoute => counts.no_route.increment(),
        Step::Denied(_) => counts.rbac_denied.increment(),
        Step::Redirect(..) | Step::Secure(_) => counts.rq_redirect.increment(),
        Step::Respond(_) => counts.rq_direct_response.increment(),
        Step::Preflight(_) | Step::Forward(_) => {}
    }
}
