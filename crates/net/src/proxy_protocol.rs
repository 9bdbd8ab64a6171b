//! The PROXY protocol, versions 1 and 2: who the client of a relayed connection really is.
//!
//! Source: "The PROXY protocol, versions 1 & 2" (HAProxy). The parser is strict: a receiver trusts
//! what it reads here with the client's identity, so anything unusual refuses the connection
//! rather than being read generously.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

/// A version 1 line is at most this long, its CRLF included.
const LONGEST_LINE: usize = 107;
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family and length.
const FIXED_HEADER: usize = 16;
const TYPE_CRC32C: u8 = 0x03;

/// Which version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// What the header says of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version it came in.
    pub version: Version,
    /// The relayed connection's client and the address it dialled. `None` when the sender speaks
    /// for itself (`LOCAL`, as health checks do) or does not know (`UNKNOWN`, `AF_UNSPEC`, Unix
    /// sockets): use the connection's own addresses.
    pub addresses: Option<Addresses>,
    /// Version 2's type-length-values, in order.
    pub values: Vec<(u8, Bytes)>,
}

/// Both ends of the relayed connection; always of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// What the client dialled.
    pub destination: SocketAddr,
}

/// Why bytes are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Neither version's start.
    #[error("the connection does not start with a PROXY protocol header; does the load balancer send one?")]
    NoHeader,
    /// A version 1 line without an end.
    #[error("PROXY protocol version 1 line is longer than {LONGEST_LINE} bytes")]
    LineTooLong,
    /// A version 1 line with wrong content.
    #[error("PROXY protocol version 1 line has a bad {0}")]
    BadLine(&'static str),
    /// A version 2 header with wrong content.
    #[error("PROXY protocol version 2 header has a bad {0}")]
    BadHeader(&'static str),
}

/// Reads a header from the start of `input`. `Ok(None)` asks for more bytes; otherwise the header
/// and its length, after which the relayed stream begins.
pub fn parse(input: &[u8]) -> Result<Option<(Header, usize)>, ParseError> {
    const PREFIX: &[u8] = b"PROXY ";
    let starts = |whole: &[u8]| input.iter().zip(whole).all(|(left, right)| left == right);
    if starts(&SIGNATURE) {
        return if input.len() < FIXED_HEADER { Ok(None) } else { parse_binary(input) };
    }
    if starts(PREFIX) {
        return if input.len() < PREFIX.len() { Ok(None) } else { parse_line(input) };
    }
    Err(ParseError::NoHeader)
}

fn parse_line(input: &[u8]) -> Result<Option<(Header, usize)>, ParseError> {
    let window = input.get(..LONGEST_LINE.min(input.len())).unwrap_or(input);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if window.len() < LONGEST_LINE { Ok(None) } else { Err(ParseError::LineTooLong) };
    };
    let line = window.get(..end).and_then(|line| std::str::from_utf8(line).ok());
    let line = line.filter(|line| line.is_ascii()).ok_or(ParseError::BadLine("character"))?;
    let header = |addresses| Header { version: Version::V1, addresses, values: Vec::new() };
    let fields: Vec<&str> = line.split(' ').collect();
    let addresses = match fields.as_slice() {
        // After UNKNOWN the rest of the line must be ignored.
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", source, destination, source_port, destination_port] => Some(Addresses {
            source: text_address::<Ipv4Addr>(source, source_port)?,
            destination: text_address::<Ipv4Addr>(destination, destination_port)?,
        }),
        ["PROXY", "TCP6", source, destination, source_port, destination_port] => Some(Addresses {
            source: text_address::<Ipv6Addr>(source, source_port)?,
            destination: text_address::<Ipv6Addr>(destination, destination_port)?,
        }),
        ["PROXY", "TCP4" | "TCP6", ..] => return Err(ParseError::BadLine("number of fields")),
        _ => return Err(ParseError::BadLine("protocol")),
    };
    Ok(Some((header(addresses), end + 2)))
}

fn text_address<A: std::str::FromStr + Into<IpAddr>>(
    address: &str,
    port: &str,
) -> Result<SocketAddr, ParseError> {
    let address: A = address.parse().map_err(|_| ParseError::BadLine("address"))?;
    let plain = port == "0" || (port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0'));
    let port = if plain { port.parse().ok() } else { None };
    Ok(SocketAddr::new(address.into(), port.ok_or(ParseError::BadLine("port"))?))
}

fn parse_binary(input: &[u8]) -> Result<Option<(Header, usize)>, ParseError> {
    let [version_command, family, length_high, length_low] = *part::<4>(input, 12)?;
    if version_command >> 4 != 2 {
        return Err(ParseError::BadHeader("version"));
    }
    let length = FIXED_HEADER + usize::from(u16::from_be_bytes([length_high, length_low]));
    let relayed = match version_command & 0xf {
        0 => false,
        1 => true,
        _ => return Err(ParseError::BadHeader("command")),
    };
    let Some(whole) = input.get(..length) else { return Ok(None) };
    let (addresses, address_length) = match family {
        0x00 => (None, 0),
        0x11 | 0x12 => (Some(binary_addresses::<4>(whole)?), 12),
        0x21 | 0x22 => (Some(binary_addresses::<16>(whole)?), 36),
        0x31 | 0x32 => {
            part::<216>(whole, FIXED_HEADER)?;
            (None, 216)
        }
        _ => return Err(ParseError::BadHeader("address family or protocol")),
    };
    if relayed && family & 0xf == 2 {
        return Err(ParseError::BadHeader("protocol: a datagram on a stream"));
    }
    let values = parse_values(whole, FIXED_HEADER + address_length)?;
    let addresses = addresses.filter(|_| relayed);
    Ok(Some((Header { version: Version::V2, addresses, values }, length)))
}

fn binary_addresses<const N: usize>(whole: &[u8]) -> Result<Addresses, ParseError>
where
    IpAddr: From<[u8; N]>,
{
    let source = *part::<N>(whole, FIXED_HEADER)?;
    let destination = *part::<N>(whole, FIXED_HEADER + N)?;
    let source_port = u16::from_be_bytes(*part::<2>(whole, FIXED_HEADER + 2 * N)?);
    let destination_port = u16::from_be_bytes(*part::<2>(whole, FIXED_HEADER + 2 * N + 2)?);
    Ok(Addresses {
        source: SocketAddr::new(source.into(), source_port),
        destination: SocketAddr::new(destination.into(), destination_port),
    })
}

fn parse_values(whole: &[u8], start: usize) -> Result<Vec<(u8, Bytes)>, ParseError> {
    let mut values = Vec::new();
    let mut position = start;
    while position < whole.len() {
        let [kind, high, low] = *part::<3>(whole, position)?;
        let begin = position + 3;
        let end = begin + usize::from(u16::from_be_bytes([high, low]));
        let value = whole.get(begin..end).ok_or(ParseError::BadHeader("length"))?;
        if kind == TYPE_CRC32C {
            check_sum(whole, begin, value)?;
        }
        values.push((kind, Bytes::copy_from_slice(value)));
        position = end;
    }
    Ok(values)
}

/// The checksum covers the whole header with the checksum itself as zeros.
fn check_sum(whole: &[u8], begin: usize, value: &[u8]) -> Result<(), ParseError> {
    let claimed: [u8; 4] = value.try_into().map_err(|_| ParseError::BadHeader("checksum length"))?;
    let bytes = whole.iter().enumerate().map(
        |(index, byte)| {
            if (begin..begin + 4).contains(&index) { 0 } else { *byte }
        },
    );
    if crc32c(bytes) == u32::from_be_bytes(claimed) { Ok(()) } else { Err(ParseError::BadHeader("checksum")) }
}

fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const CASTAGNOLI_REVERSED: u32 = 0x82f6_3b78;
    !bytes.fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (CASTAGNOLI_REVERSED & 0_u32.wrapping_sub(sum & 1))
        })
    })
}

fn part<const N: usize>(whole: &[u8], start: usize) -> Result<&[u8; N], ParseError> {
    whole.get(start..).and_then(<[u8]>::first_chunk).ok_or(ParseError::BadHeader("length"))
}

/// Writes the header to send before a relayed stream. Ends of two families are sent as IPv6 with
/// the IPv4 one mapped. Version 1 has no room for `values`, which are left out.
pub fn encode(
    version: Version,
    addresses: Option<&Addresses>,
    values: &[(u8, Bytes)],
) -> Result<Bytes, EncodeError> {
    let addresses = addresses.map(one_family);
    match version {
        Version::V1 => Ok(encode_line(addresses)),
        Version::V2 => encode_binary(addresses, values),
    }
}

/// Why a header cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Version 2 holds 65,535 bytes after its fixed part.
    #[error("the PROXY protocol values take {0} bytes; a header holds 65535")]
    TooLong(usize),
}

fn one_family(addresses: &Addresses) -> Addresses {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if addresses.source.is_ipv4() == addresses.destination.is_ipv4() {
        return *addresses;
    }
    Addresses { source: mapped(addresses.source), destination: mapped(addresses.destination) }
}

fn encode_line(addresses: Option<Addresses>) -> Bytes {
    let Some(Addresses { source, destination }) = addresses else {
        return Bytes::from_static(b"PROXY UNKNOWN\r\n");
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into()
}

fn encode_binary(addresses: Option<Addresses>, values: &[(u8, Bytes)]) -> Result<Bytes, EncodeError> {
    let mut rest = BytesMut::new();
    let (command, family) = match addresses {
        None => (0x20, 0x00),
        Some(Addresses { source, destination }) => {
            put_address(&mut rest, source.ip());
            put_address(&mut rest, destination.ip());
            rest.put_u16(source.port());
            rest.put_u16(destination.port());
            (0x21, if source.is_ipv4() { 0x11 } else { 0x21 })
        }
    };
    for (kind, value) in values {
        rest.put_u8(*kind);
        rest.put_u16(u16::try_from(value.len()).map_err(|_| EncodeError::TooLong(value.len()))?);
        rest.put_slice(value);
    }
    let length = u16::try_from(rest.len()).map_err(|_| EncodeError::TooLong(rest.len()))?;
    let mut header = BytesMut::with_capacity(FIXED_HEADER + rest.len());
    header.put_slice(&SIGNATURE);
    header.put_u8(command);
    header.put_u8(family);
    header.put_u16(length);
    header.put_slice(&rest);
    Ok(header.freeze())
}

fn put_address(buffer: &mut BytesMut, address: IpAddr) {
    match address {
        IpAddr::V4(address) => buffer.put_slice(&address.octets()),
        IpAddr::V6(address) => buffer.put_slice(&address.octets()),
    }
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;
