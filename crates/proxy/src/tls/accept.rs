//! Terminating TLS of a downstream connection.

use super::session;
use crate::connection::TlsInfo;
use crate::stream::{Prefixed, Stream};
use mizzen_identity::SecretError;
use mizzen_identity::tls::{ServerSettings, TlsError};
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;

/// A compiled `DownstreamTlsContext`.
pub struct Acceptor {
    settings: ServerSettings,
    config: Arc<ServerConfig>,
    /// For clients that offer only protocols we do not have: as Envoy, go on without one.
    config_without_protocols: Arc<ServerConfig>,
    require_server_name: bool,
}

/// Why TLS could not be accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// A certificate or trust bundle the context names has not arrived or does not parse.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The handshake failed: broken bytes, no common version, or a peer we cannot verify.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[from] std::io::Error),
    /// The client did not finish the handshake in time.
    #[error("TLS handshake did not finish within {0:?}")]
    TimedOut(Duration),
    /// The context requires a server name and the client gave none.
    #[error("the client gave no server name (SNI), which this filter chain requires")]
    NoServerName,
}

impl AcceptError {
    /// Whether the client has just gone away.
    pub fn is_departure(&self) -> bool {
        matches!(self, Self::Handshake(error) if error.kind() != std::io::ErrorKind::InvalidData)
    }
}

impl Acceptor {
    /// Builds the configurations; secrets may arrive later.
    pub fn new(settings: ServerSettings, require_server_name: bool) -> Result<Self, TlsError> {
        let without = ServerSettings { application_protocols: Vec::new(), ..settings.clone() };
        Ok(Self {
            config: settings.build()?,
            config_without_protocols: without.build()?,
            settings,
            require_server_name,
        })
    }

    /// Whether every secret a handshake needs is there; the reason otherwise.
    pub fn usable(&self) -> Result<(), SecretError> {
        self.settings.usable()
    }

    /// Runs the handshake.
    pub async fn accept(
        &self,
        stream: Prefixed,
        longest: Duration,
    ) -> Result<(Stream, TlsInfo), AcceptError> {
        // Asked before the handshake so that the log names the secret; the handshake itself then
        // fails with an alert, which is what the client should see.
        let usable = self.settings.usable();
        let handshake = timeout(longest, self.handshake(stream)).await;
        match (usable, handshake) {
            (_, Ok(Ok(accepted))) => Ok(accepted),
            (Err(error), _) => Err(error.into()),
            (Ok(()), Ok(Err(error))) => Err(error),
            (Ok(()), Err(_)) => Err(AcceptError::TimedOut(longest)),
        }
    }

    async fn handshake(&self, stream: Prefixed) -> Result<(Stream, TlsInfo), AcceptError> {
        let start =
            LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream.reading_ahead()).await?;
        let config = {
            let hello = start.client_hello();
            if self.require_server_name && hello.server_name().is_none() {
                return Err(AcceptError::NoServerName);
            }
            let offers_one_of_ours = match hello.alpn() {
                Some(mut offered) => {
                    offered.any(|name| self.settings.application_protocols.iter().any(|ours| ours == name))
                }
                None => true,
            };
            if offers_one_of_ours { &self.config } else { &self.config_without_protocols }
        };
        let stream = start.into_stream(Arc::clone(config)).await?;
        let mut info = session(stream.get_ref().1);
        info.local = self
            .settings
            .certificates
            .iter()
            .find_map(|slot| slot.credential().ok())
            .and_then(|credential| credential.leaf().cloned());
        Ok((Stream::Server(Box::new(stream)), info))
    }
}
