//! Starting and holding a proxy.

use crate::tls::SecretSource;
use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use std::net::SocketAddr;
use std::time::Duration;

/// How to start a proxy.
pub struct ProxyConfig {
    /// The Envoy bootstrap: node, admin, static and dynamic resources.
    pub bootstrap: Bootstrap,
    /// Number of workers; 0 means one a core.
    pub concurrency: usize,
    /// Gives the secrets `default` and `ROOTCA` in process, whatever their `sds_config` says.
    pub secrets: Option<SecretSource>,
    /// Changes the log filter of the process, for `/logging`.
    pub logging: Option<mizzen_base::logging::LevelHandle>,
}

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The bootstrap says something this proxy does not honour.
    #[error("bootstrap: {0}")]
    Bootstrap(#[from] crate::compile::CompileError),
    /// A socket could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A thread or runtime could not be made.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] std::io::Error),
}

/// Starts proxies.
pub struct Proxy;

/// A running proxy. Dropping it ends it at once; see [`ProxyHandle::drain`] for the graceful way.
pub struct ProxyHandle {}

impl Proxy {
    /// Starts workers, admin port and configuration. Returns once static listeners are bound; see
    /// [`ProxyHandle::ready`] for the rest.
    pub fn start(_config: ProxyConfig) -> Result<ProxyHandle, StartError> {
        Ok(ProxyHandle {})
    }
}

impl ProxyHandle {
    /// Resolves when all initial configuration is in force (Envoy's state LIVE).
    pub async fn ready(&self) {}

    /// Whether all initial configuration is in force.
    pub fn is_ready(&self) -> bool {
        false
    }

    /// Stops accepting, asks open connections to finish (GOAWAY, `Connection: close`), and waits
    /// until none is left, at most `deadline`. Returns whether all finished.
    pub async fn drain(&self, _deadline: Duration) -> bool {
        true
    }

    /// Connections open now.
    pub fn active_connections(&self) -> u64 {
        0
    }

    /// All metrics in Prometheus's text format.
    pub fn prometheus(&self) -> String {
        String::new()
    }

    /// The admin port's address, with the port it was given when the bootstrap asked for port 0.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        None
    }

    /// The addresses a listener is bound to; empty when it does not exist or is not bound.
    pub fn listener_addresses(&self, _name: &str) -> Vec<SocketAddr> {
        Vec::new()
    }

    /// Ends at once.
    pub fn shutdown(self) {}
}
