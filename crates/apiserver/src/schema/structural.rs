//! Whether a CustomResourceDefinition's schema is structural, as far as pruning, defaulting and validation rely on it.

use serde_json::Value;

use crate::error::FieldError;
use crate::object::items;

/// Adds what is wrong with a schema.
pub(crate) fn violations(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !schema.is_object() {
        errors.push(FieldError::invalid(path, schema, "must be an object"));
        return;
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let typed = !kind.is_empty() || super::is_int_or_string(schema) || super::preserves_unknown(schema);
    if !typed {
        errors.push(FieldError::required(
            format!("{path}.type"),
            "must not be empty for specified object fields",
        ));
    }
    if !matches!(kind, "" | "array" | "boolean" | "integer" | "number" | "object" | "string") {
        let supported = ["array", "boolean", "integer", "number", "object", "string"];
        errors.push(FieldError::not_supported(format!("{path}.type"), &kind.into(), &supported));
    }
    if schema.get("$ref").is_some() {
        errors.push(FieldError::forbidden(format!("{path}.$ref"), "$ref is not supported"));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && let Err(error) = super::validate::regex(pattern)
    {
        errors.push(FieldError::invalid(format!("{path}.pattern"), &pattern.into(), error));
    }
    if kind == "array" && schema.get("items").is_none() {
        errors.push(FieldError::required(format!("{path}.items"), "must be specified"));
    }
    if let Some(default) = schema.get("default") {
        let mut wrong = Vec::new();
        super::validate::check(default, schema, &format!("{path}.default"), &mut wrong);
        errors.extend(wrong);
    }
    if schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map")
        && items(schema, &["x-kubernetes-list-map-keys"]).is_empty()
    {
        let path = format!("{path}.x-kubernetes-list-map-keys");
        errors.push(FieldError::required(path, "must not be empty if x-kubernetes-list-type is map"));
    }
    children(schema, path, errors);
}

fn children(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        // The root's metadata is the server's; a definition may restrict only its name.
        violations(property, &format!("{path}.properties[{name}]"), errors);
    }
    if let Some(items) = schema.get("items") {
        violations(items, &format!("{path}.items"), errors);
    }
    if let Some(additional) = schema.get("additionalProperties")
        && additional.is_object()
    {
        violations(additional, &format!("{path}.additionalProperties"), errors);
    }
}
