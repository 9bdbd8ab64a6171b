//! What operators and tools can ask: metrics, version, readiness, and `/debug/*` in Istio's shapes.
//!
//! Debug endpoints tell the whole configuration of the mesh, so they answer only on the loopback
//! interface (port-forwards come from there) and to callers whose token the API accepts.

mod authentication;
mod dump;
mod objects;
mod sync;

use crate::caller::{Authenticator, bearer};
use crate::metrics::Metrics;
use crate::push::{Mesh, Proxies};
use crate::serve::Peer;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use mizzen_base::readiness::Readiness;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What the endpoints look at.
#[derive(Clone)]
pub(crate) struct Debug {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) proxies: Proxies,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Readiness,
    pub(crate) authenticator: Arc<Authenticator>,
}

/// Query parameters of all endpoints.
#[derive(Debug, Default, Deserialize)]
struct Query {
    /// `POD.NAMESPACE`, or a whole node id.
    #[serde(default, rename = "proxyID")]
    proxy: String,
    /// A kind, for `configz`.
    #[serde(default, rename = "type")]
    kind: String,
}

/// The paths under `/debug/`, with what they show.
const ENDPOINTS: [(&str, &str); 10] = [
    ("authenticationz", "mutual TLS between a proxy (?proxyID=POD.NAMESPACE) and every service it sees"),
    ("config_dump", "what a proxy (?proxyID=POD.NAMESPACE) should have, in Envoy's shape"),
    ("configz", "Istio's resources as the control plane has them (?type=KIND)"),
    ("connections", "open streams"),
    ("endpointz", "services and their endpoints"),
    ("list", "this list"),
    ("push_status", "proxies that have not taken over the newest configuration"),
    ("quarantinez", "resources that are left out, and why"),
    ("registryz", "services"),
    ("syncz", "what was sent to each proxy and taken over by it"),
];

/// Everything that is served in plain HTTP.
pub(crate) fn routes(debug: Debug) -> Router {
    let guarded = Router::new()
        .route("/debug", get(list))
        .route("/debug/", get(list))
        .route("/debug/list", get(list))
        .route("/debug/syncz", get(sync::synchronization))
        .route("/debug/connections", get(sync::connections))
        .route("/debug/push_status", get(sync::push_status))
        .route("/debug/registryz", get(objects::services))
        .route("/debug/endpointz", get(objects::endpoints))
        .route("/debug/configz", get(objects::configs))
        .route("/debug/quarantinez", get(objects::quarantined))
        .route("/debug/config_dump", get(sync::config_dump))
        .route("/debug/authenticationz", get(objects::authentication))
        .layer(middleware::from_fn_with_state(debug.clone(), guard));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .route("/ready", get(ready))
        .merge(guarded)
        .with_state(debug)
}

async fn guard(State(debug): State<Debug>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    if peer.is_some_and(|peer| peer.ip().is_loopback()) {
        return next.run(request).await;
    }
    let token = bearer(request.headers()).map(str::to_owned);
    let refused = match token {
        Some(token) => match debug.authenticator.review(&token, None).await {
            Ok(_) => return next.run(request).await,
            Err(status) => status.message().to_owned(),
        },
        None => "debug endpoints answer on loopback (kubectl port-forward), or to a service account's \
                 token in 'authorization: Bearer …'"
            .to_owned(),
    };
    (StatusCode::UNAUTHORIZED, format!("{refused}\n")).into_response()
}

async fn metrics(State(debug): State<Debug>) -> impl IntoResponse {
    debug.metrics.connected.clear();
    debug.metrics.connected.set(&[mizzen_base::version::ISTIO], debug.proxies.hub().len() as f64);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], debug.metrics.text())
}

/// Of the form `1.x.y-COMMIT-Clean`, which tools read.
async fn version() -> String {
    format!("{}-mizzen-{}", mizzen_base::version::ISTIO, mizzen_base::version::MIZZEN)
}

async fn ready(State(debug): State<Debug>) -> Response {
    let pending = debug.readiness.pending();
    if pending.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", pending.join(", "))).into_response()
}

async fn list() -> Json<Value> {
    let endpoints: Vec<_> = ENDPOINTS
        .iter()
        .map(|(name, description)| json!({"path": format!("/debug/{name}"), "description": description}))
        .collect();
    Json(Value::Array(endpoints))
}

/// Pod and namespace of `POD.NAMESPACE` or of a node id.
fn pod_of(proxy: &str) -> Option<(&str, &str)> {
    let name = if proxy.contains('~') { proxy.split('~').nth(2)? } else { proxy };
    name.rsplit_once('.').filter(|(pod, namespace)| !pod.is_empty() && !namespace.is_empty())
}

fn not_connected(proxy: &str) -> Response {
    let text = match pod_of(proxy) {
        Some(_) => format!(
            "Proxy not connected to this control plane instance: {proxy}. It may be connected to another instance.\n"
        ),
        None => "You must provide a proxyID in the query string: POD.NAMESPACE\n".to_owned(),
    };
    (StatusCode::NOT_FOUND, text).into_response()
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
