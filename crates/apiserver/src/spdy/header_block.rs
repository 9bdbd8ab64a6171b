//! Header blocks: names and values with their lengths, compressed with one zlib stream a direction that begins with
//! the dictionary of SPDY/3 (draft-mbelshe-httpbis-spdy-00, section 2.6.10).

use std::sync::LazyLock;

use bytes::{Buf, BufMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Most bytes of a block once it is decompressed. Port-forwards need about sixty.
const LARGEST_BLOCK: usize = 16 * 1024;
/// Bytes of output made room for at a time.
const STEP: usize = 1024;

/// Words of the dictionary, each written with its length before it.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host \
    if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
/// What follows the words, as it is.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
    Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 \
    Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept \
    Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=\
    utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dictionary = Vec::new();
    for word in WORDS.split(' ') {
        // The one word with a space in it is written with a line below, so that the others can be split.
        put_text(&mut dictionary, &word.replace('_', " "));
    }
    dictionary.extend_from_slice(TAIL.as_bytes());
    dictionary
});

/// Headers of a stream, in their order. Names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of a header; `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Headers {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

/// What is wrong with a header block.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    /// The compression.
    #[error("a header block is not compressed with zlib and SPDY/3's dictionary: {0}")]
    Compression(String),
    /// More than anybody needs.
    #[error("a header block is larger than {LARGEST_BLOCK} bytes")]
    TooLarge,
    /// It ends too early or too late.
    #[error("the lengths in a header block do not add up")]
    Lengths,
    /// Names must be ASCII in lower case, values text, and no name may be empty.
    #[error("a header block has a name or value that is not text in the form SPDY wants")]
    Text,
}

/// Reads the header blocks of one direction, in the order they arrive.
pub(super) struct HeaderReader(Decompress);

impl HeaderReader {
    pub fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// One block.
    pub fn read(&mut self, compressed: &[u8]) -> Result<Headers, HeaderError> {
        parse(&self.inflate(compressed)?)
    }

    fn inflate(&mut self, mut compressed: &[u8]) -> Result<Vec<u8>, HeaderError> {
        let failed = |error: &dyn std::fmt::Display| HeaderError::Compression(error.to_string());
        let mut block = Vec::new();
        loop {
            block.reserve(STEP);
            let (read, written) = (self.0.total_in(), self.0.total_out());
            let status = match self.0.decompress_vec(compressed, &mut block, FlushDecompress::Sync) {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|error| failed(&error))?;
                    Status::Ok
                }
                other => other.map_err(|error| failed(&error))?,
            };
            let used = usize::try_from(self.0.total_in() - read).unwrap_or(usize::MAX);
            compressed = compressed.get(used..).unwrap_or_default();
            if block.len() > LARGEST_BLOCK {
                return Err(HeaderError::TooLarge);
            }
            let idle = used == 0 && self.0.total_out() == written;
            let full = block.len() == block.capacity();
            if status == Status::StreamEnd || idle || (compressed.is_empty() && !full) {
                return if compressed.is_empty() { Ok(block) } else { Err(HeaderError::Lengths) };
            }
        }
    }
}

fn parse(mut block: &[u8]) -> Result<Headers, HeaderError> {
    let count = block.try_get_u32().map_err(|_| HeaderError::Lengths)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let name = take_text(&mut block)?;
        if name.is_empty() || !name.is_ascii() || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(HeaderError::Text);
        }
        headers.push((name, take_text(&mut block)?));
    }
    if block.is_empty() { Ok(Headers(headers)) } else { Err(HeaderError::Lengths) }
}

fn take_text(block: &mut &[u8]) -> Result<String, HeaderError> {
    let length = block.try_get_u32().map_err(|_| HeaderError::Lengths)?;
    let length = usize::try_from(length).map_err(|_| HeaderError::Lengths)?;
    let (text, rest) = block.split_at_checked(length).ok_or(HeaderError::Lengths)?;
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| HeaderError::Text)
}

fn put_text(block: &mut Vec<u8>, text: &str) {
    // What is written is short and our own, or has arrived with a length of this size.
    block.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    block.put_slice(text.as_bytes());
}

/// Writes the header blocks of one direction, in the order they are sent.
pub(super) struct HeaderWriter(Compress);

impl HeaderWriter {
    pub fn new() -> Result<Self, HeaderError> {
        let mut compress = Compress::new(Compression::fast(), true);
        let dictionary = compress.set_dictionary(&DICTIONARY);
        dictionary.map_err(|error| HeaderError::Compression(error.to_string()))?;
        Ok(Self(compress))
    }

    /// One block.
    pub fn write(&mut self, headers: &Headers) -> Result<Vec<u8>, HeaderError> {
        let mut block = Vec::new();
        block.put_u32(u32::try_from(headers.0.len()).unwrap_or(u32::MAX));
        for (name, value) in &headers.0 {
            put_text(&mut block, name);
            put_text(&mut block, value);
        }
        let mut rest = block.as_slice();
        let mut compressed = Vec::new();
        loop {
            compressed.reserve(STEP);
            let read = self.0.total_in();
            let flushed = self.0.compress_vec(rest, &mut compressed, FlushCompress::Sync);
            flushed.map_err(|error| HeaderError::Compression(error.to_string()))?;
            let used = usize::try_from(self.0.total_in() - read).unwrap_or(usize::MAX);
            rest = rest.get(used..).unwrap_or_default();
            // A flush is complete once it has left room in the output.
            if rest.is_empty() && compressed.len() < compressed.capacity() {
                return Ok(compressed);
            }
        }
    }
}

#[cfg(test)]
#[path = "header_block_tests.rs"]
mod tests;
