//! `Cluster` and `ClusterLoadAssignment` → [`Cluster`].

use super::{CompileError, Context};
use crate::upstream::Cluster;
use envoy_types::pb::envoy::config::cluster::v3 as pb;
use std::sync::Arc;

/// Compiles one cluster; `previous` is what served under this name, whose endpoint state (ejections,
/// pools) is carried over where the endpoints are the same.
pub fn compile(
    _cluster: &pb::Cluster,
    _previous: Option<&Arc<Cluster>>,
    _context: &Context,
) -> Result<Cluster, CompileError> {
    Ok(Cluster {})
}
