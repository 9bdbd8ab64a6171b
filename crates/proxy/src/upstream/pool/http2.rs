//! HTTP/2 connections of a pool, on the `h2` crate directly: it says how many streams the peer
//! allows, and whether a failed stream was looked at.

use super::response::ResponseBody;
use super::{HostPool, Kind, Lease, OpenInPool, SendError, SendFailure};
use crate::cork::{Cork, Corked, cork};
use crate::http::body::RequestBody;
use crate::stream::Stream;
use crate::upstream::connect::ConnectionInfo;
use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, Reason, SendStream};
use http::{Request, Response};
use http_body::Body;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Envoy's default for streams at once on one connection.
const DEFAULT_CONCURRENT_STREAMS: u32 = 1024;
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
const HEADER_LIST_LIMIT: u32 = 256 * 1024;

/// An HTTP/2 connection, shared by its streams.
pub(in crate::upstream) struct Http2Connection {
    sender: SendRequest<Bytes>,
    pub(super) info: Rc<ConnectionInfo>,
    limit: u32,
    active: Cell<u32>,
    served: Cell<u32>,
    closed: Cell<bool>,
    idle_since: Cell<Instant>,
}

/// A place on a connection for one stream; dropping it gives the place back.
pub(in crate::upstream) struct Http2Lease {
    connection: Rc<Http2Connection>,
    pool: std::rc::Weak<HostPool>,
}

impl Http2Connection {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Since when no stream is open; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.active.get() == 0).then(|| self.idle_since.get())
    }

    fn has_room(&self) -> bool {
        let allowed = u32::try_from(self.sender.current_max_send_streams()).unwrap_or(u32::MAX);
        !self.closed.get() && self.active.get() < self.limit.min(allowed)
    }
}

impl Http2Lease {
    fn take(pool: &Rc<HostPool>, connection: &Rc<Http2Connection>) -> Self {
        connection.active.set(connection.active.get() + 1);
        connection.served.set(connection.served.get().saturating_add(1));
        let limit = pool.cluster.settings().max_requests_per_connection;
        if limit.is_some_and(|limit| connection.served.get() >= limit) {
            // It finishes what it has and takes nothing more.
            pool.http2.borrow_mut().retain(|other| !Rc::ptr_eq(other, connection));
            pool.cluster.counts(0).upstream_cx_max_requests.increment();
        }
        Self { connection: Rc::clone(connection), pool: Rc::downgrade(pool) }
    }
}

impl Drop for Http2Lease {
    fn drop(&mut self) {
        self.connection.active.set(self.connection.active.get().saturating_sub(1));
        self.connection.idle_since.set(Instant::now());
        if let Some(pool) = self.pool.upgrade() {
            pool.changed.notify_one();
        }
    }
}

/// A place on a connection that has room.
pub(super) fn reuse(pool: &Rc<HostPool>) -> Option<Lease> {
    let found = pool.http2.borrow().iter().find(|connection| connection.has_room()).cloned();
    let connection = found?;
    let info = Rc::clone(&connection.info);
    Some(Lease { info, reused: true, kind: Kind::Http2(Http2Lease::take(pool, &connection)) })
}

/// Makes an HTTP/2 connection of a stream.
pub(super) async fn start(
    pool: &Rc<HostPool>,
    stream: Stream,
    info: ConnectionInfo,
) -> Result<Lease, String> {
    let settings = &pool.cluster.settings().http2;
    let limit = settings.max_concurrent_streams.unwrap_or(DEFAULT_CONCURRENT_STREAMS);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(settings.stream_window.unwrap_or(STREAM_WINDOW))
        .initial_connection_window_size(settings.connection_window.unwrap_or(CONNECTION_WINDOW))
        .max_header_list_size(HEADER_LIST_LIMIT);
    let (stream, cork) = cork(stream);
    let (sender, mut driver) =
        builder.handshake::<_, Bytes>(stream).await.map_err(|error| format!("HTTP/2 handshake: {error}"))?;
    let connection = Rc::new(Http2Connection {
        sender,
        info: Rc::new(info),
        limit,
        active: Cell::new(0),
        served: Cell::new(0),
        closed: Cell::new(false),
        idle_since: Cell::new(Instant::now()),
    });
    let pings = settings.keepalive.and_then(|times| Some((driver.ping_pong()?, times)));
    let (watched, open, weak) = (Rc::downgrade(&connection), OpenInPool::begin(pool), Rc::downgrade(pool));
    tokio::task::spawn_local(async move {
        drive(driver, cork, pings).await;
        drop(open);
        if let Some(connection) = watched.upgrade() {
            connection.closed.set(true);
        }
        if let Some(pool) = weak.upgrade() {
            pool.http2.borrow_mut().retain(|connection| !connection.is_closed());
            pool.changed.notify_waiters();
        }
    });
    pool.http2.borrow_mut().push(Rc::clone(&connection));
    let info = Rc::clone(&connection.info);
    Ok(Lease { info, reused: false, kind: Kind::Http2(Http2Lease::take(pool, &connection)) })
}

/// Runs a connection until it ends, or until a ping is not answered.
async fn drive(
    driver: Connection<Corked<Stream>, Bytes>,
    cork: Cork<Stream>,
    pings: Option<(h2::PingPong, (Duration, Duration))>,
) {
    let mut driver = pin!(driver);
    let driver = poll_fn(|context| cork.turn(driver.as_mut(), context));
    let Some((mut pings, (interval, timeout))) = pings else {
        // Streams are told how the connection ended.
        let _ = driver.await;
        return;
    };
    let alive = async move {
        loop {
            tokio::time::sleep(interval).await;
            match tokio::time::timeout(timeout, pings.ping(Ping::opaque())).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    };
    tokio::select! {
        _ = driver => {}
        () = alive => {}
    }
}

/// Sends a request and waits for the head of its response.
pub(super) async fn send(
    lease: Http2Lease,
    request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, SendError> {
    let mut sender = lease.connection.sender.clone();
    if let Err(error) = poll_fn(|context| sender.poll_ready(context)).await {
        lease.connection.closed.set(true);
        let request = Some(Box::new(request));
        let cause = SendFailure::ConnectionTermination;
        return Err(SendError { cause, unsent: true, request, reason: error.to_string() });
    }
    let (parts, body) = request.into_parts();
    let ended = body.is_end_stream();
    let head = Request::from_parts(parts, ());
    let (response, stream) = match sender.send_request(head, ended) {
        Ok(sent) => sent,
        Err(error) => {
            let unsent = !error.is_reset();
            if unsent {
                lease.connection.closed.set(true);
            }
            return Err(failed(&error, unsent));
        }
    };
    if !ended {
        tokio::task::spawn_local(pump(body, stream));
    }
    match response.await {
        Ok(response) => Ok(response.map(|body| ResponseBody::http2(body, lease))),
        Err(error) => {
            if error.is_go_away() || error.is_io() {
                lease.connection.closed.set(true);
            }
            // A stream that a GOAWAY excludes, or that is refused, was not looked at (RFC 9113 §6.8,
            // §8.7).
            let refused = error.reason() == Some(Reason::REFUSED_STREAM) && error.is_remote();
            let excluded = error.is_go_away() && error.is_remote();
            Err(failed(&error, refused || excluded))
        }
    }
}

fn failed(error: &h2::Error, unsent: bool) -> SendError {
    let cause = if error.reason() == Some(Reason::REFUSED_STREAM) {
        SendFailure::RefusedStream
    } else if error.is_reset() && error.is_remote() {
        SendFailure::RemoteReset
    } else if error.is_library() || error.is_reset() {
        SendFailure::Protocol
    } else {
        SendFailure::ConnectionTermination
    };
    SendError { cause, unsent, request: None, reason: error.to_string() }
}

/// Sends a request's body as the peer's windows allow, until its end or until either side gives up.
async fn pump(mut body: RequestBody, mut stream: SendStream<Bytes>) {
    loop {
        let frame = poll_fn(|context| {
            if let Poll::Ready(reset) = stream.poll_reset(context) {
                return Poll::Ready(Err(reset));
            }
            Pin::new(&mut body).poll_frame(context).map(Ok)
        })
        .await;
        let Ok(frame) = frame else { return };
        match frame {
            None => {
                // An error means that the stream is gone; the response tells why.
                let _ = stream.send_data(Bytes::new(), true);
                return;
            }
            Some(Err(_)) => {
                stream.send_reset(Reason::CANCEL);
                return;
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    if !send_data(&mut stream, data, body.is_end_stream()).await || body.is_end_stream() {
                        return;
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        let _ = stream.send_trailers(trailers);
                        return;
                    }
                }
            },
        }
    }
}

/// Sends one piece; false when the stream is gone.
async fn send_data(stream: &mut SendStream<Bytes>, mut data: Bytes, last: bool) -> bool {
    if data.is_empty() {
        return !last || stream.send_data(data, true).is_ok();
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        if stream.capacity() == 0 {
            match poll_fn(|context| stream.poll_capacity(context)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return false,
            }
        }
        let piece = data.split_to(stream.capacity().min(data.len()));
        let ends = last && data.is_empty();
        if stream.send_data(piece, ends).is_err() {
            return false;
        }
    }
    true
}
