//! `mizzen`: one binary that is the control plane, the proxy, the mesh on one machine and the
//! command line. Run under the name `istioctl` it answers to the same words.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod access;
mod commands;
mod exit;
mod forward;
mod local;
mod manifests;
mod table;

use clap::Parser;
use commands::Command;

/// A service mesh that speaks Istio.
#[derive(Debug, Parser)]
#[command(name = "mizzen", version = mizzen_base::version::MIZZEN, propagate_version = true)]
#[command(
    after_help = "Examples:\n  mizzen up --demo                 the mesh on this machine, with a demo shop\n  \
    mizzen proxy-status              which proxies are in step\n  mizzen analyze -A                what is wrong with the configuration\n  \
    mizzen dashboard kiali           the live service graph"
)]
struct Cli {
    #[command(flatten)]
    access: access::AccessOptions,
    #[command(subcommand)]
    command: Command,
}

fn main() -> std::process::ExitCode {
    // Only fails when a provider is already installed, which is what is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::from_usage(&error),
    };
    match commands::run(cli.command, &cli.access) {
        Ok(code) => code,
        Err(error) => exit::from_error(&error),
    }
}

#[cfg(test)]
#[path = "main_tests.rs"]
mod tests;
