//! Serving HTTP on one accepted connection: which HTTP it is, how long it lives, how it ends.

use super::body::ResponseBody;
use super::connection_manager::{Codec, Connection, HttpConnectionManager};
use super::request;
use crate::connection::Downstream;
use crate::cork::cork;
use crate::stream::Stream;
use crate::telemetry::log_unreadable;
use bytes::Bytes;
use futures::FutureExt as _;
use http::{StatusCode, Version};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// The beginning of every HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest time for a request's head once its first byte is there, unless configured.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Streams a client may open and reset before it is cut off (rapid reset).
const PENDING_RESETS: usize = 100;
const CONCURRENT_STREAMS: u32 = 1024;
/// Headers that hyper takes unless told otherwise; also Envoy's default.
const HYPER_HEADERS: usize = 100;

/// Serves HTTP on an accepted connection until it ends or is drained. `downstream.tls` says which
/// protocol was agreed; plain connections are recognised by the HTTP/2 preface (codec AUTO).
pub async fn serve(stream: Stream, downstream: Rc<Downstream>, manager: Arc<HttpConnectionManager>) {
    let worker = downstream.worker.index;
    let counts = Arc::clone(&manager.counts);
    counts.of(worker).downstream_cx_total.increment();
    counts.of(worker).downstream_cx_active.increment();
    let _closed = scope(|| counts.of(worker).downstream_cx_active.decrement());
    let opened = Instant::now();
    let connection = Connection::new(downstream, manager);
    let mut stream = Observed::new(stream, Arc::clone(&connection.head));
    let Ok(codec) = codec(&connection, &mut stream).await else { return };
    let ended = match codec {
        Codec::Http2 => {
            counts.of(worker).downstream_cx_http2_total.increment();
            serve_http2(stream, &connection).await
        }
        Codec::Auto | Codec::Http1 => {
            counts.of(worker).downstream_cx_http1_total.increment();
            serve_http1(stream, &connection).await
        }
    };
    if let Err(error) = ended {
        if is_unreadable(&error) {
            counts.of(worker).downstream_cx_protocol_error.increment();
            let (version, status) = match codec {
                Codec::Http2 => (Version::HTTP_2, None),
                Codec::Auto | Codec::Http1 => (Version::HTTP_11, Some(told(&error))),
            };
            let (logs, downstream) = (&connection.manager.access_logs, &connection.downstream);
            log_unreadable(logs, downstream, version, status, opened.elapsed());
        }
        tracing::debug!(client = %connection.downstream.peer, "connection ended: {error}");
    }
}

/// Whether a connection ended because of what the client sent on it.
fn is_unreadable(error: &hyper::Error) -> bool {
    let http2 = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_parse() || http2.is_some_and(h2::Error::is_library)
}

/// What hyper has answered to a head that it could not read.
fn told(error: &hyper::Error) -> StatusCode {
    if error.is_parse_too_large() {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    } else {
        StatusCode::BAD_REQUEST
    }
}

/// Runs a function when it is dropped.
fn scope(end: impl FnOnce()) -> impl Drop {
    struct Scope<F: FnOnce()>(Option<F>);
    impl<F: FnOnce()> Drop for Scope<F> {
        fn drop(&mut self) {
            if let Some(end) = self.0.take() {
                end();
            }
        }
    }
    Scope(Some(end))
}

/// Which HTTP the client speaks: what TLS agreed on, else what its first bytes say.
async fn codec(connection: &Connection, stream: &mut Observed) -> io::Result<Codec> {
    let agreed = connection.downstream.tls.as_ref().and_then(|tls| tls.application_protocol.as_deref());
    match (connection.manager.codec, agreed) {
        (Codec::Auto, Some(b"h2" | b"istio-h2")) => return Ok(Codec::Http2),
        (Codec::Auto, Some(b"http/1.1" | b"http/1.0" | b"istio-http/1.1" | b"istio-http/1.0")) => {
            return Ok(Codec::Http1);
        }
        (Codec::Auto, _) => {}
        (configured, _) => return Ok(configured),
    }
    let wait = connection.manager.timeouts.idle.unwrap_or(Duration::from_secs(3600));
    let mut seen = Vec::with_capacity(PREFACE.len());
    let look = async {
        while seen.len() < PREFACE.len() && PREFACE.starts_with(&seen) {
            let mut buffer = [0; PREFACE.len()];
            let room = PREFACE.len() - seen.len();
            let Some(space) = buffer.get_mut(..room) else { break };
            let count = stream.read(space).await?;
            if count == 0 {
                break;
            }
            seen.extend_from_slice(space.get(..count).unwrap_or_default());
        }
        io::Result::Ok(())
    };
    tokio::time::timeout(wait, look).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let codec = if seen == PREFACE { Codec::Http2 } else { Codec::Http1 };
    stream.unread(Bytes::from(seen));
    Ok(codec)
}

async fn serve_http1(stream: Observed, connection: &Rc<Connection>) -> hyper::Result<()> {
    let manager = &connection.manager;
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(manager.max_header_bytes.max(8 * 1024))
        .preserve_header_case(manager.http1.preserve_case)
        .title_case_headers(manager.http1.proper_case)
        .timer(TokioTimer::new())
        .header_read_timeout(None);
    if manager.max_headers != HYPER_HEADERS {
        // Costs an allocation for each request, so only where it says something new.
        builder.max_headers(manager.max_headers);
    }
    let handler = Rc::clone(connection);
    let service = service_fn(move |request| answer(Rc::clone(&handler), request));
    let served = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut served = pin!(served);
    let mut life = Life::new(connection);
    loop {
        tokio::select! {
            biased;
            ended = served.as_mut() => return ended,
            end = life.over() => match end {
                End::Gracefully => served.as_mut().graceful_shutdown(),
                End::AtOnce => return Ok(()),
            }
        }
    }
}

async fn serve_http2(stream: Observed, connection: &Rc<Connection>) -> hyper::Result<()> {
    let manager = &connection.manager;
    let options = &manager.http2;
    let mut builder = http2::Builder::new(Local);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_concurrent_streams.unwrap_or(CONCURRENT_STREAMS))
        .initial_stream_window_size(options.stream_window.unwrap_or(STREAM_WINDOW))
        .initial_connection_window_size(options.connection_window.unwrap_or(CONNECTION_WINDOW))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_header_list_size(u32::try_from(manager.max_header_bytes).unwrap_or(u32::MAX));
    if let Some((interval, timeout)) = options.keepalive {
        builder.keep_alive_interval(interval).keep_alive_timeout(timeout);
    }
    let handler = Rc::clone(connection);
    let service = service_fn(move |request| answer(Rc::clone(&handler), request));
    let (stream, cork) = cork(stream);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let mut life = Life::new(connection);
    loop {
        tokio::select! {
            biased;
            ended = poll_fn(|context| cork.turn(served.as_mut(), context)) => return ended,
            end = life.over() => match end {
                End::Gracefully => served.as_mut().graceful_shutdown(),
                End::AtOnce => return Ok(()),
            }
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<hyper::Response<ResponseBody>, Infallible>>>>;

/// One request. Boxed, so that an idle connection does not hold room for it.
fn answer(connection: Rc<Connection>, request: hyper::Request<Incoming>) -> Answer {
    Box::pin(request::answer(connection, request).map(Ok))
}

/// Runs the streams of an HTTP/2 connection on the worker that accepted it.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F> Executor<F> for Local
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// How a connection is ended.
enum End {
    /// What runs may finish; nothing new is taken.
    Gracefully,
    /// Now.
    AtOnce,
}

/// Watches for the reasons a connection ends that are not in its bytes: drain, idleness, age, a
/// request's head that does not come to its end.
struct Life<'a> {
    connection: &'a Connection,
    drain: mizzen_base::drain::DrainWatcher,
    told: bool,
    opened: Instant,
}

impl<'a> Life<'a> {
    fn new(connection: &'a Connection) -> Self {
        let drain = connection.downstream.drain.clone();
        Self { connection, drain, told: false, opened: Instant::now() }
    }

    async fn over(&mut self) -> End {
        loop {
            let (at, end) = self.next_limit();
            let now = Instant::now();
            if at <= now {
                if matches!(end, End::Gracefully) {
                    self.told = true;
                    self.count_idle();
                }
                return end;
            }
            let told = self.told;
            tokio::select! {
                () = self.drain.started(), if !told => {
                    self.told = true;
                    let manager = &self.connection.manager;
                    manager.counts.of(self.connection.downstream.worker.index).downstream_cx_drain_close.increment();
                    return End::Gracefully;
                }
                () = self.connection.close_asked(), if !told => {
                    self.told = true;
                    return End::Gracefully;
                }
                () = tokio::time::sleep_until(at.into()) => {}
            }
        }
    }

    fn count_idle(&self) {
        if self.connection.active.get() == 0 {
            let counts = self.connection.manager.counts.of(self.connection.downstream.worker.index);
            counts.downstream_cx_idle_timeout.increment();
        }
    }

    /// When to look again, and what it means when nothing has changed until then.
    fn next_limit(&self) -> (Instant, End) {
        let timeouts = &self.connection.manager.timeouts;
        let far = Instant::now() + Duration::from_secs(3600);
        let busy = self.connection.active.get() > 0;
        let mut next = (far, End::Gracefully);
        let mut consider = |at: Instant, end: End| {
            if at < next.0 {
                next = (at, end);
            }
        };
        if let Some(limit) = timeouts.max_connection.filter(|_| !self.told) {
            consider(self.opened + limit, End::Gracefully);
        }
        if let Some(limit) = timeouts.idle {
            let idle_since = if busy { Instant::now() } else { self.connection.idle_since.get() };
            let end = if self.told { End::AtOnce } else { End::Gracefully };
            consider(idle_since + limit, end);
        }
        let began = self.connection.head.load(Ordering::Relaxed);
        let limit = timeouts.request_headers.unwrap_or(HEAD_TIMEOUT);
        if busy || began == 0 {
            // A head could begin to arrive just now, so this is when to look again.
            consider(Instant::now() + limit, End::Gracefully);
        } else {
            consider(self.opened + Duration::from_millis(began) + limit, End::AtOnce);
        }
        next
    }
}

/// A stream that remembers when the head of a request began to arrive, and gives back what was read
/// to recognise the protocol.
struct Observed {
    prefix: Bytes,
    stream: Stream,
    opened: Instant,
    /// Milliseconds after `opened` at which the first byte since the last request arrived; 0 is not
    /// yet.
    head: Arc<AtomicU64>,
}

impl Observed {
    fn new(stream: Stream, head: Arc<AtomicU64>) -> Self {
        Self { prefix: Bytes::new(), stream, opened: Instant::now(), head }
    }

    fn unread(&mut self, bytes: Bytes) {
        self.prefix = bytes;
    }
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let count = self.prefix.len().min(buffer.remaining());
            buffer.put_slice(&self.prefix.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_ready() && buffer.filled().len() > before && self.head.load(Ordering::Relaxed) == 0 {
            let milliseconds = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.head.store(milliseconds.max(1), Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Observed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
