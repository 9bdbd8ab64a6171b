//! The agent's ports: 15021 readiness for the outside, 15020 merged metrics and probes, 15090 the
//! proxy's metrics alone.

use crate::data_plane::DataPlane;
use crate::metrics::AgentMetrics;
use crate::options::AgentOptions;
use crate::probes::Probers;
use anyhow::Context as _;
use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use mizzen_base::drain::{self, DrainTrigger};
use mizzen_base::http::{self, Peer};
use mizzen_base::readiness::Readiness;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const READINESS_PORT: u16 = 15021;
const AGENT_PORT: u16 = 15020;
const PROXY_METRICS_PORT: u16 = 15090;
/// The content type of Prometheus's text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the ports answer from.
#[derive(Clone)]
pub(crate) struct Status {
    pub options: Arc<AgentOptions>,
    pub readiness: Readiness,
    pub data_plane: Arc<DataPlane>,
    pub metrics: Arc<AgentMetrics>,
    pub quit: Arc<watch::Sender<bool>>,
}

/// The running servers. They accept nothing more once this is dropped.
pub(crate) struct Servers {
    tasks: Vec<JoinHandle<()>>,
    _drain: DrainTrigger,
}

impl Servers {
    pub(crate) fn abort(self) {
        for server in self.tasks {
            server.abort();
        }
    }
}

#[derive(Clone)]
struct Shared {
    status: Status,
    probers: Arc<Probers>,
}

/// Binds the ports and serves them.
pub(crate) async fn serve(status: Status) -> anyhow::Result<Servers> {
    let probers = Probers::parse(status.options.probers.as_deref())
        .context("environment variable ISTIO_KUBE_APP_PROBERS is not what injection writes")?;
    let shared = Shared { status, probers: Arc::new(probers) };
    let readiness = Router::new().route("/healthz/ready", get(ready));
    let metrics =
        Router::new().route("/stats/prometheus", get(proxy_metrics)).route("/metrics", get(proxy_metrics));
    let agent = Router::new()
        .route("/healthz/ready", get(ready))
        .route("/stats/prometheus", get(merged_metrics))
        .route("/metrics", get(merged_metrics))
        .route("/quitquitquit", post(quit))
        .route("/drain", post(quit))
        .route("/app-health/{container}/{probe}", get(probe));
    let (drain, watcher) = drain::channel();
    let mut tasks = Vec::new();
    for (port, router) in [(READINESS_PORT, readiness), (AGENT_PORT, agent), (PROXY_METRICS_PORT, metrics)] {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let incoming = http::plain(listener, watcher.clone());
        tasks.push(tokio::spawn(http::serve(incoming, router.with_state(shared.clone()), watcher.clone())));
    }
    Ok(Servers { tasks, _drain: drain })
}

async fn ready(State(shared): State<Shared>) -> Response {
    let pending = shared.status.readiness.pending();
    if pending.is_empty() && shared.status.data_plane.is_ready() {
        return StatusCode::OK.into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready, waiting for: {}\n", pending.join(", ")))
        .into_response()
}

async fn proxy_metrics(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], shared.status.data_plane.prometheus().await).into_response()
}

async fn merged_metrics(State(shared): State<Shared>) -> Response {
    let status = &shared.status;
    let text = status.metrics.merged(&status.options, status.data_plane.prometheus().await).await;
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response()
}

/// Ends the proxy; only for callers inside the pod, such as a job that has finished.
async fn quit(State(shared): State<Shared>, Extension(peer): Extension<Peer>) -> Response {
    if !peer.0.is_some_and(|peer| peer.ip().is_loopback()) {
        return (StatusCode::FORBIDDEN, "only from inside the pod\n").into_response();
    }
    shared.status.quit.send_replace(true);
    (StatusCode::OK, "quitting\n").into_response()
}

async fn probe(State(shared): State<Shared>, request: Request) -> Response {
    let Some(host) = shared.status.options.addresses.first() else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the pod has no address\n").into_response();
    };
    shared.probers.run(request.uri().path(), *host).await.into_response()
}
