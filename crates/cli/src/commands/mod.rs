//! One file a command. A command reads its arguments, calls the room that does the work, and prints.

mod analyze;
mod authn;
mod completion;
mod control;
mod dashboard;
mod dashboard_server;
mod down;
mod intercept;
mod node;
mod proxy;
mod proxy_config;
mod proxy_status;
mod status;
mod up;
mod validate;
mod version;
mod workload;

use crate::access::AccessOptions;
use std::process::ExitCode;

/// What `mizzen` can be asked to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run a mesh on this machine, with a Kubernetes API of its own
    Up(up::Arguments),
    /// Stop the mesh on this machine
    Down(down::Arguments),
    /// Show the mesh on this machine
    Status(status::Arguments),
    /// Be the machine inside the machine, as `up` starts it
    #[command(hide = true)]
    Node(node::Arguments),
    /// Redirect a pod's traffic to its proxy, as its init container does
    #[command(hide = true)]
    Intercept(intercept::Arguments),
    /// Run the data plane: a sidecar, a gateway, or a proxy with an Envoy bootstrap
    Proxy(proxy::Arguments),
    /// Show which proxies are connected and whether their configuration is current
    #[command(name = "proxy-status", visible_alias = "ps")]
    ProxyStatus(proxy_status::Arguments),
    /// Show the configuration that a proxy is running
    #[command(name = "proxy-config", visible_alias = "pc")]
    ProxyConfig(proxy_config::Arguments),
    /// Say what is wrong with the configuration, of files or of a live mesh
    Analyze(analyze::Arguments),
    /// Run the control plane
    Control(Box<control::Arguments>),
    /// Look at how workloads authenticate each other
    Authn(authn::Arguments),
    /// Open a page: service graph, metrics, traces, a proxy
    #[command(visible_aliases = ["dash", "d"])]
    Dashboard(dashboard::Arguments),
    /// Serve the built-in pages, as their pod does
    #[command(name = "dashboard-server", hide = true)]
    DashboardServer(dashboard_server::Arguments),
    /// Say whether the objects of files are valid
    #[command(visible_alias = "v")]
    Validate(validate::Arguments),
    /// Print a script that completes commands and flags in a shell
    Completion(completion::Arguments),
    /// Print the versions of this program, the control plane and the proxies
    Version(version::Arguments),
    /// Run one of the built-in applications, as the pods of `mizzen up` do
    Workload(workload::Arguments),
}

/// Runs one command; the exit code is for commands that say something with it.
pub fn run(command: Command, access: &AccessOptions) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(arguments) => up::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Down(arguments) => wait(down::run(arguments)),
        Command::Status(arguments) => wait(status::run(arguments)),
        Command::Node(arguments) => node::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Intercept(arguments) => intercept::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Proxy(arguments) => proxy::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::ProxyStatus(arguments) => wait(proxy_status::run(arguments, access)),
        Command::ProxyConfig(arguments) => wait(proxy_config::run(arguments, access)),
        Command::Analyze(arguments) => wait(analyze::run(arguments, access)),
        Command::Control(arguments) => control::run(*arguments),
        Command::Authn(arguments) => wait(authn::run(arguments, access)),
        Command::Dashboard(arguments) => wait(dashboard::run(arguments, access)),
        Command::DashboardServer(arguments) => wait(dashboard_server::run(arguments)),
        Command::Validate(arguments) => wait(validate::run(arguments)),
        Command::Completion(arguments) => {
            completion::run(&arguments);
            Ok(ExitCode::SUCCESS)
        }
        Command::Version(arguments) => wait(version::run(arguments, access)),
        Command::Workload(arguments) => wait(workload::run(arguments)),
    }
}

/// Runs a command that only waits for others on a runtime of this thread.
fn wait(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command)?;
    Ok(ExitCode::SUCCESS)
}
