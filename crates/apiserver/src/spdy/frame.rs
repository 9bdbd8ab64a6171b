//! Frames of SPDY/3.1 as bytes.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::header_block::{HeaderError, HeaderReader, HeaderWriter, Headers};

/// Largest frame that is taken. kubectl sends its data in pieces of 32 KiB.
pub(super) const LARGEST_FRAME: usize = 256 * 1024;

const VERSION: u16 = 3;
/// The highest bit of the first word, which tells control frames from data.
const CONTROL: u32 = 0x8000_0000;
/// Numbers of streams have 31 bits.
const STREAM: u32 = 0x7fff_ffff;
const PREFIX: usize = 8;
const FINISHED: u8 = 1;
const UNIDIRECTIONAL: u8 = 2;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A stream is opened.
    SynStream { stream: u32, finished: bool, unidirectional: bool, headers: Headers },
    /// A stream is taken on.
    SynReply { stream: u32, finished: bool, headers: Headers },
    /// A stream is over, both ways: why, as one of [`reset`]'s numbers.
    RstStream { stream: u32, status: u32 },
    /// Numbers and values of settings.
    Settings { entries: Vec<(u32, u32)> },
    /// To be sent back.
    Ping { id: u32 },
    /// No more streams will be taken: the last one that was, and why.
    GoAway { last_stream: u32, status: u32 },
    /// More headers of a stream.
    Headers { stream: u32, finished: bool, headers: Headers },
    /// So many bytes more may be sent; stream 0 is the session.
    WindowUpdate { stream: u32, delta: u32 },
    /// Bytes of a stream.
    Data { stream: u32, finished: bool, data: Bytes },
}

/// Reasons for ending a stream.
pub(super) mod reset {
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const INVALID_STREAM: u32 = 2;
    pub const REFUSED_STREAM: u32 = 3;
}

/// Why a connection's bytes are no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Connection(#[from] io::Error),
    /// Another version of the protocol, or another protocol.
    #[error("a control frame is of SPDY version {0}: only 3 is spoken here")]
    Version(u16),
    /// A frame that is too long to take.
    #[error("a frame is {0} bytes long: at most {LARGEST_FRAME} are taken")]
    TooLong(usize),
    /// A frame whose length is not that of its kind.
    #[error("a control frame of kind {kind} is {length} bytes long, which it cannot be")]
    Length {
        /// Number of the kind.
        kind: u16,
        /// Its length.
        length: usize,
    },
    /// A frame for stream 0 that needs a stream.
    #[error("a frame of a stream is for stream 0")]
    NoStream,
    /// A header block.
    #[error(transparent)]
    Headers(#[from] HeaderError),
}

/// Reads one direction of a session.
pub(super) struct FrameReader {
    headers: HeaderReader,
}

impl FrameReader {
    pub fn new() -> Self {
        Self { headers: HeaderReader::new() }
    }

    /// A control frame, or nothing for a kind that is not known: those are to be skipped.
    fn control(&mut self, kind: u16, flags: u8, payload: &[u8]) -> Result<Option<Frame>, FrameError> {
        let wrong = || FrameError::Length { kind, length: payload.len() };
        let mut rest = payload;
        let mut word = || rest.try_get_u32().map_err(|_| wrong());
        let finished = flags & FINISHED != 0;
        let frame = match kind {
            SYN_STREAM => {
                let stream = numbered(word()?)?;
                let _associated = word()?;
                // Priority and slot.
                let block = rest.get(2..).ok_or_else(wrong)?;
                let unidirectional = flags & UNIDIRECTIONAL != 0;
                return Ok(Some(Frame::SynStream {
                    stream,
                    finished,
                    unidirectional,
                    headers: self.headers.read(block)?,
                }));
            }
            SYN_REPLY => {
                let stream = numbered(word()?)?;
                return Ok(Some(Frame::SynReply { stream, finished, headers: self.headers.read(rest)? }));
            }
            HEADERS => {
                let stream = numbered(word()?)?;
                return Ok(Some(Frame::Headers { stream, finished, headers: self.headers.read(rest)? }));
            }
            RST_STREAM => Frame::RstStream { stream: numbered(word()?)?, status: word()? },
            SETTINGS => {
                let count = word()?;
                let mut entries = Vec::new();
                for _ in 0..count {
                    // The upper byte holds flags about keeping the setting.
                    entries.push((word()? & 0x00ff_ffff, word()?));
                }
                Frame::Settings { entries }
            }
            PING => Frame::Ping { id: word()? },
            GOAWAY => Frame::GoAway { last_stream: word()? & STREAM, status: word()? },
            WINDOW_UPDATE => Frame::WindowUpdate { stream: word()? & STREAM, delta: word()? & STREAM },
            _ => return Ok(None),
        };
        if rest.is_empty() { Ok(Some(frame)) } else { Err(wrong()) }
    }
}

fn numbered(word: u32) -> Result<u32, FrameError> {
    Some(word & STREAM).filter(|stream| *stream != 0).ok_or(FrameError::NoStream)
}

impl Decoder for FrameReader {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        loop {
            let mut prefix = buffer.as_ref();
            let (Ok(first), Ok(second)) = (prefix.try_get_u32(), prefix.try_get_u32()) else {
                return Ok(None);
            };
            let [flags, ..] = second.to_be_bytes();
            let length = usize::try_from(second & 0x00ff_ffff).unwrap_or(usize::MAX);
            if length > LARGEST_FRAME {
                return Err(FrameError::TooLong(length));
            }
            if prefix.len() < length {
                buffer.reserve(length - prefix.len());
                return Ok(None);
            }
            buffer.advance(PREFIX);
            let payload = buffer.split_to(length).freeze();
            if first & CONTROL == 0 {
                let stream = numbered(first)?;
                return Ok(Some(Frame::Data { stream, finished: flags & FINISHED != 0, data: payload }));
            }
            let [high, low, kind_high, kind_low] = first.to_be_bytes();
            let version = u16::from_be_bytes([high & 0x7f, low]);
            if version != VERSION {
                return Err(FrameError::Version(version));
            }
            let kind = u16::from_be_bytes([kind_high, kind_low]);
            if let Some(frame) = self.control(kind, flags, &payload)? {
                return Ok(Some(frame));
            }
        }
    }
}

/// Writes one direction of a session.
pub(super) struct FrameWriter {
    headers: HeaderWriter,
}

impl FrameWriter {
    pub fn new() -> Result<Self, FrameError> {
        Ok(Self { headers: HeaderWriter::new()? })
    }
}

impl Encoder<Frame> for FrameWriter {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, buffer: &mut BytesMut) -> Result<(), FrameError> {
        let finish = |finished: bool| if finished { FINISHED } else { 0 };
        let mut payload = BytesMut::new();
        let (first, flags) = match frame {
            Frame::Data { stream, finished, data } => {
                payload.put(data);
                (stream, finish(finished))
            }
            Frame::SynStream { stream, finished, unidirectional, headers } => {
                payload.put_u32(stream);
                // Associated with no stream, no priority, no slot.
                payload.put_u32(0);
                payload.put_u16(0);
                payload.put_slice(&self.headers.write(&headers)?);
                let one_way = if unidirectional { UNIDIRECTIONAL } else { 0 };
                (control(SYN_STREAM), finish(finished) | one_way)
            }
            Frame::SynReply { stream, finished, headers } => {
                payload.put_u32(stream);
                payload.put_slice(&self.headers.write(&headers)?);
                (control(SYN_REPLY), finish(finished))
            }
            Frame::Headers { stream, finished, headers } => {
                payload.put_u32(stream);
                payload.put_slice(&self.headers.write(&headers)?);
                (control(HEADERS), finish(finished))
            }
            Frame::Settings { entries } => {
                payload.put_u32(u32::try_from(entries.len()).unwrap_or(u32::MAX));
                for (id, value) in entries {
                    payload.put_u32(id);
                    payload.put_u32(value);
                }
                (control(SETTINGS), 0)
            }
            Frame::Ping { id } => {
                payload.put_u32(id);
                (control(PING), 0)
            }
            Frame::RstStream { stream, status } => (two_words(&mut payload, RST_STREAM, stream, status), 0),
            Frame::GoAway { last_stream, status } => {
                (two_words(&mut payload, GOAWAY, last_stream, status), 0)
            }
            Frame::WindowUpdate { stream, delta } => {
                (two_words(&mut payload, WINDOW_UPDATE, stream, delta), 0)
            }
        };
        if payload.len() > LARGEST_FRAME {
            return Err(FrameError::TooLong(payload.len()));
        }
        buffer.reserve(PREFIX + payload.len());
        buffer.put_u32(first);
        buffer.put_u8(flags);
        // Checked above: 24 bits hold it.
        buffer.put_uint(payload.len() as u64, 3);
        buffer.put(payload);
        Ok(())
    }
}

/// The first word of a control frame.
fn control(kind: u16) -> u32 {
    CONTROL | u32::from(VERSION) << 16 | u32::from(kind)
}

fn two_words(payload: &mut BytesMut, kind: u16, one: u32, other: u32) -> u32 {
    payload.put_u32(one);
    payload.put_u32(other);
    control(kind)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
