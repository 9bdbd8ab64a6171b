//! Measures Mizzen beside its peers, on the same work in the same run. See `bench/README.md`.

mod control_plane;
mod machine;
mod measure;

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
    /// The control plane with thousands of proxies
    ControlPlane(control_plane::Options),
    /// The Kubernetes API of a simulated mesh; started by the benchmark itself
    #[command(hide = true)]
    Api {
        /// Where its state and its kubeconfig go
        folder: std::path::PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::ControlPlane(options) => control_plane::run(&options),
        Command::Api { folder } => control_plane::serve_api(&folder),
    }
}
