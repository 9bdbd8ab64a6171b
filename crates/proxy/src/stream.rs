//! The byte streams a connection can be: a plain socket, or TLS terminated or started by us. Bytes
//! that an inspector has already read are given back first.

use bytes::{Buf, Bytes, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

/// Bytes read from the socket at once under TLS. rustls itself asks for four kilobytes at a time,
/// which is a system call for every quarter of a record.
const AHEAD: usize = 32 * 1024;

/// A socket together with the bytes already read from it.
#[derive(Debug)]
pub struct Prefixed {
    prefix: Bytes,
    socket: TcpStream,
    /// Whether more is read from the socket than is asked for.
    reads_ahead: bool,
}

/// One end of a connection.
// Plain sockets are the common case and small; TLS states are boxed.
#[derive(Debug)]
pub enum Stream {
    /// A plain socket.
    Plain(Prefixed),
    /// TLS where we are the server.
    Server(Box<tokio_rustls::server::TlsStream<Prefixed>>),
    /// TLS where we are the client.
    Client(Box<tokio_rustls::client::TlsStream<Prefixed>>),
}

impl Prefixed {
    /// A socket from which `prefix` has been read and not yet been used.
    pub fn new(prefix: Bytes, socket: TcpStream) -> Self {
        Self { prefix, socket, reads_ahead: false }
    }

    /// The same, for a reader that asks for little at a time: what is there is read at once and kept
    /// until it is asked for. An idle socket holds no room for it.
    pub fn reading_ahead(self) -> Self {
        Self { reads_ahead: true, ..self }
    }

    /// The bytes to be used before those of the socket.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Takes the bytes to be used before those of the socket.
    pub fn take_prefix(&mut self) -> Bytes {
        std::mem::take(&mut self.prefix)
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Takes both apart.
    pub fn into_parts(self) -> (Bytes, TcpStream) {
        (self.prefix, self.socket)
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Stream::Plain(Prefixed::new(Bytes::new(), socket))
    }
}

impl Stream {
    /// The socket under it all.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => &stream.socket,
            Stream::Server(stream) => &stream.get_ref().0.socket,
            Stream::Client(stream) => &stream.get_ref().0.socket,
        }
    }

    /// The application protocol agreed in the TLS handshake.
    pub fn application_protocol(&self) -> Option<&[u8]> {
        match self {
            Stream::Plain(_) => None,
            Stream::Server(stream) => stream.get_ref().1.alpn_protocol(),
            Stream::Client(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            if !self.reads_ahead || buffer.remaining() >= AHEAD {
                return Pin::new(&mut self.socket).poll_read(context, buffer);
            }
            let mut ahead = BytesMut::with_capacity(AHEAD);
            ready!(poll_read_buf(Pin::new(&mut self.socket), context, &mut ahead))?;
            self.prefix = ahead.freeze();
        }
        let count = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(&self.prefix.split_to(count));
        if !self.prefix.has_remaining() {
            // Lets go of the inspector's buffer.
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

/// Calls one method on whichever stream it is.
macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Plain(stream) => {
                let $inner = Pin::new(stream);
                $call
            }
            Stream::Server(stream) => {
                let $inner = Pin::new(stream.as_mut());
                $call
            }
            Stream::Client(stream) => {
                let $inner = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let upstream = matches!(*self, Self::Client(_));
        match each!(self, inner => inner.poll_read(context, buffer)) {
            // A server that closes without saying so in TLS (close_notify) has ended, as Envoy has it: many do. What
            // was cut off shows by its length, where it has one.
            Poll::Ready(Err(error)) if upstream && error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, inner => inner.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_shutdown(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, inner => inner.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Server(stream) => stream.is_write_vectored(),
            Stream::Client(stream) => stream.is_write_vectored(),
        }
    }
}
