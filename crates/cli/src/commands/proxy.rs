//! `proxy`: the data plane. `sidecar` and `router` run it with an agent, as pods do; with `-c` it
//! runs from an Envoy bootstrap, under any control plane or none.

use anyhow::{Context as _, bail};
use mizzen_agent::{AgentOptions, Role};
use mizzen_proxy::{Proxy, ProxyConfig};
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long connections may take to finish when the proxy is stopped.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  mizzen proxy -c envoy.yaml --concurrency 2 -l info")]
pub struct Arguments {
    #[command(subcommand)]
    role: Option<RoleCommand>,
    /// Envoy bootstrap, JSON or YAML
    // Its id takes the place of the global flag of the same letter, which has no meaning here.
    #[arg(id = "kubeconfig", short = 'c', long = "config-path", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Workers; default: one a core
    #[arg(long, default_value_t = 0)]
    concurrency: usize,
    /// Log level: trace, debug, info, warning, error, critical or off
    #[arg(short = 'l', long = "log-level", default_value = "info")]
    log_level: String,
}

#[derive(Debug, clap::Subcommand)]
enum RoleCommand {
    /// Beside an application, as injection sets it up
    #[command(after_help = "Examples:\n  mizzen proxy sidecar --domain default.svc.cluster.local")]
    Sidecar(AgentArguments),
    /// A gateway
    #[command(after_help = "Examples:\n  mizzen proxy router --proxyLogLevel debug")]
    Router(AgentArguments),
}

#[derive(Debug, clap::Args)]
struct AgentArguments {
    /// DNS domain of the proxy; default: NAMESPACE.svc.cluster.local
    #[arg(long)]
    domain: Option<String>,
    /// Log level of the proxy
    #[arg(long = "proxyLogLevel", default_value = "warning")]
    log_level: String,
}

pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.role {
        Some(RoleCommand::Sidecar(agent)) => run_agent(Role::Sidecar, agent),
        Some(RoleCommand::Router(agent)) => run_agent(Role::Router, agent),
        None => match &arguments.config {
            Some(file) => run_bootstrap(file, &arguments),
            None => bail!("say what to run: `proxy sidecar`, `proxy router`, or `proxy -c FILE`"),
        },
    }
}

/// The agent needs one thread; the proxy's workers have their own.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn run_agent(role: Role, arguments: AgentArguments) -> anyhow::Result<()> {
    let logging = mizzen_base::logging::init(tracing_level(&arguments.log_level));
    let variables = std::env::vars().collect();
    let mut options =
        AgentOptions::read(role, arguments.domain, &variables, |path| std::fs::read_to_string(path).ok())?;
    options.log_level = arguments.log_level;
    runtime()?.block_on(mizzen_agent::run(options, logging))
}

fn run_bootstrap(file: &PathBuf, arguments: &Arguments) -> anyhow::Result<()> {
    let logging = mizzen_base::logging::init(tracing_level(&arguments.log_level));
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let bootstrap =
        mizzen_proxy::compile::bootstrap::read(&text).with_context(|| file.display().to_string())?;
    runtime()?.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let config = ProxyConfig { bootstrap, concurrency: arguments.concurrency, secrets: None, logging };
        let handle = Proxy::start(config).with_context(|| file.display().to_string())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = handle.quit_requested() => {}
        }
        handle.drain(DRAIN).await;
        handle.shutdown();
        Ok(())
    })
}

/// Envoy's levels in the words of our log filter.
fn tracing_level(level: &str) -> &str {
    match level {
        "warning" => "warn",
        "critical" => "error",
        other => other,
    }
}
