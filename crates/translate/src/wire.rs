//! One message, one encoding. Protobuf maps have no order, so that the same message may encode to
//! different bytes; versions are hashes of bytes, and a proxy must not be sent what it already has.
//! Entries of the maps that our resources use are therefore sorted after encoding.

use prost::{
    Message,
    encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint},
};

/// Where a message has maps: its own map fields, and its fields that hold messages with maps.
pub(crate) struct Shape {
    maps: &'static [u32],
    children: &'static [(u32, &'static Shape)],
}

/// A shape of a message that only its own module knows.
pub(crate) const fn shape(maps: &'static [u32], children: &'static [(u32, &'static Shape)]) -> Shape {
    Shape { maps, children }
}

/// `google.protobuf.Struct`, and the entries, values and lists within.
static STRUCT: Shape = Shape { maps: &[1], children: &[(1, &STRUCT_ENTRY)] };
static STRUCT_ENTRY: Shape = Shape { maps: &[], children: &[(2, &VALUE)] };
static VALUE: Shape = Shape { maps: &[], children: &[(5, &STRUCT), (6, &LIST)] };
static LIST: Shape = Shape { maps: &[], children: &[(1, &VALUE)] };

static METADATA: Shape = Shape { maps: &[1, 2], children: &[(1, &METADATA_ENTRY)] };
static METADATA_ENTRY: Shape = Shape { maps: &[], children: &[(2, &STRUCT)] };

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
pub(crate) static LOAD_ASSIGNMENT: Shape = Shape { maps: &[5], children: &[(2, &LOCALITY_ENDPOINTS)] };
static LOCALITY_ENDPOINTS: Shape = Shape { maps: &[], children: &[(2, &LB_ENDPOINT)] };
static LB_ENDPOINT: Shape = Shape { maps: &[], children: &[(3, &METADATA)] };

/// `envoy.config.cluster.v3.Cluster`.
pub(crate) static CLUSTER: Shape =
    Shape { maps: &[36], children: &[(25, &METADATA), (33, &LOAD_ASSIGNMENT)] };

/// `envoy.config.route.v3.RouteConfiguration`.
pub(crate) static ROUTE_CONFIGURATION: Shape = Shape { maps: &[], children: &[(2, &VIRTUAL_HOST)] };
/// `envoy.config.route.v3.VirtualHost`.
pub(crate) static VIRTUAL_HOST: Shape = Shape { maps: &[15], children: &[(3, &ROUTE)] };
static ROUTE: Shape = Shape { maps: &[13], children: &[(4, &METADATA)] };

/// `envoy.config.listener.v3.Listener`.
pub(crate) static LISTENER: Shape =
    Shape { maps: &[], children: &[(3, &FILTER_CHAIN), (6, &METADATA), (25, &FILTER_CHAIN)] };
static FILTER_CHAIN: Shape = Shape { maps: &[], children: &[(5, &METADATA)] };

/// `HttpConnectionManager`, for the route configuration it may hold.
pub(crate) static CONNECTION_MANAGER: Shape = Shape { maps: &[], children: &[(4, &ROUTE_CONFIGURATION)] };

/// `FileAccessLog`: `log_format` with its `json_format`.
pub(crate) static FILE_ACCESS_LOG: Shape = Shape { maps: &[], children: &[(5, &FORMAT)] };
static FORMAT: Shape = Shape { maps: &[], children: &[(2, &STRUCT)] };

/// `istio.networking.nds.v1.NameTable`.
pub(crate) static NAME_TABLE: Shape = Shape { maps: &[1], children: &[] };

/// A message without maps of more than one entry.
pub(crate) static PLAIN: Shape = Shape { maps: &[], children: &[] };

/// Encodes `message` so that equal messages have equal bytes.
pub(crate) fn encode(message: &impl Message, shape: &Shape) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    if shape.maps.is_empty() && shape.children.is_empty() {
        return bytes;
    }
    let mut sorted = Vec::with_capacity(bytes.len());
    match sort(&bytes, shape, &mut sorted) {
        Some(()) => sorted,
        // Not reached: the bytes were encoded just above.
        None => bytes,
    }
}

/// Copies an encoded message with the entries of its maps in order.
fn sort(mut rest: &[u8], shape: &Shape, into: &mut Vec<u8>) -> Option<()> {
    let mut entries: Vec<(u32, Vec<u8>)> = Vec::new();
    while !rest.is_empty() {
        let start = rest;
        let (tag, wire_type) = decode_key(&mut rest).ok()?;
        let is_map = shape.maps.contains(&tag);
        if !is_map {
            flush(&mut entries, into);
        }
        if wire_type != WireType::LengthDelimited {
            skip(wire_type, &mut rest)?;
            into.extend_from_slice(start.get(..start.len() - rest.len())?);
            continue;
        }
        let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        let value = rest.get(..length)?;
        rest = rest.get(length..)?;
        let child = shape.children.iter().find(|(child, _)| *child == tag).map(|(_, child)| *child);
        let value = match child {
            Some(child) => {
                let mut sorted = Vec::with_capacity(value.len());
                sort(value, child, &mut sorted)?;
                sorted
            }
            None => value.to_vec(),
        };
        if is_map {
            entries.push((tag, value));
        } else {
            write(tag, &value, into);
        }
    }
    flush(&mut entries, into);
    Some(())
}

/// Writes the gathered entries. They begin with their key, so that sorting them sorts by it.
fn flush(entries: &mut Vec<(u32, Vec<u8>)>, into: &mut Vec<u8>) {
    entries.sort();
    for (tag, entry) in entries.drain(..) {
        write(tag, &entry, into);
    }
}

fn write(tag: u32, value: &[u8], into: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(value.len() as u64, into);
    into.extend_from_slice(value);
}

fn skip(wire_type: WireType, rest: &mut &[u8]) -> Option<()> {
    match wire_type {
        WireType::Varint => {
            decode_varint(rest).ok()?;
        }
        WireType::SixtyFourBit => *rest = rest.get(8..)?,
        WireType::ThirtyTwoBit => *rest = rest.get(4..)?,
        WireType::LengthDelimited | WireType::StartGroup | WireType::EndGroup => return None,
    }
    Some(())
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
