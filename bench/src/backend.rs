//! The application behind the proxies, as lean as can be: `/bytes/N` answers N bytes, anything else
//! 1 KiB; bodies of requests are read and forgotten. HTTP/1.1 on one port, HTTP/2 on another.

use anyhow::Context as _;
use bytes::Bytes;
use http::Response;
use memchr::memmem;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Where it speaks HTTP/1.1.
pub const HTTP1: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 20001);
/// Where it speaks HTTP/2 with prior knowledge.
pub const HTTP2: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 20002);

static BODY: [u8; 1024] = [b'x'; 1024];
const BUFFER: usize = 64 * 1024;
static FILLER: [u8; BUFFER] = [b'x'; BUFFER];

/// Serves until it is killed.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
        };
        let (http1, http2) = (bind(HTTP1).await?, bind(HTTP2).await?);
        loop {
            // A connection that ends in an error is the client's to report.
            tokio::select! {
                accepted = http1.accept() => drop(tokio::spawn(serve_http1(accepted?.0))),
                accepted = http2.accept() => drop(tokio::spawn(serve_http2(accepted?.0))),
            }
        }
    })
}

async fn serve_http1(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let small = answer(BODY.len() as u64, &BODY);
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let head = loop {
            if let Some(end) = memmem::find(&buffer[..filled], b"\r\n\r\n") {
                break end + 4;
            }
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
        };
        let (wanted, mut body) = parse(&buffer[..head]);
        let here = body.min((filled - head) as u64);
        buffer.copy_within(head + here as usize..filled, 0);
        filled -= head + here as usize;
        body -= here;
        while body > 0 {
            let most = usize::try_from(body).unwrap_or(BUFFER).min(BUFFER);
            let read = stream.read(&mut buffer[..most]).await?;
            if read == 0 {
                return Ok(());
            }
            body -= read as u64;
        }
        match wanted {
            None => stream.write_all(&small).await?,
            Some(bytes) => send(&mut stream, bytes).await?,
        }
    }
}

fn answer(length: u64, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

async fn send(stream: &mut TcpStream, bytes: u64) -> std::io::Result<()> {
    stream.write_all(&answer(bytes, &[])).await?;
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
        stream.write_all(&FILLER[..part]).await?;
        left -= part as u64;
    }
    Ok(())
}

/// How many bytes the request of this head wants where it says so, and how many it brings.
fn parse(head: &[u8]) -> (Option<u64>, u64) {
    let mut lines = head.split(|byte| *byte == b'\n');
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.trim().parse::<u64>().ok();
    let path = lines.next().unwrap_or_default().split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let wanted = path.strip_prefix(b"/bytes/").and_then(number);
    let name = b"content-length:";
    let brought = lines
        .find(|line| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name))
        .and_then(|line| number(&line[name.len()..]));
    (wanted, brought.unwrap_or(0))
}

async fn serve_http2(stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 24)
        .handshake::<_, Bytes>(stream)
        .await?;
    while let Some(request) = connection.accept().await {
        let (_, mut respond) = request?;
        let head =
            Response::builder().header("content-type", "text/plain").header("content-length", BODY.len());
        let mut body = respond.send_response(head.body(())?, false)?;
        body.send_data(Bytes::from_static(&BODY), true)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
