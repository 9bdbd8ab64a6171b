//! Accepting connections. A handshake that drags on holds up nobody and is ended.

use crate::error::ControlError;
use mizzen_base::drain::DrainWatcher;
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
/// Pause after the kernel refused to accept, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `address`.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, ControlError> {
    TcpListener::bind(address).await.map_err(|source| ControlError::Listen { address, source })
}

/// Connections as they come, until the drain starts.
pub(crate) fn plain(listener: TcpListener, mut drain: DrainWatcher) -> ReceiverStream<io::Result<TcpStream>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                stream = accept(&listener) => stream,
                () = drain.started() => return,
            };
            if sender.send(Ok(stream)).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Connections that have done their handshake.
pub(crate) fn tls(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    mut drain: DrainWatcher,
) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
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
                let peer = stream.peer_addr();
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        drop(permit);
                        // Nobody to take it: the server is shutting down.
                        let _ = sender.send(Ok(stream)).await;
                    }
                    Ok(Err(error)) => tracing::debug!(?peer, "TLS handshake failed: {error}"),
                    Err(_) => tracing::debug!(?peer, "TLS handshake took longer than {HANDSHAKE:?}"),
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small messages both ways; an error only costs latency.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!("accepting a connection failed: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
