//! `dashboard-server`: the built-in pages, as their pod runs them.

use anyhow::Context as _;
use mizzen_dashboard::DashboardOptions;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the pages are served
    #[arg(long, default_value = "0.0.0.0:20001")]
    pages: SocketAddr,
    /// Where spans are received, OTLP over gRPC
    #[arg(long, default_value = "0.0.0.0:4317")]
    otlp: SocketAddr,
    /// The control plane's monitoring port
    #[arg(long, default_value = "istiod.istio-system.svc:15014")]
    control_plane: String,
    /// Token for the control plane's debug pages
    #[arg(long, default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token")]
    token: PathBuf,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let _levels = mizzen_base::logging::init("info");
    let client = kube::Client::try_default().await.context("cannot reach the Kubernetes API")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let stopped = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let options = DashboardOptions {
        pages: arguments.pages,
        otlp: arguments.otlp,
        control_plane: arguments.control_plane,
        token: arguments.token,
    };
    mizzen_dashboard::run(options, client, stopped).await
}
