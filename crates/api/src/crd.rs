//! The custom resource definitions (`apiextensions.k8s.io/v1`) of all kinds, made from the Rust types.

use serde_json::{Map, Value, json};

use crate::{kind::Kind, schema};

/// One CustomResourceDefinition for each kind, ready to be applied: every served version with the
/// same schema, the status subresource, printer columns and rules in CEL.
pub fn custom_resource_definitions() -> Vec<Value> {
    Kind::ALL.into_iter().map(custom_resource_definition).collect()
}

fn custom_resource_definition(kind: Kind) -> Value {
    let schema = object_schema(kind);
    let versions: Vec<_> =
        kind.versions().iter().map(|version| served_version(kind, version, &schema)).collect();
    let mut names = json!({
        "kind": kind.name(),
        "listKind": format!("{}List", kind.name()),
        "plural": kind.plural(),
        "singular": kind.singular(),
        "categories": kind.categories(),
    });
    if !kind.short_names().is_empty() {
        names["shortNames"] = json!(kind.short_names());
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", kind.plural(), kind.group()),
            "labels": { "app.kubernetes.io/part-of": "mizzen" },
        },
        "spec": {
            "group": kind.group(),
            "names": names,
            "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
            "versions": versions,
        },
    })
}

fn served_version(kind: Kind, version: &str, schema: &Value) -> Value {
    let mut served = json!({
        "name": version,
        "served": true,
        "storage": version == kind.storage_version(),
        "schema": { "openAPIV3Schema": schema },
        "subresources": { "status": {} },
    });
    if !kind.printer_columns().is_empty() {
        let columns = kind.printer_columns().iter().map(|column| {
            json!({
                "name": column.name,
                "type": column.column_type,
                "jsonPath": column.json_path,
                "description": column.description,
            })
        });
        served["additionalPrinterColumns"] = columns.collect();
    }
    served
}

/// The schema of a whole object. A spec that has required fields is required itself.
fn object_schema(kind: Kind) -> Value {
    let mut spec = schema::of_spec(kind).clone();
    rewrite_extensions(&mut spec);
    let mut schema = json!({
        "type": "object",
        "description": spec.get("description").cloned().unwrap_or_default(),
        "properties": {
            "spec": spec,
            "status": {
                "type": "object",
                "description": "What the control plane says of the object.",
                "x-kubernetes-preserve-unknown-fields": true,
            },
        },
    });
    if schema["properties"]["spec"].get("required").is_some() {
        schema["required"] = json!(["spec"]);
    }
    schema
}

/// Replaces our own schema extensions with rules in CEL, which every Kubernetes API understands.
fn rewrite_extensions(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    if let Some(Value::Array(names)) = fields.remove("x-mizzen-one-of") {
        let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
        let set: Vec<_> = names.iter().map(|name| format!("(has(self.{name}) ? 1 : 0)")).collect();
        add_rule(
            fields,
            &format!("{} <= 1", set.join(" + ")),
            &format!("set only one of {}", names.join(", ")),
        );
    }
    match fields.remove("x-mizzen-duration") {
        Some(Value::Bool(true)) => {
            let message = "must be a duration of at least 1ms, such as 5s";
            add_rule(fields, "duration(self) >= duration('1ms')", message);
        }
        Some(_) => add_rule(fields, "duration(self) >= duration('0s')", "must be a duration, such as 5s"),
        None => {}
    }
    if fields.remove("x-mizzen-port-keys").is_some() {
        let message = "the keys must be ports, from 1 to 65535";
        add_rule(fields, "self.all(key, 0 < int(key) && int(key) <= 65535)", message);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(inner) {
            rewrite_extensions(inner);
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(rewrite_extensions);
    }
}

fn add_rule(fields: &mut Map<String, Value>, rule: &str, message: &str) {
    let rules = fields.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
    if let Value::Array(rules) = rules {
        rules.push(json!({ "rule": rule, "message": message }));
    }
}

#[cfg(test)]
#[path = "crd_tests.rs"]
mod tests;
