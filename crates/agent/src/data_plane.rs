//! What carries the traffic beside the agent: the built-in proxy in this process, or stock Envoy in one of its own.

use crate::envoy::{Envoy, EnvoyError};
use mizzen_proxy::ProxyHandle;
use std::time::Duration;

/// A running data plane.
pub(crate) enum DataPlane {
    /// In this process.
    BuiltIn(ProxyHandle),
    /// Stock Envoy, where the proxy configuration names its program.
    Envoy(Envoy),
}

impl DataPlane {
    /// Waits until it has its configuration and listens.
    pub(crate) async fn ready(&self) {
        match self {
            Self::BuiltIn(proxy) => proxy.ready().await,
            Self::Envoy(envoy) => envoy.ready().await,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::BuiltIn(proxy) => proxy.is_ready(),
            Self::Envoy(envoy) => envoy.is_ready(),
        }
    }

    /// Its metrics in Prometheus's text format. None while Envoy does not answer.
    pub(crate) async fn prometheus(&self) -> String {
        match self {
            Self::BuiltIn(proxy) => proxy.prometheus(),
            Self::Envoy(envoy) => envoy.prometheus().await,
        }
    }

    /// Ends when the data plane has ended without being asked to, and says how.
    pub(crate) async fn ended(&self) -> EnvoyError {
        match self {
            // It ends with this process.
            Self::BuiltIn(_) => std::future::pending().await,
            Self::Envoy(envoy) => envoy.ended().await,
        }
    }

    /// Accepts nothing more and lets open connections finish until `deadline` has passed.
    pub(crate) async fn drain(&self, deadline: Duration) {
        match self {
            Self::BuiltIn(proxy) => {
                tracing::info!(connections = proxy.active_connections(), ?deadline, "draining");
                if !proxy.drain(deadline).await {
                    let left = proxy.active_connections();
                    tracing::warn!(
                        left,
                        "connections were still open at the end of the drain and are closed now"
                    );
                }
            }
            Self::Envoy(envoy) => envoy.drain(deadline).await,
        }
    }
}
