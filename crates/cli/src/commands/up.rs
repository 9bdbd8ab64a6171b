//! `up`: a mesh on this machine, for as long as this runs.

use crate::local::apply::{self, Applier, Manifest};
use crate::local::demo::{self, suggestions};
use crate::local::folder::{Running, StateFolder, StateOption};
use crate::local::machine::Machine;
use crate::local::report;
use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams};
use mizzen_sandbox::controllers::PublishedPort;
use mizzen_sandbox::node::NodeSummary;
use std::fs::OpenOptions;
use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long the mesh's own Deployments may take to be available.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen up --demo\n  \
    mizzen up -f shop.yaml --publish 8080:80\n  \
    kustomize build . | mizzen up --detach -f -")]
pub struct Arguments {
    /// Manifests to apply once the mesh is up: a file, a folder, or - for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// Load the demo shop
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    state: StateOption,
    /// Return once the mesh is up and leave it running
    #[arg(long)]
    detach: bool,
    /// Publish a LoadBalancer Service's port at this port of the machine
    #[arg(long, value_name = "HOST_PORT:SERVICE_PORT", value_parser = super::node::published)]
    publish: Vec<PublishedPort>,
    /// Run this command of the machine for an image
    #[arg(long = "image", value_name = "NAME=COMMAND", value_parser = super::node::image)]
    images: Vec<(String, String)>,
}

/// Runs the mesh, or starts a process that does.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = StateFolder::at(arguments.state.path());
    // Mistakes in files are told before anything is started.
    let manifests = if arguments.detach { Vec::new() } else { read_all(&arguments)? };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if arguments.detach {
        return runtime.block_on(detach(&folder));
    }
    let running = folder.take()?;
    mizzen_base::logging::init("warn");
    runtime.block_on(stay(arguments, folder, running, manifests))
}

fn read_all(arguments: &Arguments) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for file in &arguments.files {
        manifests.extend(apply::read(file)?);
    }
    if arguments.demo {
        manifests.extend(demo::manifests()?);
    }
    Ok(manifests)
}

/// Starts the same command in the background and waits until its mesh is up.
async fn detach(folder: &StateFolder) -> anyhow::Result<()> {
    drop(folder.take()?);
    let log = OpenOptions::new().create(true).write(true).truncate(true).open(folder.log())?;
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg0("mizzen").args(std::env::args_os().skip(1).filter(|argument| argument != "--detach"));
    command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::inherit());
    mizzen_net::process::Placement::default().apply(&mut command);
    let mut child = command.spawn().context("cannot start in the background")?;
    loop {
        if let Some(ended) = child.try_wait()? {
            let log = std::fs::read_to_string(folder.log()).unwrap_or_default();
            bail!("the mesh did not start ({ended}):\n{}", log.trim_end());
        }
        if folder.summary().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    print!("{}", std::fs::read_to_string(folder.log()).unwrap_or_default());
    println!("The mesh runs in the background (process {}); `mizzen down` stops it.", child.id());
    Ok(())
}

async fn stay(
    arguments: Arguments,
    folder: StateFolder,
    running: Running,
    manifests: Vec<Manifest>,
) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut machine = Machine::start(&folder, &arguments.images, &arguments.publish)?;
    let steps = Steps::new();
    let ended = tokio::select! {
        brought = bring_up(&folder, &mut machine, manifests, arguments.demo, &steps) => match brought {
            Ok(()) => None,
            Err(error) => Some(Err(error)),
        },
        _ = interrupt.recv() => Some(Ok(())),
        _ = terminate.recv() => Some(Ok(())),
    };
    let ended = match ended {
        Some(ended) => ended,
        None => tokio::select! {
            error = machine.broken() => Err(error),
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        },
    };
    steps.clear();
    tokio::select! {
        stopped = machine.stop() => stopped?,
        // The second Ctrl-C does not wait: the kernel ends everything inside with this process.
        _ = interrupt.recv() => {}
    }
    drop(running);
    ended
}

async fn bring_up(
    folder: &StateFolder,
    machine: &mut Machine,
    manifests: Vec<Manifest>,
    demo: bool,
    steps: &Steps,
) -> anyhow::Result<()> {
    let summary = machine.ready(|line| steps.say(line)).await?;
    let client = folder.client().await?;
    let mut applier = Applier::new(client.clone());
    for object in mizzen_install::objects(&mizzen_install::InstallOptions::default()) {
        let name = apply::described(&object);
        applier.apply(&Manifest { object, origin: "the mesh's own objects".to_owned() }).await?;
        steps.show(format!("Installing {name}"));
    }
    steps.say("Mesh installed".to_owned());
    for line in wait_for_mesh(&client, steps).await? {
        steps.say(line);
    }
    for manifest in &manifests {
        applier.apply(manifest).await?;
        steps.say(format!("Applied {}", apply::described(&manifest.object)));
    }
    steps.clear();
    let published = report::published(&client).await?;
    print!("{}", describe(&summary, &published));
    if demo {
        let gateway = published.iter().find(|port| port.is_ingress()).map(|port| port.address.as_str());
        print!("{}", suggestions(gateway.unwrap_or("127.0.0.1:8080")));
    }
    folder.keep_summary(&summary)
}

/// Waits for the Deployments of the mesh itself. What does not come up is told, not fatal: the API
/// is there to look into it.
async fn wait_for_mesh(client: &kube::Client, steps: &Steps) -> anyhow::Result<Vec<String>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), mizzen_install::ROOT_NAMESPACE);
    let asked = tokio::time::Instant::now();
    loop {
        let list = deployments.list(&ListParams::default()).await?.items;
        let waiting: Vec<String> = list
            .iter()
            .filter(|one| !is_available(one))
            .filter_map(|one| one.metadata.name.clone())
            .collect();
        if waiting.is_empty() {
            return Ok(vec!["Control plane and gateway are ready".to_owned()]);
        }
        if asked.elapsed() > PATIENCE {
            let namespace = mizzen_install::ROOT_NAMESPACE;
            let told =
                |name| format!("Not ready: {name} (kubectl -n {namespace} describe deployment {name})");
            return Ok(waiting.into_iter().map(told).collect());
        }
        steps.show(format!("Waiting for {}", waiting.join(", ")));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_available(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let available =
        deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default();
    available >= wanted
}

fn describe(summary: &NodeSummary, published: &[report::Published]) -> String {
    let kubeconfig = summary.kubeconfig.display();
    let mut text = format!("\nThe mesh is up ({}).\n\n  export KUBECONFIG={kubeconfig}\n\n", summary.rung);
    for port in published {
        text.push_str(&format!("  {:<24} {} port {}\n", port.address, port.service, port.service_port));
    }
    text.push_str("  mizzen dashboard kiali   opens the service graph\n\n");
    text
}

/// Progress for whoever watches: a spinner on a terminal, plain lines elsewhere.
struct Steps {
    bar: Option<ProgressBar>,
}

impl Steps {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            // The template is a constant that the library accepts; without it the bar is plain.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        Self { bar }
    }

    /// A step that is done: stays on the screen.
    fn say(&self, line: String) {
        match &self.bar {
            Some(bar) => bar.println(format!("  {line}")),
            None => println!("{line}"),
        }
    }

    /// What is being done: only while it is.
    fn show(&self, line: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(line);
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
