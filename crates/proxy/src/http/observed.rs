//! The bytes of an HTTP connection, with an eye on when a request began to arrive.

use super::server::PREFACE;
use crate::stream::Stream;
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first bytes of every HTTP/2 connection: the preface and the head of the client's first frame.
const HTTP2_BEGINNING: usize = PREFACE.len() + 9;

/// A stream that remembers when the head of a request began to arrive, and gives back what was read
/// to recognise the protocol.
pub(super) struct Observed {
    prefix: Bytes,
    stream: Stream,
    opened: Instant,
    /// Bytes of the connection's beginning that are still to come over HTTP/2. There the heads of requests are
    /// frames like others, so that only the beginning is watched; `None` watches every head.
    beginning: Option<usize>,
    /// Milliseconds after `opened` at which the first byte since the last request arrived; 0 is not
    /// yet.
    head: Arc<AtomicU64>,
}

impl Observed {
    pub(super) fn new(stream: Stream, head: Arc<AtomicU64>) -> Self {
        Self { prefix: Bytes::new(), stream, opened: Instant::now(), beginning: None, head }
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
                return self.head.store(0, Ordering::Relaxed);
            }
        }
        if count > 0 && self.head.load(Ordering::Relaxed) == 0 {
            let milliseconds = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.head.store(milliseconds.max(1), Ordering::Relaxed);
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
