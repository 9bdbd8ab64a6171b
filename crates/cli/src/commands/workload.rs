//! `workload`: the applications built in for trying the mesh; what images `mizzen/echo` and
//! `mizzen/shop` run.

/// Which application, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen workload echo")]
pub struct Arguments {
    #[command(subcommand)]
    workload: mizzen_workloads::Workload,
}

/// Runs the application until it is told to end.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    mizzen_base::logging::init("info");
    Ok(mizzen_workloads::run(arguments.workload).await?)
}
