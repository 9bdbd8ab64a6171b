//! Istio's TCP metadata exchange: where both proxies agreed on its application protocol, each sends a
//! header with its workload's description before the first byte of the connection it carries.
//!
//! The header is the magic number, the length of what follows, both big-endian, and a
//! `google.protobuf.Any` with a Struct (`source/extensions/filters/network/metadata_exchange` in
//! istio/proxy). A peer that starts with anything else is taken not to exchange.

use crate::telemetry::PeerMetadata;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::{Any, Struct, Value, value::Kind};
use prost::{Message, Name};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The application protocol under which headers are exchanged.
pub(super) const PROTOCOL: &[u8] = b"istio-peer-exchange";
const MAGIC: u32 = 0x3D23_0467;
const INITIAL: usize = 8;
/// Descriptions are a few hundred bytes; more than this is not one.
const LONGEST: usize = 64 * 1024;
const KEY_METADATA: &str = "x-envoy-peer-metadata";
const KEY_ID: &str = "x-envoy-peer-metadata-id";

/// The header that describes us.
pub(super) fn header(node: &Node) -> Bytes {
    let field = |kind| Value { kind: Some(kind) };
    let mut content = Struct::default();
    let metadata = PeerMetadata::of_node(node);
    content.fields.insert(KEY_METADATA.to_owned(), field(Kind::StructValue(metadata)));
    content.fields.insert(KEY_ID.to_owned(), field(Kind::StringValue(node.id.clone())));
    let any = Any { type_url: Struct::type_url(), value: content.encode_to_vec() }.encode_to_vec();
    let mut header = BytesMut::with_capacity(INITIAL + any.len());
    header.put_u32(MAGIC);
    // A node description of 4 GiB does not exist.
    header.put_u32(u32::try_from(any.len()).unwrap_or(u32::MAX));
    header.put_slice(&any);
    header.freeze()
}

/// Reads the workload's description out of a header's content.
fn description(content: &[u8]) -> Option<PeerMetadata> {
    let any = Any::decode(content).ok()?;
    let fields = Struct::decode(any.value.as_slice()).ok()?.fields;
    match fields.get(KEY_METADATA)?.kind.as_ref()? {
        Kind::StructValue(metadata) => Some(PeerMetadata::from_struct(metadata)),
        _ => None,
    }
}

/// A stream whose first bytes may be the peer's header, which is taken out of it whenever it comes.
pub(super) struct Exchanging<S> {
    stream: S,
    state: State,
}

enum State {
    /// Collecting the header.
    Header(BytesMut),
    /// The header is through; these bytes came with it or instead of it.
    Through(Bytes),
}

impl<S: AsyncRead + Unpin> Exchanging<S> {
    /// A stream that starts with a header when `expected`.
    pub fn new(stream: S, expected: bool) -> Self {
        let state = if expected { State::Header(BytesMut::new()) } else { State::Through(Bytes::new()) };
        Self { stream, state }
    }

    /// Waits for the header; `None` when the peer sent none.
    pub async fn peer(&mut self) -> io::Result<Option<PeerMetadata>> {
        std::future::poll_fn(|context| self.poll_header(context)).await
    }

    fn poll_header(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<PeerMetadata>>> {
        loop {
            let State::Header(read) = &mut self.state else { return Poll::Ready(Ok(None)) };
            let wanted = match Self::wanted(read) {
                Some(wanted) => wanted,
                None => {
                    self.state = State::Through(read.split().freeze());
                    return Poll::Ready(Ok(None));
                }
            };
            if wanted == 0 {
                let peer = read.get(INITIAL..).and_then(description);
                self.state = State::Through(Bytes::new());
                return Poll::Ready(Ok(peer));
            }
            // Reads no more than the header, so that nothing has to be given back.
            let mut space = [0u8; 1024];
            let length = wanted.min(space.len());
            let mut buffer = ReadBuf::new(&mut space[..length]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                self.state = State::Through(read.split().freeze());
                return Poll::Ready(Ok(None));
            }
            read.extend_from_slice(buffer.filled());
        }
    }

    /// How many bytes are missing; `None` when this is no header.
    fn wanted(read: &[u8]) -> Option<usize> {
        let magic = MAGIC.to_be_bytes();
        let seen = read.len().min(magic.len());
        if read.get(..seen) != magic.get(..seen) {
            return None;
        }
        let Some(mut initial) = read.get(..INITIAL) else { return Some(INITIAL - read.len()) };
        initial.advance(magic.len());
        let length = initial.get_u32() as usize;
        (length <= LONGEST).then(|| (INITIAL + length).saturating_sub(read.len()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Exchanging<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A header that comes late no longer has a use, but is still not part of the stream.
        ready!(self.poll_header(context))?;
        if let State::Through(early) = &mut self.state
            && !early.is_empty()
        {
            let count = early.len().min(buffer.remaining());
            buffer.put_slice(&early.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Exchanging<S> {
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
}

#[cfg(test)]
#[path = "metadata_exchange_tests.rs"]
mod tests;
