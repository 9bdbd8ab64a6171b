//! What the transport asks of whoever has the resources.

use crate::{Resource, TypeUrl};
use envoy_types::pb::envoy::config::core::v3::Node;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// Which resources of a type are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// All that this client may see.
    Everything,
    /// These, as far as they exist.
    Named(&'a [Arc<str>]),
}

/// Accepts clients.
pub trait Source: Send + Sync + 'static {
    /// What is kept for a client as long as its stream lives.
    type Session: Session;

    /// A client has sent its first request. `extensions` are those of the gRPC request: whatever an
    /// authenticating layer put there. Refusing ends the stream with the given status.
    fn connect(&self, node: &Node, extensions: &http::Extensions) -> Result<Self::Session, Status>;
}

/// The resources of one client. Dropped when the stream ends.
pub trait Session: Send + Sync + 'static {
    /// The present state of the selected resources. A named resource that is missing from the
    /// answer does not exist for this client. Called on the connection's task: it must not block
    /// on I/O, and should find its answer prepared.
    fn resources(&self, type_url: TypeUrl, selection: Selection<'_>) -> Vec<Resource>;

    /// Whether the client, sent a cluster again, waits to be sent its endpoints again, changed or not. Stock Envoy does,
    /// and acknowledges no clusters before. Source: Envoy's documentation of the xDS protocol, "resource warming".
    fn warms_clusters_again(&self) -> bool {
        false
    }

    /// A response has been handed to the transport.
    fn sent(&self, _type_url: TypeUrl, _resources: usize, _bytes: usize) {}

    /// The client has taken a response over, `elapsed` after it was sent.
    fn acknowledged(&self, _type_url: TypeUrl, _elapsed: Duration) {}

    /// The client has refused a response and keeps what it had.
    fn refused(&self, _type_url: TypeUrl, _detail: &str) {}

    /// The client has everything up to the newest change it was told of; `elapsed` since the
    /// oldest change it had not yet taken over.
    fn converged(&self, _elapsed: Duration) {}
}
