//! Why the control plane cannot run.

use std::net::SocketAddr;

/// A reason to stop.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No configuration for the API was found.
    #[error("no access to a Kubernetes API: {0}; run in a pod, or give --kubeconfig")]
    Access(String),
    /// The API refuses or does not answer.
    #[error("the Kubernetes API: {0}")]
    Api(#[from] kube::Error),
    /// A port is taken or not allowed.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The authority's Secret is not usable.
    #[error("the certificate authority in Secret {secret}: {source}")]
    Authority {
        /// Which Secret.
        secret: &'static str,
        /// What is wrong with it.
        source: mizzen_identity::ca::MaterialError,
    },
    /// No certificate for ourselves.
    #[error("no serving certificate: {0}")]
    Certificate(String),
    /// TLS refuses its configuration.
    #[error(transparent)]
    Tls(#[from] mizzen_identity::tls::TlsError),
    /// The watches have ended, which they never should.
    #[error("the watches on the API have ended")]
    WatchesEnded,
}
