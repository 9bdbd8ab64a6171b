//! As much of an HTTP/1.1 client as load needs: one request at a time, answers with a length.

use anyhow::{Context as _, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const BUFFER: usize = 64 * 1024;
/// Zeroes, as the body of uploads.
static FILLER: [u8; BUFFER] = [0; BUFFER];

/// A request, written out.
#[derive(Clone, Debug)]
pub struct Request {
    head: Vec<u8>,
    body: u64,
}

impl Request {
    pub fn get(authority: &str, path: &str) -> Self {
        Self { head: format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n\r\n").into_bytes(), body: 0 }
    }

    pub fn post(authority: &str, path: &str, body: u64) -> Self {
        let head = format!("POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: {body}\r\n\r\n");
        Self { head: head.into_bytes(), body }
    }
}

/// A connection between requests.
pub struct Connection<S> {
    stream: S,
    buffer: Box<[u8]>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; BUFFER].into() }
    }

    /// Sends a request and reads the answer; the bytes of both bodies.
    pub async fn exchange(&mut self, request: &Request) -> anyhow::Result<u64> {
        self.stream.write_all(&request.head).await?;
        let mut left = request.body;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            self.stream.write_all(&FILLER[..part]).await?;
            left -= part as u64;
        }
        self.stream.flush().await?;
        Ok(request.body + self.answer().await?)
    }

    async fn answer(&mut self) -> anyhow::Result<u64> {
        let mut filled = 0;
        let (head, length) = loop {
            ensure!(filled < self.buffer.len(), "the head of the answer has no end");
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the connection was closed before the answer");
            filled += read;
            if let Some(end) = memmem::find(&self.buffer[..filled], b"\r\n\r\n") {
                break (end + 4, length_of(&self.buffer[..end + 4])?);
            }
        };
        let mut left = length.saturating_sub((filled - head) as u64);
        while left > 0 {
            let read = self.stream.read(&mut self.buffer).await?;
            ensure!(read > 0, "the connection was closed within the answer");
            left = left.saturating_sub(read as u64);
        }
        Ok(length)
    }
}

/// The length of the body behind a head whose status is 200.
fn length_of(head: &[u8]) -> anyhow::Result<u64> {
    let text = std::str::from_utf8(head).context("the head of the answer is not text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("the answer is '{status}'");
    }
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            return value.trim().parse().context("content-length is not a number");
        }
    }
    bail!("the answer has no content-length")
}

#[cfg(test)]
#[path = "http1_tests.rs"]
mod tests;
