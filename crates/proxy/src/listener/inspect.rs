//! Reading the first bytes of a connection, with bounds on how many and how long.
//!
//! The bytes are taken, not peeked at: whoever serves the connection gets them back from its stream,
//! which costs no further system call.

use super::client_hello::{self, FirstBytes};
use super::http_inspector::{self, Detected};
use super::{Inspection, ProxyProtocol};
use bytes::{Buf, Bytes, BytesMut};
use mizzen_net::proxy_protocol::{self, Addresses};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Once the first byte is there, the rest of what an inspector waits for must follow within this
/// time, even where the listener sets no limit.
const LONGEST_ONCE_BEGUN: Duration = Duration::from_secs(15);
/// A PROXY header with all the values anyone sends.
const LONGEST_PROXY_HEADER: usize = 16 * 1024;
const FIRST_READ: usize = 4 * 1024;

/// What inspection found.
#[derive(Debug, Default)]
pub(super) struct Inspected {
    /// Bytes read, to be used again.
    pub prefix: Bytes,
    /// The connection starts with a ClientHello.
    pub tls: bool,
    /// Its server name.
    pub server_name: Option<Arc<str>>,
    /// Its ALPN offers, or the one protocol the HTTP inspector found.
    pub application_protocols: Vec<Vec<u8>>,
    /// What a PROXY header said.
    pub relayed: Option<Addresses>,
}

/// Why inspection ended a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum InspectError {
    #[error("nothing to decide by was sent within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Proxy(#[from] proxy_protocol::ParseError),
    #[error("the PROXY protocol header is longer than {LONGEST_PROXY_HEADER} bytes")]
    ProxyTooLong,
    #[error("the client closed the connection before it said anything")]
    Closed,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What is still looked for.
struct Wanted {
    proxy: Option<ProxyProtocol>,
    tls: bool,
    http: bool,
}

/// Reads until everything the inspection asks for is known. `port` is the destination's.
pub(super) async fn inspect(
    socket: &mut TcpStream,
    inspection: &Inspection,
    port: u16,
) -> Result<Inspected, InspectError> {
    let mut wanted = Wanted {
        proxy: inspection.proxy_protocol,
        tls: inspection.tls.as_ref().is_some_and(|enabled| enabled.at(port)),
        http: inspection.http.as_ref().is_some_and(|enabled| enabled.at(port)),
    };
    let mut inspected = Inspected::default();
    if wanted.is_satisfied() {
        return Ok(inspected);
    }
    let mut buffer = BytesMut::with_capacity(FIRST_READ);
    let mut deadline = inspection.timeout.map(|limit| (Instant::now() + limit, limit));
    loop {
        let read = socket.read_buf(&mut buffer);
        let count = match deadline {
            None => read.await?,
            Some((moment, limit)) => match timeout_at(moment, read).await {
                Ok(count) => count?,
                Err(_) if inspection.continue_on_timeout && wanted.proxy.is_none() => break,
                Err(_) => return Err(InspectError::TimedOut(limit)),
            },
        };
        if count == 0 {
            // A client that has only said little may still want an answer to it (half-close).
            if buffer.is_empty() || wanted.proxy.is_some() {
                return Err(InspectError::Closed);
            }
            break;
        }
        deadline.get_or_insert_with(|| (Instant::now() + LONGEST_ONCE_BEGUN, LONGEST_ONCE_BEGUN));
        wanted.look(&mut buffer, &mut inspected)?;
        if wanted.is_satisfied() {
            break;
        }
    }
    inspected.prefix = buffer.freeze();
    Ok(inspected)
}

impl Wanted {
    fn is_satisfied(&self) -> bool {
        self.proxy.is_none() && !self.tls && !self.http
    }

    /// Looks at what has been read so far and strikes out what is known by it.
    fn look(&mut self, buffer: &mut BytesMut, inspected: &mut Inspected) -> Result<(), InspectError> {
        if let Some(settings) = self.proxy {
            match proxy_protocol::parse(buffer) {
                Ok(None) if buffer.len() > LONGEST_PROXY_HEADER => return Err(InspectError::ProxyTooLong),
                Ok(None) => return Ok(()),
                Ok(Some((header, length))) => {
                    inspected.relayed = header.addresses;
                    buffer.advance(length);
                }
                Err(proxy_protocol::ParseError::NoHeader) if settings.optional => {}
                Err(error) => return Err(error.into()),
            }
            self.proxy = None;
        }
        if buffer.is_empty() {
            return Ok(());
        }
        if self.tls {
            match client_hello::parse(buffer) {
                FirstBytes::Incomplete if buffer.len() < client_hello::LONGEST => return Ok(()),
                FirstBytes::Incomplete | FirstBytes::NotTls => {}
                FirstBytes::Hello(hello) => {
                    inspected.tls = true;
                    inspected.server_name = hello.server_name;
                    inspected.application_protocols = hello.application_protocols;
                    // Encrypted from here on: there is no HTTP to be seen.
                    self.http = false;
                }
            }
            self.tls = false;
        }
        if self.http {
            match http_inspector::detect(buffer) {
                Detected::Incomplete => return Ok(()),
                Detected::Http(name) => inspected.application_protocols = vec![name.into()],
                Detected::Other => {}
            }
            self.http = false;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
