//! The schema of each kind's spec: what the Rust types say, brought into the form Kubernetes calls structural.
//!
//! It is generated once and used twice: to read objects ([`crate::parse()`]) and, with our own
//! extensions rewritten as rules, in the custom resource definitions.
//!
//! Our extensions:
//! - `x-mizzen-one-of`: fields of which at most one may be set
//! - `x-mizzen-duration`: a Go duration; `true` asks for a millisecond at least, `"zero"` allows nothing too
//! - `x-mizzen-port-keys`: keys that are port numbers
//! - `x-mizzen-alias`: a second name of the field

use std::{collections::BTreeMap, sync::LazyLock};

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::{config::Spec, kind::Kind};

/// The structural schema of a kind's spec, with our own extensions.
pub(crate) fn of_spec(kind: Kind) -> &'static Value {
    static SCHEMAS: LazyLock<BTreeMap<Kind, Value>> =
        LazyLock::new(|| Kind::ALL.into_iter().map(|kind| (kind, generate(kind))).collect());
    static ANYTHING: Value = Value::Bool(true);
    SCHEMAS.get(&kind).unwrap_or(&ANYTHING)
}

fn generate(kind: Kind) -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = Spec::json_schema(kind, settings.into_generator()).to_value();
    make_structural(&mut schema);
    schema
}

/// Brings a generated schema, and all schemas in it, into structural form.
pub(crate) fn make_structural(schema: &mut Value) {
    if let Value::Bool(_) = schema {
        *schema = json!({ "x-kubernetes-preserve-unknown-fields": true });
    }
    let Value::Object(fields) = schema else { return };
    for unused in ["$schema", "$defs", "title", "default"] {
        fields.remove(unused);
    }
    drop_null_alternative(fields);
    join_constants(fields);
    drop_null_type(fields);
    fit_format(fields);
    if matches!(fields.get("additionalProperties"), Some(Value::Bool(true))) {
        fields.remove("additionalProperties");
        fields.insert("x-kubernetes-preserve-unknown-fields".to_owned(), Value::Bool(true));
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(inner) {
            make_structural(inner);
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(make_structural);
        add_aliases(properties);
    }
}

/// `anyOf: [X, null]`, which is how an optional field is described, is X: absent is how null is written.
fn drop_null_alternative(fields: &mut Map<String, Value>) {
    let Some(Value::Array(mut alternatives)) = fields.remove("anyOf") else { return };
    alternatives.retain(|alternative| alternative.get("type") != Some(&json!("null")));
    if let Some(Value::Object(only)) = alternatives.pop() {
        for (name, value) in only {
            fields.entry(name).or_insert(value);
        }
    }
}

/// `oneOf` constants, which is how an enum with described variants is given, is one `enum`.
fn join_constants(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(alternatives)) = fields.remove("oneOf") {
        let mut values = Vec::new();
        for alternative in &alternatives {
            values.extend(alternative.get("const").cloned());
            if let Some(Value::Array(several)) = alternative.get("enum") {
                values.extend(several.iter().cloned());
            }
        }
        fields.insert("type".to_owned(), json!("string"));
        fields.insert("enum".to_owned(), Value::Array(values));
    }
    if let Some(Value::Array(values)) = fields.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
}

/// `type: [X, null]` is X.
fn drop_null_type(fields: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = fields.get("type") else { return };
    if let Some(first) = types.iter().find(|name| **name != json!("null")).cloned() {
        fields.insert("type".to_owned(), first);
    }
}

/// OpenAPI has no unsigned formats: they become bounds.
fn fit_format(fields: &mut Map<String, Value>) {
    let largest = match fields.get("format").and_then(Value::as_str) {
        Some("uint16") => Some(u64::from(u16::MAX)),
        Some("uint32") => Some(u64::from(u32::MAX)),
        Some("uint64") => None,
        _ => return,
    };
    fields.remove("format");
    fields.entry("minimum").or_insert(json!(0));
    if let Some(largest) = largest {
        fields.entry("maximum").or_insert(json!(largest));
    }
}

fn add_aliases(properties: &mut Map<String, Value>) {
    let mut aliases = Vec::new();
    for schema in properties.values_mut() {
        if let Some(Value::String(alias)) =
            schema.as_object_mut().and_then(|fields| fields.remove("x-mizzen-alias"))
        {
            aliases.push((alias, schema.clone()));
        }
    }
    properties.extend(aliases);
}
