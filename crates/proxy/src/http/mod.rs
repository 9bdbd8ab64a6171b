//! The HTTP data path: one connection, its requests, and the filters over them.

use crate::connection::Downstream;
use crate::stream::Stream;
use std::rc::Rc;
use std::sync::Arc;

/// A compiled `envoy.filters.network.http_connection_manager`.
pub struct HttpConnectionManager {}

impl HttpConnectionManager {
    /// The route configuration it takes from RDS, when its routes are not inline. The listener is
    /// warm once this has arrived.
    pub fn route_config_name(&self) -> Option<&Arc<str>> {
        None
    }
}

/// Serves HTTP on an accepted connection until it ends or is drained. `downstream.tls` says which
/// protocol was agreed; plain connections are recognised by the HTTP/2 preface (codec AUTO).
pub async fn serve(_stream: Stream, _downstream: Rc<Downstream>, _manager: Arc<HttpConnectionManager>) {}
