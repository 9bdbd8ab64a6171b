//! Schemas: of CustomResourceDefinitions (structural OpenAPI v3) and of the built-in kinds. Both are walked as the JSON they
//! are, side by side with the object.

pub(crate) mod cel;
pub(crate) mod defaults;
pub(crate) mod prune;
pub(crate) mod structural;
pub(crate) mod validate;

use serde_json::Value;

use crate::resources::builtin::{SCHEMA_PREFIX, schemas};

/// Deepest nesting that is walked. Deeper values are refused before they get here.
pub(crate) const MAX_DEPTH: usize = 100;

/// Follows references (also those wrapped into an `allOf` of one) to the schema that says something.
pub(crate) fn resolve(schema: &Value) -> &Value {
    let mut current = schema;
    for _ in 0..8 {
        let reference = current.get("$ref").or_else(|| match current.get("allOf")?.as_array()?.as_slice() {
            [only] if current.get("type").is_none() => only.get("$ref"),
            _ => None,
        });
        let target = reference
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix(SCHEMA_PREFIX))
            .and_then(|name| schemas().get(name));
        match target {
            Some(target) => current = target,
            None => break,
        }
    }
    current
}

/// Whether a flag such as `nullable` is set.
pub(crate) fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// Whether whatever is in the value is kept.
pub(crate) fn preserves_unknown(schema: &Value) -> bool {
    flag(schema, "x-kubernetes-preserve-unknown-fields")
}

/// Whether the value may be a number or text.
pub(crate) fn is_int_or_string(schema: &Value) -> bool {
    flag(schema, "x-kubernetes-int-or-string")
        || schema.get("format").and_then(Value::as_str) == Some("int-or-string")
}

/// `path.field`, or the field alone at the root.
pub(crate) fn field_path(parent: &str, field: &str) -> String {
    if parent.is_empty() { field.to_owned() } else { format!("{parent}.{field}") }
}

/// The depth of nesting of a value, no deeper than a bit above [`MAX_DEPTH`].
pub(crate) fn is_too_deep(value: &Value) -> bool {
    fn deeper_than(value: &Value, left: usize) -> bool {
        if left == 0 {
            return true;
        }
        match value {
            Value::Object(map) => map.values().any(|value| deeper_than(value, left - 1)),
            Value::Array(list) => list.iter().any(|value| deeper_than(value, left - 1)),
            _ => false,
        }
    }
    deeper_than(value, MAX_DEPTH)
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
