//! `RouteConfiguration` → [`RouteTable`].

use super::{CompileError, Context};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;

/// A compiled route configuration.
pub struct RouteTable {}

/// Compiles one route configuration; `previous` is what served under this name, so that parts that
/// did not change can be shared.
pub fn compile(
    _routes: &RouteConfiguration,
    _previous: Option<&RouteTable>,
    _context: &Context,
) -> Result<RouteTable, CompileError> {
    Ok(RouteTable {})
}
