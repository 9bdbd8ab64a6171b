//! Validation of a value against a schema, with the messages of Kubernetes' API server.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use regex::Regex;
use serde_json::{Map, Value};

use super::{field_path, flag, is_int_or_string, preserves_unknown, resolve};
use crate::error::FieldError;
use crate::object::items;

/// Compiled patterns that are kept; beyond that all are dropped and compiled anew.
const KEPT_PATTERNS: usize = 4096;

static PATTERNS: LazyLock<Mutex<HashMap<String, Arc<Regex>>>> = LazyLock::new(Mutex::default);

/// A compiled pattern, from the cache if it is there.
pub(crate) fn regex(pattern: &str) -> Result<Arc<Regex>, String> {
    if let Some(found) = PATTERNS.lock().get(pattern) {
        return Ok(found.clone());
    }
    let compiled =
        Regex::new(pattern).map_err(|error| format!("must be a valid regular expression: {error}"))?;
    let compiled = Arc::new(compiled);
    let mut patterns = PATTERNS.lock();
    if patterns.len() >= KEPT_PATTERNS {
        patterns.clear();
    }
    patterns.insert(pattern.to_owned(), compiled.clone());
    Ok(compiled)
}

/// Everything wrong with an object by its kind's structural schema; rules (CEL) apart.
pub(crate) fn violations(object: &Value, schema: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(object, schema, "", &mut errors);
    errors
}

/// Only what a decoder of the built-in types would stumble over: values of the wrong JSON type.
pub(crate) fn type_errors(value: &Value, schema: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check_types(value, schema, "", &mut errors);
    errors
}

/// Adds everything wrong with a value.
pub(crate) fn check(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if value.is_null() {
        // Absent fields are `required`'s business; null is a value only where the schema says so.
        if !flag(schema, "nullable") && schema.get("type").is_some() && !path.is_empty() {
            errors.push(wrong_type(value, schema_type(schema), path));
        }
        return;
    }
    if !has_type(value, schema) {
        errors.push(wrong_type(value, schema_type(schema), path));
        return;
    }
    constraints(value, schema, path, errors);
    match value {
        Value::Object(map) => check_map(map, schema, path, errors),
        Value::Array(list) => check_list(list, schema, path, errors),
        _ => {}
    }
    combinations(value, schema, path, errors);
}

fn check_types(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let schema = resolve(schema);
    if value.is_null() {
        return;
    }
    if !has_type(value, schema) {
        errors.push(wrong_type(value, schema_type(schema), path));
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let property = schema.get("properties").and_then(|properties| properties.get(name));
                if let Some(property) = property.or_else(|| schema.get("additionalProperties")) {
                    check_types(value, property, &field_path(path, name), errors);
                }
            }
        }
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                if let Some(items) = schema.get("items") {
                    check_types(item, items, &format!("{path}[{index}]"), errors);
                }
            }
        }
        _ => {}
    }
}

fn schema_type(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        // `["string", "null"]`, as schema generators write optional values.
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default()
        }
        _ => "",
    }
}

fn has_type(value: &Value, schema: &Value) -> bool {
    if is_int_or_string(schema) {
        return value.is_string() || is_whole(value);
    }
    match schema_type(schema) {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => is_whole(value),
        "number" => value.is_number(),
        _ => true,
    }
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// The name kube gives a value's type in messages.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_whole(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(value: &Value, wanted: &str, path: &str) -> FieldError {
    let got = type_name(value);
    FieldError::wrong_type(path, got, format!("{path} in body must be of type {wanted}: {got:?}"))
}

fn check_map(map: &Map<String, Value>, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for name in items(schema, &["required"]).iter().filter_map(Value::as_str) {
        if !map.contains_key(name) {
            errors.push(FieldError::required(field_path(path, name), ""));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties").filter(|additional| additional.is_object());
    for (name, value) in map {
        if path.is_empty() && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let child = properties.and_then(|properties| properties.get(name)).or(additional);
        if let Some(child) = child {
            check(value, child, &field_path(path, name), errors);
        } else if !preserves_unknown(schema)
            && schema.get("additionalProperties") == Some(&Value::Bool(false))
        {
            errors.push(FieldError::forbidden(field_path(path, name), "unknown field"));
        }
    }
    bounds(map.len(), schema, ("minProperties", "maxProperties"), path, "properties", errors);
}

fn check_list(list: &[Value], schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(item_schema) = schema.get("items") {
        for (index, item) in list.iter().enumerate() {
            check(item, item_schema, &format!("{path}[{index}]"), errors);
        }
    }
    bounds(list.len(), schema, ("minItems", "maxItems"), path, "items", errors);
    let list_type = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
    if list_type == Some("set") || flag(schema, "uniqueItems") {
        duplicates(list.iter().map(Clone::clone), path, errors);
    }
    if list_type == Some("map") {
        let keys: Vec<&str> =
            items(schema, &["x-kubernetes-list-map-keys"]).iter().filter_map(Value::as_str).collect();
        let key_of = |item: &Value| {
            let key = keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(key)?.clone())));
            Value::Object(key.collect())
        };
        duplicates(list.iter().map(key_of), path, errors);
    }
}

fn duplicates(values: impl Iterator<Item = Value>, path: &str, errors: &mut Vec<FieldError>) {
    let mut seen = std::collections::HashSet::new();
    for (index, value) in values.enumerate() {
        if !seen.insert(value.to_string()) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), &value));
        }
    }
}

fn bounds(
    count: usize,
    schema: &Value,
    (least, most): (&str, &str),
    path: &str,
    unit: &str,
    errors: &mut Vec<FieldError>,
) {
    let limit = |name: &str| schema.get(name).and_then(Value::as_u64);
    if let Some(least) = limit(least)
        && (count as u64) < least
    {
        let detail = format!("{path} in body should have at least {least} {unit}");
        errors.push(FieldError::invalid(path, &Value::from(count), detail));
    }
    if let Some(most) = limit(most)
        && (count as u64) > most
    {
        errors.push(FieldError::too_many(path, count, most));
    }
}

/// Bounds on numbers and texts, enumerations and formats.
fn constraints(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let texts: Vec<String> = allowed
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(path, value, &texts));
    }
    if let Some(number) = value.as_f64() {
        numbers(value, number, schema, path, errors);
    }
    if let Some(text) = value.as_str() {
        texts(value, text, schema, path, errors);
    }
}

fn numbers(value: &Value, number: f64, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let mut refuse = |words: &str, bound: f64| {
        errors.push(FieldError::invalid(path, value, format!("{path} in body should be {words} {bound}")));
    };
    if let Some(least) = bound("minimum") {
        match flag(schema, "exclusiveMinimum") {
            true if number <= least => refuse("greater than", least),
            false if number < least => refuse("greater than or equal to", least),
            _ => {}
        }
    }
    if let Some(most) = bound("maximum") {
        match flag(schema, "exclusiveMaximum") {
            true if number >= most => refuse("less than", most),
            false if number > most => refuse("less than or equal to", most),
            _ => {}
        }
    }
    if let Some(factor) = bound("multipleOf")
        && factor != 0.0
        && (number / factor).fract() != 0.0
    {
        refuse("a multiple of", factor);
    }
}

fn texts(value: &Value, text: &str, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let length = text.chars().count() as u64;
    let limit = |name: &str| schema.get(name).and_then(Value::as_u64);
    if let Some(least) = limit("minLength")
        && length < least
    {
        let detail = format!("{path} in body should be at least {least} chars long");
        errors.push(FieldError::invalid(path, value, detail));
    }
    if let Some(most) = limit("maxLength")
        && length > most
    {
        errors.push(FieldError::too_long(path, most));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        match regex(pattern) {
            Ok(compiled) if compiled.is_match(text) => {}
            Ok(_) => errors.push(FieldError::invalid(
                path,
                value,
                format!("{path} in body should match '{pattern}'"),
            )),
            Err(error) => errors.push(FieldError::invalid(path, value, error)),
        }
    }
    if let Some(format) = schema.get("format").and_then(Value::as_str)
        && !has_format(text, format)
    {
        let detail = format!("{path} in body must be of type {format}: {text:?}");
        errors.push(FieldError::invalid(path, value, detail));
    }
}

/// The formats that Kubernetes checks; others are hints.
fn has_format(text: &str, format: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => text.parse::<ipnet::IpNet>().is_ok(),
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        "duration" => super::cel::parse_duration(text).is_some(),
        _ => true,
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`.
fn combinations(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let valid = |branch: &Value| {
        let mut wrong = Vec::new();
        check(value, branch, path, &mut wrong);
        wrong.is_empty()
    };
    for branch in items(schema, &["allOf"]) {
        check(value, branch, path, errors);
    }
    let mut refuse = |detail: String| {
        errors.push(FieldError {
            field: path.to_owned(),
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {detail}"),
        });
    };
    let any = items(schema, &["anyOf"]);
    if !any.is_empty() && !any.iter().any(&valid) {
        refuse(format!("\"\": {path:?} must validate at least one schema (anyOf)"));
    }
    let one = items(schema, &["oneOf"]);
    if !one.is_empty() {
        match one.iter().filter(|branch| valid(branch)).count() {
            1 => {}
            0 => refuse(format!(
                "\"\": {path:?} must validate one and only one schema (oneOf). Found none valid"
            )),
            count => {
                refuse(format!(
                    "\"\": {path:?} must validate one and only one schema (oneOf). Found {count} valid alternatives"
                ));
            }
        }
    }
    if let Some(not) = schema.get("not")
        && valid(not)
    {
        refuse(format!("\"\": {path:?} must not validate the schema (not)"));
    }
}
