//! The bytes of an HTTP connection, with an eye on when a request began to arrive.

use super::server::PREFACE;
use crate::stream::Stream;
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first bytes of every HTTP/2 connection: the preface and the head of the client's first frame.
const HTTP2_BEGINNING: usize = PREFACE.len() + 9;

/// What is seen of a connection's bytes. Atomic because hyper wants streams that could change threads; they do not.
#[derive(Debug, Default)]
pub(super) struct Observations {
    /// Milliseconds of the connection's life at which the first byte since the last request arrived; 0 is not yet.
    pub(super) head: AtomicU64,
    /// Whether bytes wait until the client takes some.
    pub(super) unsent: AtomicBool,
}

/// A stream that remembers when the head of a request began to arrive, and gives back what was read
/// to recognise the protocol.
pub(super) struct Observed {
    prefix: Bytes,
    stream: Stream,
    opened: Instant,
    /// Bytes of the connection's beginning that are still to come over HTTP/2. There the heads of requests are
    /// frames like others, so that only the beginning is watched; `None` watches every head.
    beginning: Option<usize>,
    seen: Arc<Observations>,
}

impl Observed {
    pub(super) fn new(stream: Stream, seen: Arc<Observations>) -> Self {
        Self { prefix: Bytes::new(), stream, opened: Instant::now(), beginning: None, seen }
    }

    /// Waits until something may be there to be read, without room for it.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.prefix.is_empty() { self.stream.socket().readable().await } else { Ok(()) }
    }

    /// Notes whether a write has to wait.
    fn wrote<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.seen.unsent.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }

    /// Gives bytes back that were read to recognise the protocol.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        self.prefix = bytes;
    }

    /// The connection speaks HTTP/2; what was given back is its beginning.
    pub(super) fn speaks_http2(&mut self) {
        self.beginning = Some(HTTP2_BEGINNING - self.prefix.len().min(HTTP2_BEGINNING));
    }

    /// Notes that `count` bytes were read.
    fn note(&mut self, count: usize) {
        if let Some(left) = &mut self.beginning {
            if *left == 0 {
                return;
            }
            *left = left.saturating_sub(count);
            if *left == 0 {
                return self.seen.head.store(0, Ordering::Relaxed);
            }
        }
        if count > 0 && self.seen.head.load(Ordering::Relaxed) == 0 {
            let milliseconds = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.seen.head.store(milliseconds.max(1), Ordering::Relaxed);
        }
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
            if self.beginning.is_none() {
                // What was left when a connection rested: the beginning of a head that came before an answer ended.
                self.note(count);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_ready() {
            self.note(buffer.filled().len() - before);
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
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.wrote(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
