//! `HttpConnectionManager` → [`crate::http::HttpConnectionManager`].

use super::{CompileError, Context};
use crate::http::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;

/// What the listener around it is, for filters whose behaviour depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// Which way traffic flows.
    pub direction: crate::listener::Direction,
}

/// Compiles one HTTP connection manager.
pub fn compile(
    _manager: &pb::HttpConnectionManager,
    _around: Around,
    _context: &Context,
) -> Result<HttpConnectionManager, CompileError> {
    Ok(HttpConnectionManager {})
}
