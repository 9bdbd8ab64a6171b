//! Serving HTTP on one accepted connection: which HTTP it is, how long it lives, how it ends.

use super::body::ResponseBody;
use super::connection_manager::{Codec, Connection, HttpConnectionManager};
use super::life::{End, Life};
use super::observed::Observed;
use super::request;
use crate::connection::Downstream;
use crate::cork::cork;
use crate::stream::Stream;
use crate::telemetry::{Unreadable, log_unreadable};
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
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{timeout, timeout_at};

/// The beginning of every HTTP/2 connection (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a client is told whose request's head did not come to its end in time.
const HEAD_LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\ncontent-length: 22\r\n\
    connection: close\r\n\r\nrequest header timeout";
/// Longest time for telling it; its socket's buffer is empty, so that this is to pass only when it is not there.
const FAREWELL: Duration = Duration::from_secs(1);
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
    let mut stream = Observed::new(stream, Arc::clone(&connection.seen));
    let codec = match codec(&connection, &mut stream).await {
        Ok(codec) => codec,
        Err(ended) => return connection.ended(Codec::Auto, &ended, opened.elapsed()),
    };
    let ended = match codec {
        Codec::Http2 => {
            counts.of(worker).downstream_cx_http2_total.increment();
            stream.speaks_http2();
            Box::pin(serve_http2(stream, &connection)).await
        }
        Codec::Auto | Codec::Http1 => {
            counts.of(worker).downstream_cx_http1_total.increment();
            serve_http1(stream, &connection).await
        }
    };
    if let Err(ended) = ended {
        connection.ended(codec, &ended, opened.elapsed());
    }
}

/// How a connection ended that did not end well.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Broken(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the client has sent nothing")]
    Silent,
    #[error("the head of a request did not come to its end in time")]
    HeadLate,
    #[error("the client does not take its response")]
    Untaken,
}

impl Connection {
    /// Counts and logs the end of a connection.
    fn ended(&self, codec: Codec, ended: &Ended, duration: Duration) {
        let counts = self.manager.counts.of(self.downstream.worker.index);
        let version = if codec == Codec::Http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        let unreadable = match ended {
            Ended::Http(error) if is_unreadable(error) => {
                counts.downstream_cx_protocol_error.increment();
                let status = (version == Version::HTTP_11).then(|| told(error));
                Some((Unreadable::Broken, status))
            }
            Ended::HeadLate => {
                counts.downstream_rq_header_timeout.increment();
                let status = (codec == Codec::Http1).then_some(StatusCode::REQUEST_TIMEOUT);
                Some((Unreadable::Late, status))
            }
            Ended::Silent => {
                counts.downstream_cx_idle_timeout.increment();
                None
            }
            // The requests on it tell of it.
            Ended::Untaken | Ended::Broken(_) | Ended::Http(_) => None,
        };
        if let Some((what, status)) = unreadable {
            log_unreadable(&self.manager.access_logs, &self.downstream, what, version, status, duration);
        }
        tracing::debug!(client = %self.downstream.peer, "connection ended: {ended}");
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
async fn codec(connection: &Connection, stream: &mut Observed) -> Result<Codec, Ended> {
    let agreed = connection.downstream.tls.as_ref().and_then(|tls| tls.application_protocol.as_deref());
    match (connection.manager.codec, agreed) {
        (Codec::Auto, Some(b"h2" | b"istio-h2")) => return Ok(Codec::Http2),
        (Codec::Auto, Some(b"http/1.1" | b"http/1.0" | b"istio-http/1.1" | b"istio-http/1.0")) => {
            return Ok(Codec::Http1);
        }
        (Codec::Auto, _) => {}
        (configured, _) => return Ok(configured),
    }
    let timeouts = &connection.manager.timeouts;
    let mut due = tokio::time::Instant::now() + timeouts.idle.unwrap_or(Duration::from_secs(3600));
    let mut seen = Vec::with_capacity(PREFACE.len());
    while seen.len() < PREFACE.len() && PREFACE.starts_with(&seen) {
        let mut buffer = [0; PREFACE.len()];
        let room = PREFACE.len() - seen.len();
        let Some(space) = buffer.get_mut(..room) else { break };
        let count = match timeout_at(due, stream.read(space)).await {
            Ok(count) => count?,
            Err(_) if seen.is_empty() => return Err(Ended::Silent),
            Err(_) => return Err(Ended::HeadLate),
        };
        if count == 0 {
            break;
        }
        if seen.is_empty() {
            due = tokio::time::Instant::now() + timeouts.head();
        }
        seen.extend_from_slice(space.get(..count).unwrap_or_default());
    }
    let codec = if seen == PREFACE { Codec::Http2 } else { Codec::Http1 };
    stream.unread(Bytes::from(seen));
    Ok(codec)
}

/// Serves HTTP/1, and holds no memory for it while nothing is asked: hyper's buffers are most of what an idle
/// connection would cost.
async fn serve_http1(mut stream: Observed, connection: &Rc<Connection>) -> Result<(), Ended> {
    let mut life = Life::new(connection);
    loop {
        life.rests = true;
        // Boxed, so that it goes while the connection rests.
        match Box::pin(serve_busy(stream, connection, &mut life)).await? {
            Some(resting) => stream = resting,
            None => return Ok(()),
        }
        life.rests = false;
        tokio::select! {
            biased;
            readable = stream.readable() => readable?,
            _ = life.over() => {
                // Over TLS the client is told that it is the end.
                let _ = Box::pin(timeout(FAREWELL, stream.shutdown())).await;
                return Ok(());
            }
        }
    }
}

/// Serves HTTP/1 until the connection ends, or rests.
async fn serve_busy(
    stream: Observed,
    connection: &Rc<Connection>,
    life: &mut Life<'_>,
) -> Result<Option<Observed>, Ended> {
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
    let mut served = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let end = loop {
        tokio::select! {
            biased;
            ended = &mut served => return Ok(ended.map(|()| None)?),
            end = life.over() => match end {
                End::Gracefully => Pin::new(&mut served).graceful_shutdown(),
                End::AtOnce => return Ok(None),
                End::Untaken => {
                    connection.give_up();
                    return Err(Ended::Untaken);
                }
                End::HeadLate | End::Rest => break end,
            }
        }
    };
    let Some(parts) = served.into_parts() else { return Ok(None) };
    let mut stream = parts.io.into_inner();
    if end == End::Rest {
        // An empty rest would hold the buffer it is of.
        if !parts.read_buf.is_empty() {
            stream.unread(parts.read_buf);
        }
        return Ok(Some(stream));
    }
    // Boxed, so that other connections do not carry its memory.
    Box::pin(tell_late(stream)).await;
    Err(Ended::HeadLate)
}

/// Tells a client that its request came too slowly. It may be gone.
async fn tell_late(mut stream: Observed) {
    let told = async {
        stream.write_all(HEAD_LATE).await?;
        stream.shutdown().await
    };
    if !matches!(timeout(FAREWELL, told).await, Ok(Ok(()))) {
        tracing::debug!("a client that was too slow was not there to be told");
    }
}

async fn serve_http2(stream: Observed, connection: &Rc<Connection>) -> Result<(), Ended> {
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
            ended = poll_fn(|context| cork.turn(served.as_mut(), context)) => return Ok(ended?),
            end = life.over() => match end {
                End::Gracefully => served.as_mut().graceful_shutdown(),
                End::AtOnce => return Ok(()),
                // Its requests are streams that only it knows.
                End::Rest => {}
                End::HeadLate => return Err(Ended::HeadLate),
                End::Untaken => {
                    connection.give_up();
                    return Err(Ended::Untaken);
                }
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
