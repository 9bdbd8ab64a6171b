//! How single fields are read and written.

use serde::{Deserialize, Deserializer};

/// Reads an optional text in which empty means absent, as it does in protobuf.
pub(crate) fn non_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

/// Reads an optional text in which empty is a value of its own.
pub(crate) fn any_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer)
}

/// Whether a number has the value that need not be written.
pub(crate) fn is_zero(number: &u32) -> bool {
    *number == 0
}
