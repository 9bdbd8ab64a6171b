//! Responses on their way to clients, with the record that is closed at their end.

use super::connection_manager::Connection;
pub use super::request_body::{GrpcFrames, RequestBody, RequestSource};
use crate::telemetry::{RequestRecord, ResponseFlags};
use crate::upstream::outlier::{self, Outcome};
use crate::upstream::{BodyError as UpstreamError, InFlight, ResponseBody as UpstreamBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// A body that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(pub String);

/// What a response's body needs to know of its request, until its end.
pub struct Exchange {
    /// The record that is closed at the end.
    pub record: RequestRecord,
    /// The request's body, where it had one.
    pub source: Option<Rc<RequestSource>>,
    /// The request in flight at its host.
    pub in_flight: Option<InFlight>,
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
    offer: Option<Offer>,
    exchange: Option<Box<Exchange>>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// A piece that was handed on and that the client has not taken yet. Who sends it asks for the next one only when
/// there is room, so that no timer of the body runs meanwhile: the connection watches over it.
struct Offer(Rc<Connection>);

impl Offer {
    fn new(connection: &Rc<Connection>, now: Instant) -> Self {
        connection.offer(now);
        Self(Rc::clone(connection))
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.0.taken();
    }
}

enum ResponseKind {
    Text(Option<Bytes>),
    Upstream(UpstreamBody),
}

impl ResponseBody {
    /// No body, and nothing to record at its end.
    pub fn empty() -> Self {
        Self { kind: ResponseKind::Text(None), offer: None, exchange: None, timer: None }
    }

    /// A body of our own; its record is closed when it was sent.
    pub fn text(bytes: Bytes, mut exchange: Box<Exchange>) -> Self {
        exchange.deadline = None;
        let kind = ResponseKind::Text(Some(bytes).filter(|bytes| !bytes.is_empty()));
        let mut this = Self { kind, offer: None, exchange: Some(exchange), timer: None };
        this.finish_if_ended();
        this
    }

    /// An upstream's body.
    pub fn upstream(body: UpstreamBody, exchange: Box<Exchange>) -> Self {
        let mut this =
            Self { kind: ResponseKind::Upstream(body), offer: None, exchange: Some(exchange), timer: None };
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
    /// The exchange of a request that has just arrived.
    pub fn begin(record: RequestRecord) -> Box<Self> {
        Box::new(Self {
            record,
            source: None,
            in_flight: None,
            deadline: None,
            idle: None,
            grpc: None,
            complete: false,
        })
    }

    /// Counts the response's gRPC messages from now on.
    pub fn expect_grpc(&mut self, grpc: bool) {
        self.grpc = grpc.then(GrpcFrames::default);
    }

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
            if source.ended.get().is_none() {
                self.record.connection.bodies_read.set(false);
            }
            self.record.request_read = source.ended.get().map(|ended| ended - self.record.started);
        }
        if !self.complete && self.record.flags.is_empty() {
            let (flag, details) = if self.record.connection.is_given_up() {
                (ResponseFlags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout")
            } else {
                (ResponseFlags::DOWNSTREAM_TERMINATION, "downstream_remote_disconnect")
            };
            self.record.flags.insert(flag);
            self.record.details = details.into();
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
        this.offer = None;
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
                if let Some(exchange) = &this.exchange {
                    let record = &exchange.record;
                    this.offer = Some(Offer::new(&record.connection, record.last_moved));
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
    fn break_off(&mut self, error: &UpstreamError) {
        let (flag, reason) = match error {
            UpstreamError::Closed(_) => (ResponseFlags::UPSTREAM_TERMINATION, "connection_termination"),
            UpstreamError::Reset(_) => (ResponseFlags::UPSTREAM_REMOTE_RESET, "remote_reset"),
        };
        self.record.flags.insert(flag);
        self.record.details = format!("upstream_reset_after_response_started{{{reason}}}").into();
        if let (Some(cluster), Some(host)) = (&self.record.cluster, &self.record.host) {
            let worker = self.record.connection.downstream.worker.index;
            cluster.counts(worker).upstream_rq_rx_reset.increment();
            outlier::report(cluster, host, Outcome::NoResponse);
        }
    }
}
