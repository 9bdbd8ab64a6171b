//! Filling in a structural schema's defaults.

use serde_json::Value;

use super::flag;

/// Fills in what is absent, in the object and in what was filled in.
pub(crate) fn apply(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten()
            {
                if let Some(default) = property.get("default") {
                    let absent = match map.get(name) {
                        None => true,
                        Some(found) => found.is_null() && !flag(property, "nullable"),
                    };
                    if absent {
                        map.insert(name.clone(), default.clone());
                    }
                }
                if let Some(found) = map.get_mut(name) {
                    apply(found, property);
                }
            }
            if let Some(additional) = schema.get("additionalProperties") {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, found) in map.iter_mut() {
                    if known.is_none_or(|known| !known.contains_key(name)) {
                        apply(found, additional);
                    }
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for item in list {
                    apply(item, items);
                }
            }
        }
        _ => {}
    }
}
