//! Checks a value against a structural schema and says of every field that does not fit, where it is and why.

use regex::Regex;
use serde_json::{Map, Value};

use crate::{duration::Duration, spelling, violation::Violation};

/// Every way in which `value`, at `path`, does not fit `schema`.
pub(crate) fn check(schema: &Value, value: &Value, path: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    check_value(schema, value, path, &mut violations);
    violations
}

/// Takes out the fields that are null: written down or left out, they mean the same. What a schema
/// leaves free is not touched.
pub(crate) fn drop_nulls(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
                if let Some(inner) = schema.get("additionalProperties") {
                    fields.values_mut().for_each(|value| drop_nulls(inner, value));
                }
                return;
            };
            fields.retain(|name, value| !(value.is_null() && properties.contains_key(name)));
            for (name, value) in fields {
                if let Some(inner) = properties.get(name) {
                    drop_nulls(inner, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(inner) = schema.get("items") {
                items.iter_mut().for_each(|item| drop_nulls(inner, item));
            }
        }
        _ => {}
    }
}

fn check_value(schema: &Value, value: &Value, path: &str, violations: &mut Vec<Violation>) {
    match (schema.get("type").and_then(Value::as_str), value) {
        (Some("object"), Value::Object(fields)) => check_object(schema, fields, path, violations),
        (Some("array"), Value::Array(items)) => check_array(schema, items, path, violations),
        (Some("string"), Value::String(text)) => check_text(schema, text, path, violations),
        (Some("integer"), Value::Number(number)) if !number.is_f64() => {
            check_number(schema, value, path, violations)
        }
        (Some("number"), Value::Number(_)) => check_number(schema, value, path, violations),
        (Some("boolean"), Value::Bool(_)) | (None, _) => {}
        (Some(wanted), found) => violations.push(Violation::error(path, wrong_type(wanted, found))),
    }
}

fn wrong_type(wanted: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    match wanted {
        "object" => format!("must be an object, not {found}"),
        "array" => format!("must be a list, not {found}"),
        "string" => format!("must be a text, not {found}; put quotes around it if it is one"),
        "integer" => format!("must be a whole number, not {found}"),
        "number" => format!("must be a number, not {found}"),
        _ => format!("must be true or false, not {found}"),
    }
}

fn check_object(schema: &Value, fields: &Map<String, Value>, path: &str, violations: &mut Vec<Violation>) {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let free = schema.get("x-kubernetes-preserve-unknown-fields").is_some();
    let values = schema.get("additionalProperties");
    for (name, value) in fields {
        if let Some(inner) = properties.get(name) {
            check_value(inner, value, &format!("{path}.{name}"), violations);
        } else if let Some(inner) = values {
            check_value(inner, value, &format!("{path}[{name}]"), violations);
        } else if !free {
            violations.push(Violation::error(format!("{path}.{name}"), unknown_field(name, properties)));
        }
    }
    let is_set = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    for name in texts(schema, "required").filter(|name| !is_set(name)) {
        violations.push(Violation::error(format!("{path}.{name}"), "is required"));
    }
    let set: Vec<_> = texts(schema, "x-mizzen-one-of").filter(|name| is_set(name)).collect();
    if set.len() > 1 {
        let message = format!("has {} set; only one of them can be", set.join(" and "));
        violations.push(Violation::error(path, message));
    }
    if schema.get("x-mizzen-port-keys").is_some() {
        for key in fields.keys().filter(|key| !key.parse::<u16>().is_ok_and(|port| port > 0)) {
            let message = format!("{key:?} is not a port; use a number from 1 to 65535");
            violations.push(Violation::error(format!("{path}[{key}]"), message));
        }
    }
    check_size(schema, ("minProperties", "maxProperties"), fields.len(), "entries", path, violations);
}

fn check_array(schema: &Value, items: &[Value], path: &str, violations: &mut Vec<Violation>) {
    check_size(schema, ("minItems", "maxItems"), items.len(), "entries", path, violations);
    if let Some(inner) = schema.get("items") {
        for (index, item) in items.iter().enumerate() {
            check_value(inner, item, &format!("{path}[{index}]"), violations);
        }
    }
}

fn check_text(schema: &Value, text: &str, path: &str, violations: &mut Vec<Violation>) {
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.iter().any(|value| value.as_str() == Some(text))
    {
        let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
        let message = format!("{text:?} is not one of {}", allowed.join(", "));
        violations.push(Violation::error(path, message));
    }
    check_size(schema, ("minLength", "maxLength"), text.chars().count(), "characters", path, violations);
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
    {
        violations.push(Violation::error(path, format!("{text:?} does not match {pattern}")));
    }
    if let Some(rule) = schema.get("x-mizzen-duration") {
        match text.parse::<Duration>() {
            Err(error) => violations.push(Violation::error(path, error.to_string())),
            Ok(length) if rule == "zero" || length >= Duration::from_millis(1) => {}
            Ok(_) => {
                violations.push(Violation::error(path, "must be at least 1ms; leave it out for the default"))
            }
        }
    }
}

fn check_number(schema: &Value, number: &Value, path: &str, violations: &mut Vec<Violation>) {
    let Some(value) = number.as_f64() else { return };
    let bound = |name: &str| schema.get(name).and_then(|bound| Some((bound, bound.as_f64()?)));
    if let Some((bound, least)) = bound("minimum")
        && value < least
    {
        violations
            .push(Violation::error(path, format!("{number} is too small; the least is {}", plain(bound))));
    }
    if let Some((bound, most)) = bound("maximum")
        && value > most
    {
        violations
            .push(Violation::error(path, format!("{number} is too large; the most is {}", plain(bound))));
    }
}

/// A bound without the decimals that schema generators write whole numbers with.
fn plain(bound: &Value) -> String {
    match bound.as_f64() {
        Some(value) if value.fract() == 0.0 => format!("{value:.0}"),
        _ => bound.to_string(),
    }
}

fn check_size(
    schema: &Value,
    (least, most): (&str, &str),
    size: usize,
    of_what: &str,
    path: &str,
    violations: &mut Vec<Violation>,
) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    if bound(least) == Some(1) && size == 0 {
        violations.push(Violation::error(path, "must not be empty"));
    } else if let Some(least) = bound(least).filter(|least| size < *least) {
        violations.push(Violation::error(path, format!("has {size} {of_what}; the least is {least}")));
    }
    if let Some(most) = bound(most).filter(|most| size > *most) {
        violations.push(Violation::error(path, format!("has {size} {of_what}; the most is {most}")));
    }
}

fn texts<'a>(schema: &'a Value, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    schema.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn unknown_field(name: &str, properties: &Map<String, Value>) -> String {
    match spelling::nearest(name, properties.keys().map(String::as_str)) {
        Some(known) => format!("unknown field; did you mean {known}?"),
        None => "unknown field; check its spelling and indentation".to_owned(),
    }
}
