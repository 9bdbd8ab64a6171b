//! `version`.

use crate::access::AccessOptions;

#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub async fn run(_arguments: Arguments, _access: &AccessOptions) -> anyhow::Result<()> {
    Ok(())
}
