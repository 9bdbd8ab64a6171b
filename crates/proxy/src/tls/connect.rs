//! Starting TLS towards an upstream host.

use crate::connection::TlsInfo;
use crate::stream::Stream;
use std::time::Duration;
use tokio::net::TcpStream;

/// A compiled `UpstreamTlsContext`.
pub struct Connector {}

/// What one connection may ask of a [`Connector`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectRequest<'a> {
    /// Replaces the context's server name (`auto_sni`, or the SNI of the downstream connection).
    pub server_name: Option<&'a str>,
    /// Replaces the context's application protocols (the `istio.alpn` filter), most wanted first.
    pub application_protocols: Option<&'a [&'a [u8]]>,
    /// Longest time for the whole handshake; 10 s when not given.
    pub timeout: Option<Duration>,
}

/// Why TLS could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A certificate or trust bundle the context names has not arrived or does not parse.
    #[error("secret '{name}' is not usable: {reason}")]
    Secret {
        /// The secret's name.
        name: String,
        /// Why it is not usable.
        reason: String,
    },
    /// The handshake failed: the peer refused us, or we could not verify it.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[from] std::io::Error),
    /// The peer did not finish the handshake in time.
    #[error("TLS handshake did not finish within {0:?}")]
    TimedOut(Duration),
    /// The server name is neither a DNS name nor an address.
    #[error("'{0}' is not a server name")]
    ServerName(String),
}

impl Connector {
    /// Runs the handshake over `socket`.
    pub async fn connect(
        &self,
        _socket: TcpStream,
        _request: ConnectRequest<'_>,
    ) -> Result<(Stream, TlsInfo), ConnectError> {
        Err(ConnectError::Secret { name: String::new(), reason: String::new() })
    }
}
