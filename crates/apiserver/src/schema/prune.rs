//! Dropping what a schema does not know, and telling what was dropped.

use serde_json::{Map, Value};

use super::{field_path, flag, preserves_unknown, resolve};

/// How a schema means fields it does not list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A CustomResourceDefinition's: an object without properties has none.
    Structural,
    /// A built-in kind's: an object without properties is free-form, and null means absent, as Go decodes it.
    BuiltIn,
}

/// Removes unknown fields and returns their paths.
pub(crate) fn prune(value: &mut Value, schema: &Value, style: Style) -> Vec<String> {
    let mut unknown = Vec::new();
    if let Value::Object(map) = value {
        let schema = resolve(schema);
        let kept = take_type_meta(map, schema, style);
        prune_map(map, schema, style, "", &mut unknown);
        restore(map, kept);
    }
    unknown
}

/// `apiVersion`, `kind` and `metadata` of an object are the server's to check, not the schema's.
fn take_type_meta(map: &mut Map<String, Value>, schema: &Value, style: Style) -> Vec<(&'static str, Value)> {
    if style == Style::BuiltIn && schema.get("properties").is_some() {
        return Vec::new();
    }
    let names = ["apiVersion", "kind", "metadata"];
    names.into_iter().filter_map(|name| Some((name, map.shift_remove(name)?))).collect()
}

/// Puts them back where people expect them: first.
fn restore(map: &mut Map<String, Value>, kept: Vec<(&'static str, Value)>) {
    for (position, (name, value)) in kept.into_iter().enumerate() {
        map.shift_insert(position, name.to_owned(), value);
    }
}

fn prune_value(value: &mut Value, schema: &Value, style: Style, path: &str, unknown: &mut Vec<String>) {
    let schema = resolve(schema);
    match value {
        Value::Object(map) if flag(schema, "x-kubernetes-embedded-resource") => {
            let kept = take_type_meta(map, schema, style);
            prune_map(map, schema, style, path, unknown);
            restore(map, kept);
        }
        Value::Object(map) => prune_map(map, schema, style, path, unknown),
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for (index, item) in list.iter_mut().enumerate() {
                    prune_value(item, items, style, &format!("{path}[{index}]"), unknown);
                }
            }
        }
        _ => {}
    }
}

fn prune_map(
    map: &mut Map<String, Value>,
    schema: &Value,
    style: Style,
    path: &str,
    unknown: &mut Vec<String>,
) {
    if style == Style::BuiltIn {
        map.retain(|_, value| !value.is_null());
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional =
        schema.get("additionalProperties").filter(|additional| **additional != Value::Bool(false));
    let keep_all = preserves_unknown(schema)
        || (style == Style::BuiltIn && properties.is_none() && additional.is_none())
        || additional == Some(&Value::Bool(true));
    map.retain(|name, value| {
        if let Some(property) = properties.and_then(|properties| properties.get(name)) {
            prune_value(value, property, style, &field_path(path, name), unknown);
            true
        } else if let Some(additional) = additional {
            prune_value(value, additional, style, &field_path(path, name), unknown);
            true
        } else if keep_all {
            true
        } else {
            unknown.push(field_path(path, name));
            false
        }
    });
}
