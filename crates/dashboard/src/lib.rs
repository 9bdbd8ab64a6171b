//! The built-in pages: the live service graph, metrics by service, traces, proxies and
//! configuration, with nothing else installed. Runs as a pod of its own (`mizzen dashboard-server`),
//! so that restarts of the control plane lose no telemetry.

mod charts;
pub mod cluster;
mod configuration;
mod exposition;
mod graph;
mod proxies;
mod scrape;
mod server;
mod store;
mod traces;

use anyhow::Context as _;
use mizzen_base::{drain, http};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceServiceServer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::service::Routes;

/// How long open requests may take to finish when the dashboard ends.
const DRAIN: Duration = Duration::from_secs(5);

/// Where the dashboard listens and what it asks.
#[derive(Clone, Debug)]
pub struct DashboardOptions {
    /// Pages and their data.
    pub pages: SocketAddr,
    /// OTLP over gRPC.
    pub otlp: SocketAddr,
    /// The control plane's monitoring port, `HOST:PORT`.
    pub control_plane: String,
    /// Token that the control plane's debug pages ask for; read anew each time.
    pub token: std::path::PathBuf,
}

/// Serves until `stopped` resolves.
pub async fn run(
    options: DashboardOptions,
    client: kube::Client,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let store = Arc::new(parking_lot::RwLock::new(store::Store::default()));
    let traces = traces::Traces::default();
    let pods = scrape::watch_pods(&client);
    tokio::spawn(scrape::run(pods, Arc::clone(&store)));

    let (drain, watcher) = drain::channel();
    let receiver = Routes::new(TraceServiceServer::new(traces.clone())).into_axum_router();
    let incoming = http::plain(listen(options.otlp).await?, watcher.clone());
    tokio::spawn(http::serve(incoming, receiver, watcher.clone()));

    let listener = listen(options.pages).await?;
    let state = server::State { store, traces, client, options: Arc::new(options) };
    tracing::info!(address = %listener.local_addr()?, "the pages are served");
    let incoming = http::plain(listener, watcher.clone());
    tokio::spawn(http::serve(incoming, server::router(state), watcher));
    stopped.await;
    drain.drain(DRAIN).await;
    Ok(())
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
