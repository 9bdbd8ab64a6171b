//! From an accepted socket to the filter chain that serves it.

use crate::http::HttpConnectionManager;
use crate::tcp::TcpProxy;
use crate::tls::Acceptor;
use envoy_types::pb::envoy::config::core::v3::Metadata;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Which way traffic flows through a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Not said: a gateway, or a plain proxy.
    Unspecified,
    /// Towards the workload beside this proxy.
    Inbound,
    /// From the workload beside this proxy.
    Outbound,
}

/// A compiled listener.
pub struct Listener {
    /// The resource's name.
    pub name: Arc<str>,
    /// Addresses it binds, or stands for when `bind_to_port` is false.
    pub addresses: Vec<SocketAddr>,
    /// Prefix of its statistics, for example `0.0.0.0_15006`.
    pub stat_prefix: Arc<str>,
    /// Which way traffic flows.
    pub direction: Direction,
    /// The resource's metadata.
    pub metadata: Option<Arc<Metadata>>,
    /// False for listeners that are only reached by a hand-over from one with `use_original_dst`.
    pub bind_to_port: bool,
    /// Hands connections to the listener that matches their original destination.
    pub use_original_dst: bool,
}

/// A compiled filter chain.
pub struct FilterChain {
    /// The chain's name; empty when it has none.
    pub name: Arc<str>,
    /// The chain's metadata.
    pub metadata: Option<Arc<Metadata>>,
    /// Terminates TLS, when the chain has a TLS transport socket.
    pub tls: Option<Acceptor>,
    /// Longest time for TLS: 15 s unless the chain says otherwise.
    pub handshake_timeout: Duration,
    /// What serves the connection.
    pub network: Network,
}

/// The end of a filter chain.
pub enum Network {
    /// HTTP.
    Http(Arc<HttpConnectionManager>),
    /// Bytes as they are.
    Tcp(Arc<TcpProxy>),
}
