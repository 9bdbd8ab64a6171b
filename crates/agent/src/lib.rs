//! A sidecar's (or gateway's) life around the proxy: who it is, its certificates, its health, its
//! metrics, and its end.
//!
//! Start order: identity from the environment → certificate from the control plane's CA → the
//! proxy, which asks the control plane for the rest → ready. A control plane that cannot be reached
//! delays the start and is retried; once running, the proxy goes on without it.

mod bootstrap;
mod ca_client;
mod certificates;
mod data_plane;
mod envoy;
mod metrics;
mod options;
mod outbound;
mod probes;
mod status;

pub use options::{AgentOptions, OptionsError, Role};

use anyhow::Context as _;
use bootstrap::Certificates;
use data_plane::DataPlane;
use envoy::Envoy;
use mizzen_base::readiness::Readiness;
use mizzen_proxy::{Proxy, ProxyConfig, SecretSource};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long endpoints of other proxies may still point here after the drain has begun.
const SETTLE: Duration = Duration::from_millis(500);

/// Runs an agent and its proxy until SIGTERM or SIGINT, then drains.
pub async fn run(
    options: AgentOptions,
    logging: Option<mizzen_base::logging::LevelHandle>,
) -> anyhow::Result<()> {
    let options = Arc::new(options);
    let started = std::time::Instant::now();
    let readiness = Readiness::default();
    let booting = readiness.register("start");
    let mut terminate = Termination::listen()?;

    let (publisher, secrets) = watch::channel(None);
    let metrics = Arc::new(metrics::AgentMetrics::default());
    let certificates =
        tokio::spawn(certificates::keep_current(Arc::clone(&options), publisher, Arc::clone(&metrics)));

    let mut first_secrets = secrets.clone();
    tokio::select! {
        first = first_secrets.wait_for(Option::is_some) => { first.context("the certificate task ended")?; }
        () = terminate.requested() => return Ok(()),
    }
    let data_plane = Arc::new(start(&options, secrets, logging).await?);
    let (quit, mut quit_requested) = watch::channel(false);
    let status = status::Status {
        options: Arc::clone(&options),
        readiness: readiness.clone(),
        data_plane: Arc::clone(&data_plane),
        metrics: Arc::clone(&metrics),
        quit: Arc::new(quit),
    };
    let servers = status::serve(status).await?;

    tokio::select! {
        () = data_plane.ready() => {
            metrics.started(started.elapsed());
            tracing::info!(elapsed = ?started.elapsed(), "the proxy is ready");
            drop(booting);
        }
        error = data_plane.ended() => return Err(error.into()),
        () = terminate.requested() => {}
    }
    tokio::select! {
        error = data_plane.ended() => return Err(error.into()),
        () = terminate.requested() => {}
        _ = quit_requested.wait_for(|asked| *asked) => tracing::info!("asked to quit"),
    }

    drain(&options, &readiness, &data_plane).await;
    certificates.abort();
    servers.abort();
    Ok(())
}

async fn start(
    options: &AgentOptions,
    secrets: SecretSource,
    logging: Option<mizzen_base::logging::LevelHandle>,
) -> anyhow::Result<DataPlane> {
    if let Some(program) = &options.envoy {
        return Ok(DataPlane::Envoy(Envoy::start(program, options, secrets).await?));
    }
    let proxy = Proxy::start(ProxyConfig {
        bootstrap: bootstrap::build(options, Certificates::InProcess)?.encode_to_vec().into(),
        concurrency: options.concurrency,
        secrets: Some(secrets),
        logging,
    })?;
    Ok(DataPlane::BuiltIn(proxy))
}

/// Says "not ready", gives the mesh time to hear it, then lets open connections finish.
async fn drain(options: &AgentOptions, readiness: &Readiness, data_plane: &DataPlane) {
    let _draining = readiness.register("drain");
    let deadline = options.drain_deadline;
    tokio::time::sleep(SETTLE.min(deadline)).await;
    data_plane.drain(deadline).await;
}

/// SIGTERM and SIGINT.
struct Termination {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Termination {
    fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
