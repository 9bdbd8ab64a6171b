//! The HTTP server: a page shell, one script, and the data behind them. Read-only.

use crate::store::Store;
use crate::traces::Traces;
use crate::{DashboardOptions, charts, configuration, graph, proxies, scrape};
use axum::extract::{Path, Query, Request, State as Extract};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Json, Redirect, Response};
use axum::routing::get;
use axum::{Router, body::Body};
use http::{HeaderValue, StatusCode, header};
use parking_lot::RwLock;
use serde::Deserialize;
use std::sync::Arc;

/// What the handlers answer from.
#[derive(Clone)]
pub struct State {
    pub store: Arc<RwLock<Store>>,
    pub traces: Traces,
    pub client: kube::Client,
    pub options: Arc<DashboardOptions>,
}

const SHELL: &str = include_str!("../web/shell.html");
const SCRIPT: &str = include_str!("../web/pages.js");
const STYLE: &str = include_str!("../web/style.css");

/// The charts' step and length: a point every five seconds, ten minutes of them.
const CHART_STEP: u64 = 5_000;
const CHART_STEPS: usize = 120;
const MOST_TRACES_LISTED: usize = 200;

/// All routes.
pub fn router(state: State) -> Router {
    let pages = ["/", "/graph", "/metrics", "/traces", "/traces/{id}", "/proxies", "/config"];
    let mut router = Router::new();
    for page in pages {
        router = router.route(page, get(|| async { Html(SHELL) }));
    }
    router
        .route("/kiali", get(|| async { Redirect::temporary("/graph") }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/assets/pages.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/assets/style.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/api/graph", get(service_graph))
        .route("/api/charts", get(service_charts))
        .route("/api/trace-list", get(trace_list))
        .route("/api/trace/{id}", get(trace))
        .route("/api/proxies", get(proxy_list))
        .route("/api/config", get(config_list))
        .layer(middleware::from_fn(secure))
        .with_state(state)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Nothing from elsewhere is loaded or framed, and nothing is guessed. What comes out of the mesh
/// (names, headers, annotations) is set as text by the script, never as markup.
async fn secure(request: Request<Body>, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; \
                  img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[derive(Deserialize)]
struct Window {
    /// Seconds looked back.
    window: Option<u64>,
}

async fn service_graph(Extract(state): Extract<State>, Query(query): Query<Window>) -> Response {
    let window = query.window.unwrap_or(30).clamp(5, crate::store::RETENTION.as_secs());
    let now = scrape::now();
    let graph = graph::build(&state.store.read(), now.saturating_sub(window * 1000), now);
    Json(graph).into_response()
}

async fn service_charts(Extract(state): Extract<State>) -> Response {
    let store = state.store.read();
    let charts = charts::build(&store, scrape::now(), CHART_STEP, CHART_STEPS);
    Json(serde_json::json!({"step": CHART_STEP, "services": charts, "dropped": store.dropped()}))
        .into_response()
}

#[derive(Deserialize)]
struct TraceQuery {
    service: Option<String>,
    errors: Option<bool>,
}

async fn trace_list(Extract(state): Extract<State>, Query(query): Query<TraceQuery>) -> Response {
    let service = query.service.as_deref().filter(|name| !name.is_empty());
    let traces = state.traces.list(service, query.errors.unwrap_or_default(), MOST_TRACES_LISTED);
    Json(serde_json::json!({"services": state.traces.services(), "traces": traces})).into_response()
}

async fn trace(Extract(state): Extract<State>, Path(id): Path<String>) -> Response {
    match state.traces.get(&id) {
        Some(spans) => Json(spans).into_response(),
        None => (StatusCode::NOT_FOUND, "no such trace; old ones make room for new ones\n").into_response(),
    }
}

async fn proxy_list(Extract(state): Extract<State>) -> Response {
    answer(proxies::list(&state).await)
}

async fn config_list(Extract(state): Extract<State>) -> Response {
    answer(configuration::list(&state).await)
}

fn answer(result: anyhow::Result<serde_json::Value>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}\n")).into_response(),
    }
}
