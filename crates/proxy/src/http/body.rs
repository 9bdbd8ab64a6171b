//! Bodies on their way through: requests to upstreams with what is kept of them for another attempt,
//! and responses to clients with the record that is closed at their end.

use crate::telemetry::RequestRecord;
use crate::telemetry::ResponseFlags;
use crate::upstream::{InFlight, ResponseBody as UpstreamBody};
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// A body that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(pub String);

/// A request's body as it came from the client, shared by its attempts.
#[derive(Debug)]
pub struct RequestSource {
    inner: RefCell<SourceState>,
    /// Bytes received so far.
    pub received: Cell<u64>,
    /// When the last of it was received.
    pub ended: Cell<Option<Instant>>,
    /// When anything last moved, for the idle timeout.
    pub moved: Cell<Instant>,
    /// gRPC messages in it.
    pub messages: Cell<u64>,
    /// Whether the client broke off.
    pub broken: Cell<bool>,
}

#[derive(Debug)]
struct SourceState {
    body: Option<Incoming>,
    /// What was received, while another attempt may need it.
    kept: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    kept_bytes: usize,
    /// Bytes that may be kept; `None` once nothing is kept any more.
    limit: Option<usize>,
    ended: bool,
    grpc: Option<GrpcFrames>,
    /// Whether pieces were let go, so that only the attempt that has seen them can go on.
    lost: bool,
    /// Others who read the same body, and wait.
    waiting: SmallVec<[Waker; 1]>,
}

impl RequestSource {
    /// A source that keeps at most `limit` bytes for further attempts; `None` keeps nothing.
    pub fn new(body: Incoming, limit: Option<usize>, grpc: bool, now: Instant) -> Rc<Self> {
        let state = SourceState {
            body: Some(body),
            kept: Vec::new(),
            trailers: None,
            kept_bytes: 0,
            limit,
            ended: false,
            grpc: grpc.then(GrpcFrames::default),
            lost: false,
            waiting: SmallVec::new(),
        };
        Rc::new(Self {
            inner: RefCell::new(state),
            received: Cell::new(0),
            ended: Cell::new(None),
            moved: Cell::new(now),
            messages: Cell::new(0),
            broken: Cell::new(false),
        })
    }

    /// Whether another attempt could still send the whole body.
    pub fn can_replay(&self) -> bool {
        self.inner.borrow().limit.is_some()
    }

    /// Keeps nothing any more: there will be no further attempt.
    pub fn keep_nothing(&self) {
        let mut state = self.inner.borrow_mut();
        state.limit = None;
    }

    fn poll_at(
        &self,
        position: &mut usize,
        copy: bool,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.inner.borrow_mut();
        if let Some(piece) = state.kept.get(*position) {
            *position += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        if state.ended {
            // Trailers are the piece after the last one.
            let trailers = if *position == state.kept.len() { state.trailers.clone() } else { None };
            *position = state.kept.len() + 1;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        if copy && state.lost {
            return Poll::Ready(Some(Err(BodyError(
                "the body is longer than what is kept of it".to_owned(),
            ))));
        }
        let Some(body) = state.body.as_mut() else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else {
            // The body wakes only who polled it last; the others are woken by whoever that is.
            if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                state.waiting.push(context.waker().clone());
            }
            return Poll::Pending;
        };
        for waker in state.waiting.drain(..) {
            if !waker.will_wake(context.waker()) {
                waker.wake();
            }
        }
        let now = Instant::now();
        self.moved.set(now);
        match frame {
            None => {
                state.ended = true;
                self.ended.set(Some(now));
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.broken.set(true);
                state.limit = None;
                Poll::Ready(Some(Err(BodyError(error.to_string()))))
            }
            Some(Ok(frame)) => {
                if frame.is_trailers() {
                    state.ended = true;
                    self.ended.set(Some(now));
                    if state.limit.is_some() {
                        state.trailers = frame.trailers_ref().cloned();
                    }
                    *position = usize::MAX;
                    return Poll::Ready(Some(Ok(frame)));
                }
                if let Some(data) = frame.data_ref() {
                    self.received.set(self.received.get() + data.len() as u64);
                    if let Some(frames) = &mut state.grpc {
                        self.messages.set(self.messages.get() + frames.count(data));
                    }
                    if state.body.as_ref().is_some_and(Body::is_end_stream) {
                        state.ended = true;
                        self.ended.set(Some(now));
                    }
                    state.keep(data, position);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }
}

impl SourceState {
    /// Keeps a piece while it may be needed again; over the limit, all of it is let go.
    fn keep(&mut self, data: &Bytes, position: &mut usize) {
        let Some(limit) = self.limit else {
            self.lost = true;
            return;
        };
        if self.kept_bytes + data.len() > limit {
            self.limit = None;
            self.lost = true;
            self.kept = Vec::new();
            *position = 0;
            return;
        }
        self.kept_bytes += data.len();
        self.kept.push(data.clone());
        *position = self.kept.len();
    }
}

/// The body of one attempt.
#[derive(Debug)]
pub struct RequestBody(RequestKind);

#[derive(Debug)]
enum RequestKind {
    Empty,
    Whole(Option<Bytes>),
    Attempt { source: Rc<RequestSource>, position: usize, finished: Rc<Cell<bool>>, copy: bool },
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self(RequestKind::Empty)
    }

    /// A body of these bytes.
    pub fn whole(bytes: Bytes) -> Self {
        Self(RequestKind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// The client's body, from its beginning.
    pub fn attempt(source: &Rc<RequestSource>) -> Self {
        let (source, finished) = (Rc::clone(source), Rc::new(Cell::new(false)));
        Self(RequestKind::Attempt { source, position: 0, finished, copy: false })
    }

    /// A copy of the client's body, as long as all of it is kept.
    pub fn copy(source: &Rc<RequestSource>) -> Self {
        let (source, finished) = (Rc::clone(source), Rc::new(Cell::new(false)));
        Self(RequestKind::Attempt { source, position: 0, finished, copy: true })
    }

    /// Says, once set, that the body was taken whole; `None` for bodies that always are.
    pub fn finished(&self) -> Option<Rc<Cell<bool>>> {
        match &self.0 {
            RequestKind::Attempt { finished, .. } => Some(Rc::clone(finished)),
            _ => None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            RequestKind::Empty => Poll::Ready(None),
            RequestKind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            RequestKind::Attempt { source, position, finished, copy } => {
                let frame = ready!(source.poll_at(position, *copy, context));
                let last = match &frame {
                    None => true,
                    Some(Ok(frame)) => frame.is_trailers() || source.inner.borrow().ended,
                    Some(Err(_)) => false,
                };
                if last {
                    finished.set(true);
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            RequestKind::Empty => true,
            RequestKind::Whole(bytes) => bytes.is_none(),
            RequestKind::Attempt { source, position, .. } => {
                let state = source.inner.borrow();
                state.ended && *position >= state.kept.len() && state.trailers.is_none()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            RequestKind::Empty => SizeHint::with_exact(0),
            RequestKind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            RequestKind::Attempt { source, position: 0, .. } => {
                let state = source.inner.borrow();
                match (&state.body, state.kept.is_empty()) {
                    (Some(body), true) => body.size_hint(),
                    _ => SizeHint::default(),
                }
            }
            RequestKind::Attempt { .. } => SizeHint::default(),
        }
    }
}

/// Counts gRPC messages in a stream of bytes: a flag, a length of four bytes, the message.
#[derive(Debug, Default)]
pub struct GrpcFrames {
    header: [u8; 5],
    filled: usize,
    left: u64,
}

impl GrpcFrames {
    /// How many messages begin in `data`.
    pub fn count(&mut self, data: &[u8]) -> u64 {
        let mut data = data;
        let mut messages = 0;
        while data.has_remaining() {
            if self.left > 0 {
                let skip = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                data.advance(skip);
                self.left -= skip as u64;
                continue;
            }
            if let Some(slot) = self.header.get_mut(self.filled) {
                *slot = data.get_u8();
                self.filled += 1;
            }
            if self.filled == self.header.len() {
                let [_, length @ ..] = self.header;
                self.left = u64::from(u32::from_be_bytes(length));
                self.filled = 0;
                messages += 1;
            }
        }
        messages
    }
}

/// What a response's body needs to know of its request, until its end.
pub struct Exchange {
    /// The record that is closed at the end.
    pub record: RequestRecord,
    /// The request's body, where it had one.
    pub source: Option<Rc<RequestSource>>,
    /// The request in flight at its host.
    pub in_flight: Option<InFlight>,
    /// Its place in the circuit breaker.
    pub permit: Option<crate::upstream::breaker::Permit>,
    /// When the response must have ended, and what it is when it has not.
    pub deadline: Option<(Instant, Deadline)>,
    /// Longest silence.
    pub idle: Option<Duration>,
    /// Counts gRPC messages of the response.
    pub grpc: Option<GrpcFrames>,
    /// Whether the response came to its end.
    pub complete: bool,
}

/// Which limit a deadline stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The route's timeout.
    Route,
    /// The longest life of a stream.
    Stream,
}

/// The body of a response to a client.
pub struct ResponseBody {
    kind: ResponseKind,
    exchange: Option<Box<Exchange>>,
    timer: Option<Pin<Box<Sleep>>>,
}

enum ResponseKind {
    Text(Option<Bytes>),
    Upstream(UpstreamBody),
}

impl ResponseBody {
    /// No body, and nothing to record at its end.
    pub fn empty() -> Self {
        Self { kind: ResponseKind::Text(None), exchange: None, timer: None }
    }

    /// A body of our own; its record is closed when it was sent.
    pub fn text(bytes: Bytes, mut exchange: Box<Exchange>) -> Self {
        exchange.deadline = None;
        let kind = ResponseKind::Text(Some(bytes).filter(|bytes| !bytes.is_empty()));
        let mut this = Self { kind, exchange: Some(exchange), timer: None };
        this.finish_if_ended();
        this
    }

    /// An upstream's body.
    pub fn upstream(body: UpstreamBody, exchange: Box<Exchange>) -> Self {
        let mut this = Self { kind: ResponseKind::Upstream(body), exchange: Some(exchange), timer: None };
        this.finish_if_ended();
        this
    }

    fn finish_if_ended(&mut self) {
        if self.is_end_stream() {
            self.finish(true);
        }
    }

    fn finish(&mut self, complete: bool) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.complete = complete;
            drop(exchange);
        }
    }

    /// Fails the body when a limit has passed.
    fn check_time(&mut self, context: &mut Context<'_>) -> Option<BodyError> {
        let exchange = self.exchange.as_mut()?;
        loop {
            let now = Instant::now();
            let moved = exchange.source.as_ref().map(|source| source.moved.get());
            let quiet_since = exchange.last_moved(moved);
            let idle_at = exchange.idle.map(|idle| quiet_since + idle);
            let next = match (exchange.deadline, idle_at) {
                (Some((at, _)), Some(idle_at)) => at.min(idle_at),
                (Some((at, _)), None) => at,
                (None, Some(idle_at)) => idle_at,
                (None, None) => return None,
            };
            if next <= now {
                let by_deadline = exchange.deadline.filter(|(at, _)| *at <= now).map(|(_, kind)| kind);
                return Some(exchange.time_out(by_deadline));
            }
            match &mut self.timer {
                // The timer is set once; when it fires early, because something moved since, it is
                // set again. So a busy stream costs no timer operations.
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(next.into()))),
                Some(timer) => {
                    if timer.as_mut().poll(context).is_pending() {
                        return None;
                    }
                    timer.as_mut().reset(next.into());
                }
            }
        }
    }
}

impl Exchange {
    fn last_moved(&self, request_moved: Option<Instant>) -> Instant {
        let response_moved = self.record.last_moved;
        request_moved.map_or(response_moved, |moved| moved.max(response_moved))
    }

    fn time_out(&mut self, deadline: Option<Deadline>) -> BodyError {
        let (flag, details) = match deadline {
            Some(Deadline::Route) => (ResponseFlags::UPSTREAM_TIMEOUT, "response_timeout"),
            Some(Deadline::Stream) => (ResponseFlags::DURATION_TIMEOUT, "max_duration_timeout"),
            None => (ResponseFlags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout"),
        };
        self.record.flags.insert(flag);
        self.record.details = details.into();
        BodyError(details.to_owned())
    }
}

impl Drop for Exchange {
    /// The request has ended, one way or another: it is recorded.
    fn drop(&mut self) {
        if let Some(source) = &self.source {
            self.record.received = source.received.get();
            self.record.messages.0 = source.messages.get();
            self.record.request_read = source.ended.get().map(|ended| ended - self.record.started);
        }
        if !self.complete && self.record.flags.is_empty() {
            self.record.flags.insert(ResponseFlags::DOWNSTREAM_TERMINATION);
            self.record.details = "downstream_remote_disconnect".into();
        }
        self.record.finish();
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = match &mut this.kind {
            ResponseKind::Text(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            ResponseKind::Upstream(body) => Pin::new(body).poll_frame(context),
        };
        let Poll::Ready(frame) = polled else {
            return match this.check_time(context) {
                Some(error) => {
                    this.finish(false);
                    Poll::Ready(Some(Err(error)))
                }
                None => Poll::Pending,
            };
        };
        match frame {
            None => {
                this.finish(true);
                Poll::Ready(None)
            }
            Some(Ok(frame)) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.pass(&frame);
                }
                if frame.is_trailers() || this.is_end_stream() {
                    this.finish(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.break_off(&error);
                }
                this.finish(false);
                Poll::Ready(Some(Err(BodyError(error.to_string()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            ResponseKind::Text(bytes) => bytes.is_none(),
            ResponseKind::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            ResponseKind::Text(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ResponseKind::Upstream(body) => body.size_hint(),
        }
    }
}

impl Exchange {
    /// Notes a frame on its way to the client.
    fn pass(&mut self, frame: &Frame<Bytes>) {
        self.record.last_moved = Instant::now();
        if let Some(data) = frame.data_ref() {
            self.record.sent += data.len() as u64;
            if let Some(frames) = &mut self.grpc {
                self.record.messages.1 += frames.count(data);
            }
        }
        if let Some(trailers) = frame.trailers_ref() {
            if let Some(status) = super::headers::grpc_status(trailers) {
                self.record.grpc_status = Some(status);
            }
            if self.record.wants_trailers() {
                self.record.trailers = Some(trailers.clone());
            }
        }
    }

    /// Notes why the upstream's response broke off.
    fn break_off(&mut self, error: &crate::upstream::BodyError) {
        use crate::upstream::BodyError as Upstream;
        let (flag, reason) = match error {
            Upstream::Closed(_) => (ResponseFlags::UPSTREAM_TERMINATION, "connection_termination"),
            Upstream::Reset(_) => (ResponseFlags::UPSTREAM_REMOTE_RESET, "remote_reset"),
        };
        self.record.flags.insert(flag);
        self.record.details = format!("upstream_reset_after_response_started{{{reason}}}").into();
        if let (Some(cluster), Some(host)) = (&self.record.cluster, &self.record.host) {
            let worker = self.record.connection.downstream.worker.index;
            cluster.counts(worker).upstream_rq_rx_reset.increment();
            let outcome = crate::upstream::outlier::Outcome::NoResponse;
            crate::upstream::outlier::report(cluster, host, outcome);
        }
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
