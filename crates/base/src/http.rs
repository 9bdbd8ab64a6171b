//! Serving HTTP beside the data path: probes, metrics, pages and debug endpoints, with a bound on everything a
//! client controls.

use crate::drain::DrainWatcher;
use crate::prompt::{Ends, Patience, Prompt};
use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use futures::{Stream, StreamExt};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tower::Service;

/// Connections served at a time.
const CONNECTIONS: usize = 512;
/// Longest time for the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// Longest time for a request and the beginning of its answer.
const REQUEST: Duration = Duration::from_secs(30);
/// An HTTP/2 client that is not there any more, or that stopped in the middle of a frame, is noticed this soon.
const PING: Duration = Duration::from_secs(30);
/// Pause after the kernel refused to accept, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address a request came from, in its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub Option<SocketAddr>);

/// The next connection.
pub async fn accept(listener: &TcpListener) -> TcpStream {
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

/// Connections as they come, until the drain starts.
pub fn plain(
    listener: TcpListener,
    mut drain: DrainWatcher,
) -> ReceiverStream<io::Result<Prompt<TcpStream>>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                stream = accept(&listener) => stream,
                () = drain.started() => return,
            };
            let ends = Ends::of(&stream);
            if sender.send(Ok(Prompt::new(stream, ends, Patience::default()))).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Serves `router` on `incoming` until it ends; open requests are finished.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut incoming: impl Stream<Item = io::Result<Prompt<S>>> + Unpin,
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

async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: Prompt<S>,
    router: Router,
    mut drain: DrainWatcher,
) {
    let (Ends { peer, local }, unanswered) = (stream.ends(), stream.unanswered());
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        answer(router.clone(), Peer(peer), request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(64).keep_alive_interval(PING);
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
        let timed_out = error.downcast_ref().is_some_and(is_head_late);
        // A client that keeps its connection open and asks nothing ends the same way, which is no news.
        if timed_out && unanswered.get() {
            tracing::warn!(
                ?peer,
                ?local,
                "a connection was closed: no whole head of a request within {HEAD:?}"
            );
        } else {
            tracing::debug!(?peer, ?local, "an HTTP connection ended with an error: {error}");
        }
    }
}

/// Whether the server gave up waiting for the head of a request.
pub fn is_head_late(error: &hyper::Error) -> bool {
    error.is_timeout() && std::error::Error::source(error).is_none()
}

async fn answer(
    mut router: Router,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    request.extensions_mut().insert(peer);
    let path = request.uri().path().to_owned();
    match tokio::time::timeout(REQUEST, router.call(request.map(Body::new))).await {
        Ok(answer) => answer,
        Err(_) => {
            tracing::warn!(peer = ?peer.0, path, "a request was not received and answered within {REQUEST:?}");
            Ok((StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response())
        }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
