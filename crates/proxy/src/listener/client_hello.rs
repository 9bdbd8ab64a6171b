//! Reads server name and application protocols out of the first bytes of a connection, without
//! taking part in the handshake (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1).
//!
//! The bytes are an attacker's: every length is checked against what is there, and nothing is kept
//! beyond the bounds below.

use std::sync::Arc;

/// Longest ClientHello we wait for: four records' worth, as no real one needs more.
pub const LONGEST: usize = 64 * 1024;
const RECORD_HEADER: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstBytes {
    /// So far it could become a ClientHello.
    Incomplete,
    /// Not TLS.
    NotTls,
    /// A ClientHello.
    Hello(ClientHello),
}

/// What a client asks for before any key is agreed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// SNI in lower case; none when absent or not a plain host name.
    pub server_name: Option<Arc<str>>,
    /// Protocols offered, most wanted first.
    pub application_protocols: Vec<Vec<u8>>,
}

/// Looks at the first bytes of a connection. A ClientHello may be spread over records.
pub fn parse(bytes: &[u8]) -> FirstBytes {
    let mut handshake = Vec::new();
    let mut rest = bytes;
    loop {
        let (message, more) = match record(rest) {
            Record::Whole(message, more) => (message, more),
            Record::Partial => return FirstBytes::Incomplete,
            Record::Other => return FirstBytes::NotTls,
        };
        rest = more;
        // One record is the rule, so the copy is made for the exception only.
        if handshake.is_empty()
            && let Some(body) = hello_body(message)
        {
            return client_hello(body).map_or(FirstBytes::NotTls, FirstBytes::Hello);
        }
        handshake.extend_from_slice(message);
        if handshake.len() > LONGEST || handshake.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return FirstBytes::NotTls;
        }
        if let Some(body) = hello_body(&handshake) {
            return client_hello(body).map_or(FirstBytes::NotTls, FirstBytes::Hello);
        }
    }
}

enum Record<'a> {
    Whole(&'a [u8], &'a [u8]),
    Partial,
    Other,
}

/// The next handshake record and what follows it.
fn record(bytes: &[u8]) -> Record<'_> {
    let mut reader = Reader(bytes);
    match reader.u8() {
        None => return Record::Partial,
        Some(HANDSHAKE) => {}
        Some(_) => return Record::Other,
    }
    match reader.u8() {
        None => return Record::Partial,
        // The record version is 0x0301 or 0x0303, by RFC 8446 to be ignored; its major never differs.
        Some(3) => {}
        Some(_) => return Record::Other,
    }
    if bytes.len() < RECORD_HEADER {
        return Record::Partial;
    }
    reader.u8();
    let Some(length) = reader.u16() else { return Record::Partial };
    // RFC 8446 §5.1: at most 2^14 bytes, and never empty for handshake messages.
    if length == 0 || length > 1 << 14 {
        return Record::Other;
    }
    match reader.take(usize::from(length)) {
        Some(message) => Record::Whole(message, reader.0),
        None => Record::Partial,
    }
}

/// The body of a ClientHello once all of it is there.
fn hello_body(handshake: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(handshake);
    (reader.u8()? == CLIENT_HELLO).then_some(())?;
    let length = usize::from(reader.u8()?) << 16 | usize::from(reader.u16()?);
    reader.take(length)
}

fn client_hello(body: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?; // version, random
    reader.vector_u8()?; // session id
    reader.vector_u16()?; // cipher suites
    reader.vector_u8()?; // compression methods
    let mut hello = ClientHello::default();
    if reader.0.is_empty() {
        return Some(hello); // TLS 1.2 without extensions
    }
    let mut extensions = Reader(reader.vector_u16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.vector_u16()?;
        match kind {
            EXTENSION_SERVER_NAME => hello.server_name = server_name(content)?,
            EXTENSION_ALPN => hello.application_protocols = application_protocols(content)?,
            _ => {}
        }
    }
    Some(hello)
}

/// The host name. `Some(None)` is a well-formed list without a usable name.
fn server_name(content: &[u8]) -> Option<Option<Arc<str>>> {
    let mut list = Reader(Reader(content).vector_u16()?);
    while !list.0.is_empty() {
        let kind = list.u8()?;
        let name = list.vector_u16()?;
        if kind == 0 {
            let plain = name.len() <= 255 && name.iter().all(|byte| byte.is_ascii_graphic());
            let name = std::str::from_utf8(name).ok().filter(|name| plain && !name.is_empty());
            return Some(name.map(|name| name.to_ascii_lowercase().into()));
        }
    }
    Some(None)
}

fn application_protocols(content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut list = Reader(Reader(content).vector_u16()?);
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        protocols.push(list.vector_u8()?.to_vec());
    }
    Some(protocols)
}

/// Takes fields off the front; `None` when there is too little.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn vector_u8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    fn vector_u16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
#[path = "client_hello_tests.rs"]
mod tests;
