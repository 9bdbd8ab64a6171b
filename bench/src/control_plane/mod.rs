//! The control plane with thousands of simulated proxies that speak delta discovery over TLS.

mod conversation;
mod credentials;
mod facts;
mod fill;
mod fleet;
mod latency;
mod objects;
mod processes;
mod report;
mod scaling;
mod scenarios;

pub use processes::serve_api;

use crate::machine;
use anyhow::Context as _;
use fleet::Fleet;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use objects::Size;
use processes::{ApiProcess, ControlPlane};
use report::{Outcome, Report};
use scenarios::Running;
use std::path::{Path, PathBuf};

/// What can be chosen.
#[derive(clap::Args)]
pub struct Options {
    /// Services, each with a VirtualService and a DestinationRule
    #[arg(long, default_value_t = 1000)]
    services: usize,
    /// Endpoints of each service
    #[arg(long, default_value_t = 10)]
    endpoints: usize,
    /// Namespaces of the services
    #[arg(long, default_value_t = 50)]
    namespaces: usize,
    /// Simulated proxies
    #[arg(long, default_value_t = 2000)]
    proxies: usize,
    /// What to measure, all without; can be repeated
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<Scenario>,
    /// Use this Kubernetes API instead of an embedded one
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The binary whose control plane is measured [default: mizzen beside this one]
    #[arg(long, value_name = "PATH")]
    mizzen: Option<PathBuf>,
    /// Where JSON, plot and the control plane's log go
    #[arg(long, value_name = "DIR", default_value = "bench-results")]
    output: PathBuf,
}

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// One endpoint changes
    Endpoint,
    /// One VirtualService changes
    VirtualService,
    /// 200 endpoint changes a second
    Churn,
    /// Nothing happens
    Idle,
    /// The control plane is killed and started again
    Reconnect,
    /// One endpoint changes in meshes of 100, 1,000 and 5,000 services, with 200 proxies
    Scaling,
}

const ALL: [Scenario; 6] = [
    Scenario::Endpoint,
    Scenario::VirtualService,
    Scenario::Churn,
    Scenario::Idle,
    Scenario::Reconnect,
    Scenario::Scaling,
];

/// Measures, prints and writes what was found.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let network = match &options.kubeconfig {
        Some(_) => "shared network, for the API given".to_owned(),
        None => machine::isolate()?,
    };
    mizzen_identity::install_crypto_provider();
    raise_descriptor_limit()?;
    std::fs::create_dir_all(&options.output)
        .with_context(|| format!("cannot make {}", options.output.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcomes = runtime.block_on(measure(options))?;
    let missed = outcomes.iter().flat_map(|outcome| &outcome.bars).filter(|bar| !bar.is_met()).count();
    let bars: usize = outcomes.iter().map(|outcome| outcome.bars.len()).sum();
    println!("{} of {bars} bars are met", bars - missed);
    let report = Report {
        machine: machine::describe(network)?,
        size: options.size(),
        proxies: options.proxies,
        outcomes,
    };
    let path = options.output.join("control-plane.json");
    std::fs::write(&path, serde_json::to_string_pretty(&report)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

impl Options {
    fn size(&self) -> Size {
        Size { services: self.services, endpoints: self.endpoints, namespaces: self.namespaces }
    }

    fn program(&self) -> anyhow::Result<PathBuf> {
        match &self.mizzen {
            Some(program) => Ok(program.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("mizzen")),
        }
    }
}

async fn measure(options: &Options) -> anyhow::Result<Vec<Outcome>> {
    let chosen = if options.scenarios.is_empty() { ALL.as_slice() } else { &options.scenarios };
    let mut outcomes = Vec::new();
    let mut told = |outcome: Outcome| {
        println!("{outcome}");
        outcomes.push(outcome);
    };
    if chosen.iter().any(|scenario| *scenario != Scenario::Scaling) {
        let (mut running, _api) = start(options).await?;
        for scenario in chosen {
            told(match scenario {
                Scenario::Endpoint => running.endpoint().await?,
                Scenario::VirtualService => running.virtual_service().await?,
                Scenario::Churn => running.churn().await?,
                Scenario::Idle => running.idle().await?,
                Scenario::Reconnect => running.reconnect().await?,
                Scenario::Scaling => continue,
            });
        }
    }
    if chosen.contains(&Scenario::Scaling) {
        scaling::measure(options, &mut told).await?;
    }
    Ok(outcomes)
}

/// A mesh of the chosen size with its proxies connected.
async fn start(options: &Options) -> anyhow::Result<(Running, Option<ApiProcess>)> {
    let size = options.size();
    let (kubeconfig, api) = api(options).await?;
    let client = fill::client(&kubeconfig).await?;
    fill::prepare(&client, size).await?;
    fill::services(&client, size, 0..size.services).await?;
    let control = control_plane(options, &kubeconfig).await?;
    let fleet = proxies(&client, &control, size, options.proxies).await?;
    let running = Running { client, size, control, fleet };
    running.complete().await?;
    Ok((running, api))
}

/// The API given, or one of our own.
async fn api(options: &Options) -> anyhow::Result<(PathBuf, Option<ApiProcess>)> {
    Ok(match &options.kubeconfig {
        Some(kubeconfig) => (kubeconfig.clone(), None),
        None => {
            let api = ApiProcess::start().await?;
            (api.kubeconfig.clone(), Some(api))
        }
    })
}

async fn control_plane(options: &Options, kubeconfig: &Path) -> anyhow::Result<ControlPlane> {
    ControlPlane::start(&options.program()?, kubeconfig, &options.output.join("control-plane.log")).await
}

async fn proxies(
    client: &kube::Client,
    control: &ControlPlane,
    size: Size,
    count: usize,
) -> anyhow::Result<Fleet> {
    let mut certificates = Vec::new();
    for namespace in size.namespaces() {
        certificates.push(credentials::obtain(client, control.discovery(), &namespace).await?);
    }
    Ok(Fleet::start(control.discovery(), &certificates, size, count))
}

/// Two descriptors a proxy, for this process and those it starts.
fn raise_descriptor_limit() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
