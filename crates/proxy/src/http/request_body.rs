//! Requests' bodies on their way to upstreams, with what is kept of them for another attempt.

use super::body::BodyError;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

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

#[cfg(test)]
#[path = "request_body_tests.rs"]
mod tests;
