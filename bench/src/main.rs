//! Measures Mizzen beside its peers, on the same work in the same run. See `bench/README.md`.

mod backend;
mod bootstrap;
mod certificates;
mod control_plane;
mod data_plane;
mod discovery;
mod haproxy;
mod load;
mod machine;
mod measure;
mod nginx;
mod peer;
mod probe;
mod report;
mod round;
mod scenario;
mod statistics;
mod target;

use clap::{Parser, Subcommand};

/// Thousands of simulated proxies allocate a great deal.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "mizzen-bench", about = "Measures Mizzen beside its peers")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The proxy beside Envoy, HAProxy and nginx
    DataPlane(data_plane::Options),
    /// The control plane with thousands of proxies
    ControlPlane(control_plane::Options),
    /// Generates load; started by the benchmark itself
    #[command(hide = true)]
    Load {
        /// What to do, as JSON
        order: String,
    },
    /// The application behind the proxies; started by the benchmark itself
    #[command(hide = true)]
    Backend,
    /// The Kubernetes API of a simulated mesh; started by the benchmark itself
    #[command(hide = true)]
    Api {
        /// Where its state and its kubeconfig go
        folder: std::path::PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::DataPlane(options) => data_plane::run(&options),
        Command::ControlPlane(options) => control_plane::run(&options),
        Command::Load { order } => load::run(&order),
        Command::Backend => backend::run(),
        Command::Api { folder } => control_plane::serve_api(&folder),
    }
}
