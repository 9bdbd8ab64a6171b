//! HTTP: webhooks, metrics and debug endpoints, with a bound on everything a client controls.

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use futures::{Stream, StreamExt};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use mizzen_base::drain::DrainWatcher;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;
use tonic::codegen::Service;

/// Connections served at a time.
const CONNECTIONS: usize = 512;
/// Longest time for the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// Longest time for a request and its answer.
const REQUEST: Duration = Duration::from_secs(30);

/// The address a request came from, in its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) Option<SocketAddr>);

/// A stream that knows where it comes from.
pub(crate) trait FromPeer: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn peer(&self) -> Peer;
}

impl FromPeer for TcpStream {
    fn peer(&self) -> Peer {
        Peer(self.peer_addr().ok())
    }
}

impl FromPeer for TlsStream<TcpStream> {
    fn peer(&self) -> Peer {
        self.get_ref().0.peer()
    }
}

/// Serves `router` on `incoming` until it ends; open requests are finished.
pub(crate) async fn serve<I: FromPeer>(
    mut incoming: impl Stream<Item = io::Result<I>> + Unpin,
    router: Router,
    drain: DrainWatcher,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let Some(Ok(stream)) = incoming.next().await else { return };
        let (router, drain) = (router.clone(), drain.clone());
        tokio::spawn(async move {
            serve_connection(stream, router, drain).await;
            drop(permit);
        });
    }
}

async fn serve_connection<I: FromPeer>(stream: I, router: Router, mut drain: DrainWatcher) {
    let peer = stream.peer();
    let service =
        hyper::service::service_fn(move |request: Request<Incoming>| answer(router.clone(), peer, request));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(64);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.started() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = ?peer.0, "an HTTP connection ended with an error: {error}");
    }
}

async fn answer(
    mut router: Router,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    request.extensions_mut().insert(peer);
    match tokio::time::timeout(REQUEST, router.call(request.map(Body::new))).await {
        Ok(answer) => answer,
        Err(_) => Ok((StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response()),
    }
}
