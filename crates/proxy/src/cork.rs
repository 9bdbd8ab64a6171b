//! Gathers what an HTTP/2 connection writes while it is polled once, and writes it as one.
//!
//! The `h2` crate writes and flushes after every DATA frame. On a connection between two sidecars
//! many small responses leave in one turn; without gathering each would be a TLS record, a system
//! call and a packet of its own. Nothing waits for more to come: what was gathered is written at the
//! end of the same turn.

use bytes::{Buf, BytesMut};
use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes gathered before the stream is written to in the middle of a turn: a TLS record's worth.
const GATHERED: usize = 16 * 1024;
/// Writes of this size gain nothing from being gathered and are spared the copy.
const LARGE: usize = 8 * 1024;

/// A stream whose writes are gathered. Its flushes do nothing: whoever polls its user flushes with
/// the [`Cork`].
pub(crate) struct Corked<S>(Rc<RefCell<State<S>>>);

/// The other end of a [`Corked`] stream.
pub(crate) struct Cork<S>(Rc<RefCell<State<S>>>);

struct State<S> {
    stream: S,
    gathered: BytesMut,
    /// Whether the stream was written to since it was flushed.
    written: bool,
    /// What went wrong at the end of a turn, for the next write.
    failed: Option<io::Error>,
}

/// Corks a stream.
pub(crate) fn cork<S>(stream: S) -> (Corked<S>, Cork<S>) {
    let state = State { stream, gathered: BytesMut::new(), written: false, failed: None };
    let shared = Rc::new(RefCell::new(state));
    (Corked(Rc::clone(&shared)), Cork(shared))
}

impl<S: AsyncWrite + Unpin> Cork<S> {
    /// Polls the user of the stream for one turn, then writes what it has written.
    pub(crate) fn turn<F: Future>(&self, user: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        let polled = user.poll(context);
        let mut state = self.0.borrow_mut();
        if let Poll::Ready(Err(error)) = state.poll_flush(context) {
            // The user learns of it with its next write, if reading has not told it before. Nothing is
            // left to flush, or turns of a user that only reads would fail and wake it for ever.
            state.failed = Some(error);
            state.gathered = BytesMut::new();
            state.written = false;
            context.waker().wake_by_ref();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> State<S> {
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        while self.gathered.has_remaining() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.gathered))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(count);
            self.written = true;
        }
        // An idle connection holds no room for what it may write.
        self.gathered = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathered.is_empty() && !self.written {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_drain(context))?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.written = false;
        Poll::Ready(Ok(()))
    }

    /// Makes room for more.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathered.len() >= GATHERED || self.failed.is_some() {
            return self.poll_drain(context);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.borrow_mut();
        let total = slices.iter().map(|slice| slice.len()).sum();
        if total >= LARGE {
            ready!(state.poll_drain(context))?;
            state.written = true;
            return Pin::new(&mut state.stream).poll_write_vectored(context, slices);
        }
        ready!(state.poll_room(context))?;
        for slice in slices {
            state.gathered.extend_from_slice(slice);
        }
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.borrow_mut();
        ready!(state.poll_flush(context))?;
        Pin::new(&mut state.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[path = "cork_tests.rs"]
mod tests;
