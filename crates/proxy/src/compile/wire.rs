//! Encoded messages taken apart without decoding what is in them. A message of thousands of clusters or
//! virtual hosts takes many times its encoding once decoded, so its large lists are decoded one by one.

use super::CompileError;
use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// One field of an encoded message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u32,
    /// As it stands in the message, with its number.
    pub whole: &'a [u8],
    /// Its value where that is a message, text or bytes; otherwise empty.
    pub value: &'a [u8],
}

/// The fields of an encoded message, in order.
pub fn fields(message: &[u8]) -> impl Iterator<Item = Result<Field<'_>, CompileError>> {
    let mut left = message;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let field = field(&mut left);
        if field.is_err() {
            left = &[];
        }
        Some(field.map_err(|error| CompileError::invalid("", format!("does not decode: {error}"))))
    })
}

fn field<'a>(left: &mut &'a [u8]) -> Result<Field<'a>, prost::DecodeError> {
    let start = *left;
    let (number, kind) = decode_key(left)?;
    let mut end = *left;
    skip_field(kind, number, &mut end, DecodeContext::default())?;
    let mut value: &[u8] = &[];
    if kind == WireType::LengthDelimited {
        decode_varint(left)?;
        value = &left[..left.remaining() - end.remaining()];
    }
    *left = end;
    Ok(Field { number, whole: &start[..start.len() - end.len()], value })
}

/// An encoded message without one of its fields, and the values of that field.
#[derive(Debug, Default)]
pub struct Parted<'a> {
    /// The values in order.
    pub values: Vec<&'a [u8]>,
    /// The rest of the message, encoded.
    pub rest: Vec<u8>,
}

/// Takes the field `number`, whose values are messages, out of an encoded message.
pub fn part(message: &[u8], number: u32) -> Result<Parted<'_>, CompileError> {
    let mut parted = Parted::default();
    for field in fields(message) {
        let field = field?;
        if field.number == number {
            parted.values.push(field.value);
        } else {
            parted.rest.extend_from_slice(field.whole);
        }
    }
    Ok(parted)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
