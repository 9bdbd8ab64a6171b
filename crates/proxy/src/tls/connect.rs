//! Starting TLS towards an upstream host.

use super::session;
use crate::connection::TlsInfo;
use crate::stream::{Prefixed, Stream};
use bytes::Bytes;
use mizzen_identity::SecretError;
use mizzen_identity::tls::{ClientSettings, TlsError};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The longest handshake when nothing else is said.
pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A compiled `UpstreamTlsContext`. Cheap to hold by the thousand: certificates and roots are shared
/// through their secrets.
pub struct Connector {
    settings: ClientSettings,
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

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
    #[error(transparent)]
    Secret(#[from] SecretError),
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
    /// Builds the configuration; secrets may arrive later. An empty `server_name` sends none.
    pub fn new(settings: ClientSettings, server_name: &str) -> Result<Self, NewError> {
        let server_name = match server_name {
            "" => None,
            name => Some(
                ServerName::try_from(name.to_owned()).map_err(|_| NewError::ServerName(name.to_owned()))?,
            ),
        };
        Ok(Self { config: settings.build()?, settings, server_name })
    }

    /// Whether every secret a handshake needs is there; the reason otherwise.
    pub fn usable(&self) -> Result<(), SecretError> {
        self.settings.usable()
    }

    /// The protocols it offers unless a request says otherwise.
    pub fn application_protocols(&self) -> &[Vec<u8>] {
        &self.settings.application_protocols
    }

    /// Runs the handshake over `socket`.
    pub async fn connect(
        &self,
        socket: TcpStream,
        request: ConnectRequest<'_>,
    ) -> Result<(Stream, TlsInfo), ConnectError> {
        self.usable()?;
        let server_name = match (request.server_name, &self.server_name) {
            (Some(name), _) => ServerName::try_from(name.to_owned())
                .map_err(|_| ConnectError::ServerName(name.to_owned()))?,
            (None, Some(name)) => name.clone(),
            // An address is verified as such and never sent as SNI (RFC 6066 §3).
            (None, None) => ServerName::IpAddress(socket.peer_addr()?.ip().to_canonical().into()),
        };
        let stream = Prefixed::new(Bytes::new(), socket).reading_ahead();
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let handshake = match request.application_protocols {
            Some(protocols) => {
                let protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
                connector.with_alpn(protocols).connect(server_name, stream)
            }
            None => connector.connect(server_name, stream),
        };
        let longest = request.timeout.unwrap_or(DEFAULT_HANDSHAKE_TIMEOUT);
        let stream = timeout(longest, handshake).await.map_err(|_| ConnectError::TimedOut(longest))??;
        let mut info = session(stream.get_ref().1);
        if let Some(credential) = self.settings.certificate.as_ref().and_then(|slot| slot.credential().ok()) {
            info.local = credential.leaf().cloned();
        }
        Ok((Stream::Client(Box::new(stream)), info))
    }
}

/// Why a connector cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The server name is neither a DNS name nor an address.
    #[error("'{0}' is not a server name")]
    ServerName(String),
    /// rustls refuses the settings.
    #[error(transparent)]
    Tls(#[from] TlsError),
}
