//! Looking at a proxy from outside: does it listen, does it answer, what do its statistics say.

use anyhow::{Context as _, bail};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a proxy may take to start; Envoy takes some seconds for thousands of clusters.
const START: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(200);
const ANSWER: Duration = Duration::from_secs(10);

/// Waits until something listens at `address` or `ended` says why it never will.
pub fn listening(address: SocketAddr, mut ended: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => return Err(error.into()),
            Err(_) if begin.elapsed() > START => bail!("nothing listens on {address}"),
            Err(_) => {}
        }
        ended()?;
        std::thread::park_timeout(PAUSE);
    }
}

/// The answer to a GET, head and body.
pub fn get(address: SocketAddr, path: &str, host: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("{address}{path} has no end"))?;
    match answer.split(' ').nth(1) {
        Some("200") => Ok(answer),
        _ => bail!("{address}{path} says '{}'", answer.lines().next().unwrap_or_default()),
    }
}
