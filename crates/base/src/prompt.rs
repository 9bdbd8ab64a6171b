//! Connections whose clients must be prompt: they begin to speak HTTP soon, and take what they asked for.
//!
//! HTTP servers bound the head of an HTTP/1 request. Before they know which HTTP it is, and when a client does not
//! read, they wait for ever; this is the bound for both.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// The beginning of every HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until it is known which HTTP it speaks.
    pub beginning: Duration,
    /// Until some of what waits to be sent to it is taken.
    pub untaken: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { beginning: Duration::from_secs(10), untaken: Duration::from_secs(60) }
    }
}

/// Both ends of a connection, for the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// The client.
    pub peer: Option<SocketAddr>,
    /// Where it connected to.
    pub local: Option<SocketAddr>,
}

impl Ends {
    /// Those of a socket.
    pub fn of(socket: &TcpStream) -> Self {
        Self { peer: socket.peer_addr().ok(), local: socket.local_addr().ok() }
    }
}

/// A connection that fails, and says so in the log, when its client is not prompt.
#[derive(Debug)]
pub struct Prompt<S> {
    stream: S,
    ends: Ends,
    patience: Patience,
    beginning: Option<Beginning>,
    stalled: Option<Pin<Box<Sleep>>>,
    unanswered: Unanswered,
}

/// Whether something was read from a connection since it was last written to. A server that gives up waiting for
/// the head of a request knows by it whether one had begun.
#[derive(Clone, Debug, Default)]
pub struct Unanswered(Arc<AtomicBool>);

impl Unanswered {
    /// Whether it was.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Beginning {
    /// Bytes of HTTP/2's preface so far.
    heard: usize,
    due: Pin<Box<Sleep>>,
}

impl Beginning {
    /// Whether it is known by these bytes which HTTP the client speaks.
    fn is_over(&mut self, bytes: &[u8]) -> bool {
        let expected = PREFACE.get(self.heard..).unwrap_or_default();
        self.heard += bytes.len();
        bytes.is_empty() || bytes.len() >= expected.len() || !expected.starts_with(bytes)
    }
}

impl<S> Prompt<S> {
    /// A connection that has just been opened; its beginning is due from now on.
    pub fn new(stream: S, ends: Ends, patience: Patience) -> Self {
        let due = Box::pin(tokio::time::sleep(patience.beginning));
        let beginning = Some(Beginning { heard: 0, due });
        Self { stream, ends, patience, beginning, stalled: None, unanswered: Unanswered::default() }
    }

    /// The connection itself.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Both ends of it.
    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// Tells from now on whether something is unanswered.
    pub fn unanswered(&self) -> Unanswered {
        self.unanswered.clone()
    }

    fn late(&self, what: &'static str) -> io::Error {
        let Ends { peer, local } = self.ends;
        tracing::warn!(?peer, ?local, "a connection was closed: {what}");
        io::Error::new(io::ErrorKind::TimedOut, what)
    }

    /// Bounds how long a write may have to wait.
    fn moved<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.patience.untaken;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        self.stalled = None;
        Poll::Ready(Err(self.late("the client does not take what it asked for")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        if !bytes.is_empty() {
            this.unanswered.0.store(true, Ordering::Relaxed);
        }
        let Some(beginning) = &mut this.beginning else { return read };
        if read.is_ready() {
            if beginning.is_over(bytes) {
                this.beginning = None;
            }
            return read;
        }
        ready!(beginning.due.as_mut().poll(context));
        let silent = beginning.heard == 0;
        this.beginning = None;
        Poll::Ready(Err(if silent {
            // Clients with a pool of connections open some that they do not need: no news.
            let Ends { peer, local } = this.ends;
            tracing::debug!(?peer, ?local, "a connection was closed: nothing was sent on it");
            io::Error::new(io::ErrorKind::TimedOut, "nothing was sent on it")
        } else {
            this.late("the client did not begin a request in time")
        }))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Only what is written answers: servers flush when there is nothing as well.
        self.unanswered.0.store(false, Ordering::Relaxed);
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.moved(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unanswered.0.store(false, Ordering::Relaxed);
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.moved(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.moved(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(context);
        self.moved(closed, context)
    }
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
