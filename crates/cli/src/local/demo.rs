//! The demo shop: what `up --demo` loads.

use super::apply::Manifest;

/// The shop's manifests, in the order to apply them.
pub fn manifests() -> anyhow::Result<Vec<Manifest>> {
    anyhow::bail!("this build has no demo shop; apply manifests of your own with -f")
}
