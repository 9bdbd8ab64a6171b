//! Protobuf's JSON form, read straight into the encoding: nothing is made of a message in between, so
//! that a bootstrap of thousands of clusters is read in about the time its text takes to be parsed.

mod encode;
mod known;
mod schema;

use schema::Schema;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _};

/// Reads a message from its JSON form, a text that is being parsed or a value, and encodes it. Unknown
/// fields are an error that names them; read from a text, an error says its line and column.
pub fn encode<'de, M, D>(json: D) -> Result<Vec<u8>, D::Error>
where
    M: prost::Name,
    D: Deserializer<'de>,
{
    let schema =
        Schema::of(&[crate::descriptors::ENVOY, mizzen_proto::DESCRIPTORS]).map_err(D::Error::custom)?;
    let name = M::full_name();
    let message = schema.message(&name).map_err(D::Error::custom)?;
    let mut encoded = Vec::new();
    encode::Fields { schema: &schema, message: &message, encoded: &mut encoded }.deserialize(json)?;
    Ok(encoded)
}

/// Reads a message from its JSON form.
pub fn read<M: prost::Message + prost::Name + Default>(
    json: &serde_json::Value,
) -> Result<M, serde_json::Error> {
    let encoded = encode::<M, _>(json)?;
    M::decode(encoded.as_slice()).map_err(serde_json::Error::custom)
}

#[cfg(test)]
#[path = "../json_tests.rs"]
mod tests;
