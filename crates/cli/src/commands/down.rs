//! `down`: stops the mesh of a state folder and waits until nothing of it is left.

use crate::local::folder::{StateFolder, StateOption};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen down\n  \
    mizzen down --state ./mesh")]
pub struct Arguments {
    #[command(flatten)]
    state: StateOption,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = StateFolder::at(arguments.state.path());
    match folder.running() {
        None => println!("No mesh is running with the state in {}.", folder.path().display()),
        Some(process) => {
            folder.stop(process).await?;
            println!("The mesh is down. Its objects are kept in {}.", folder.path().display());
        }
    }
    Ok(())
}
