//! The server all applications share: on one port it tells HTTP/1.1 and HTTP/2 from anything else,
//! bounds what it takes, and ends gracefully.

use crate::WorkloadError;
use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use mizzen_base::drain::{self, DrainWatcher};
use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

/// Open connections of one process; more wait to be accepted.
const MOST_CONNECTIONS: usize = 16_384;
/// How long a client may take to say its first word, and to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long open requests get at the end, well within Kubernetes' 30 seconds.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Any error of a body.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A whole body from memory.
pub fn full(data: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(data.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// What a request came over.
#[derive(Clone)]
pub struct Connection {
    pub peer: SocketAddr,
    /// Notified to end the connection gracefully after the requests it has.
    pub close: Arc<Notify>,
    /// Held by whatever outlives its request, such as a WebSocket.
    pub drain: DrainWatcher,
}

/// A connection that does not speak HTTP, with what was already read of it in front.
pub type RawStream = Rewound<TcpStream>;

/// What answers.
pub trait Application: Send + Sync + 'static {
    /// Answers one request.
    fn answer(
        &self,
        request: Request<Incoming>,
        connection: Connection,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// Serves a connection that does not begin with HTTP. Closes it unless overridden.
    fn raw(&self, stream: RawStream, connection: Connection) -> impl Future<Output = ()> + Send {
        drop((stream, connection));
        async {}
    }

    /// Whether the server speaks first, so that there is nothing to recognise.
    fn speaks_first(&self) -> bool {
        false
    }
}

/// Binds all `ports` on every IPv4 address.
pub async fn bind(ports: &[u16]) -> Result<Vec<TcpListener>, WorkloadError> {
    let mut listeners = Vec::with_capacity(ports.len());
    for port in ports {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
        let listener =
            TcpListener::bind(address).await.map_err(|source| WorkloadError::Listen { address, source })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Serves until SIGTERM or SIGINT, then lets open requests finish.
pub async fn run<A: Application>(ports: &[u16], application: A) -> Result<(), WorkloadError> {
    let listeners = bind(ports).await?;
    let mut terminate = signal(SignalKind::terminate()).map_err(WorkloadError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(WorkloadError::Signals)?;
    let (trigger, watcher) = drain::channel();
    let application = Arc::new(application);
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(serve(listener, application.clone(), watcher.clone())))
        .collect();
    drop(watcher);
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    if !trigger.drain(DRAIN_DEADLINE).await {
        tracing::warn!("some requests did not finish in {DRAIN_DEADLINE:?} and are cut off");
    }
    for task in accepting {
        task.abort();
    }
    Ok(())
}

/// Accepts connections until the drain starts.
pub async fn serve<A: Application>(listener: TcpListener, application: Arc<A>, mut drain: DrainWatcher) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.started() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let application = application.clone();
        let connection = Connection { peer, close: Arc::default(), drain: drain.clone() };
        tokio::spawn(async move {
            serve_connection(stream, application, connection).await;
            drop(place);
        });
    }
}

async fn serve_connection<A: Application>(
    mut stream: TcpStream,
    application: Arc<A>,
    mut connection: Connection,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    if application.speaks_first() {
        return application.raw(Rewound::new(Bytes::new(), stream), connection).await;
    }
    let first = tokio::select! {
        first = timeout(HEAD_TIMEOUT, first_words(&mut stream)) => first,
        // Nothing was asked yet, so nothing is lost.
        () = connection.drain.started() => return,
    };
    let Ok(Ok((prefix, speech))) = first else { return };
    let stream = Rewound::new(prefix, stream);
    match speech {
        Speech::Http => serve_http(stream, application, connection).await,
        Speech::Other => application.raw(stream, connection).await,
    }
}

async fn serve_http<A: Application>(stream: RawStream, application: Arc<A>, connection: Connection) {
    let (close, mut drain, peer) = (connection.close.clone(), connection.drain.clone(), connection.peer);
    let service = service_fn(move |request| {
        let (application, connection) = (application.clone(), connection.clone());
        async move { Ok::<_, Infallible>(application.answer(request, connection).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1000);
    let mut serving = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut ending = false;
    loop {
        tokio::select! {
            outcome = serving.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, %peer, "a connection ended early");
                }
                return;
            }
            () = drain.started(), if !ending => {}
            () = close.notified(), if !ending => {}
        }
        ending = true;
        serving.as_mut().graceful_shutdown();
    }
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Http,
    Other,
}

/// The methods of RFC 9110 and RFC 5789, and how HTTP/2 begins (RFC 9113, 3.4).
const BEGINNINGS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI * HTTP/2.0\r\n",
];

/// What the first bytes say; `None` when more are needed.
fn recognise(bytes: &[u8]) -> Option<Speech> {
    if BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning)) {
        return Some(Speech::Http);
    }
    let undecided = BEGINNINGS.iter().any(|beginning| beginning.starts_with(bytes));
    (!undecided).then_some(Speech::Other)
}

async fn first_words(stream: &mut TcpStream) -> std::io::Result<(Bytes, Speech)> {
    let mut read = BytesMut::with_capacity(1024);
    loop {
        let count = stream.read_buf(&mut read).await?;
        match recognise(&read) {
            Some(speech) => return Ok((read.freeze(), speech)),
            None if count == 0 => return Ok((read.freeze(), Speech::Other)),
            None => {}
        }
    }
}

/// A stream with bytes put back in front.
pub struct Rewound<S> {
    front: Bytes,
    inner: S,
}

impl<S> Rewound<S> {
    /// `front` is read before anything of `inner`.
    pub fn new(front: Bytes, inner: S) -> Self {
        Self { front, inner }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.front.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let count = self.front.len().min(buffer.remaining());
        buffer.put_slice(&self.front[..count]);
        self.front.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
