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
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceServiceServer;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

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

    let receiver = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(traces.clone()))
        .serve(options.otlp);
    let receiver = tokio::spawn(receiver);

    let listener = TcpListener::bind(options.pages)
        .await
        .with_context(|| format!("cannot listen on {}", options.pages))?;
    let state = server::State { store, traces, client, options: Arc::new(options) };
    tracing::info!(address = %listener.local_addr()?, "the pages are served");
    axum::serve(listener, server::router(state)).with_graceful_shutdown(stopped).await?;
    receiver.abort();
    Ok(())
}
