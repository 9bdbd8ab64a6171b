//! Accepting connections. A handshake that drags on holds up nobody and is ended.

use crate::error::ControlError;
use mizzen_base::drain::DrainWatcher;
use mizzen_base::http::accept;
use mizzen_base::prompt::{Ends, Patience, Prompt};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

/// Handshakes going on at a time.
const HANDSHAKES: usize = 256;
/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Listens on `address`.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, ControlError> {
    TcpListener::bind(address).await.map_err(|source| ControlError::Listen { address, source })
}

/// Connections that have done their handshake.
pub(crate) fn tls(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    mut drain: DrainWatcher,
) -> ReceiverStream<io::Result<Prompt<TlsStream<TcpStream>>>> {
    let (sender, receiver) = mpsc::channel(16);
    let acceptor = TlsAcceptor::from(config);
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    tokio::spawn(async move {
        loop {
            // Held while the handshake goes on; waiting for one leaves connections in the backlog.
            let Ok(permit) = handshakes.clone().acquire_owned().await else { return };
            let stream = tokio::select! {
                stream = accept(&listener) => stream,
                () = drain.started() => return,
            };
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                let ends = Ends::of(&stream);
                let Ends { peer, local } = ends;
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        drop(permit);
                        // Nobody to take it: the server is shutting down.
                        let _ = sender.send(Ok(Prompt::new(stream, ends, Patience::default()))).await;
                    }
                    // A client that just goes away says nothing: that is how life is probed.
                    Ok(Err(error)) if error.kind() != io::ErrorKind::InvalidData => {
                        tracing::debug!(?peer, ?local, "TLS handshake failed: {error}");
                    }
                    Ok(Err(error)) => tracing::warn!(?peer, ?local, "TLS handshake failed: {error}"),
                    Err(_) => {
                        tracing::warn!(?peer, ?local, "TLS handshake took longer than {HANDSHAKE:?}");
                    }
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}
