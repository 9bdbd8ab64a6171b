//! Terminating TLS of a downstream connection.

/// A compiled `DownstreamTlsContext`.
pub struct Acceptor {}

/// Why TLS could not be accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// A certificate or trust bundle the context names has not arrived or does not parse.
    #[error("secret '{name}' is not usable: {reason}")]
    Secret {
        /// The secret's name.
        name: String,
        /// Why it is not usable.
        reason: String,
    },
    /// The handshake failed.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[from] std::io::Error),
}
