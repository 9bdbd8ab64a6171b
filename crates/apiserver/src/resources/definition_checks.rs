//! What a CustomResourceDefinition must be, and the status it gets: names are accepted, and the kind is served, at once.

use serde_json::{Value, json};

use crate::error::FieldError;
use crate::object::{self, items, text, text_or_empty};

/// What is wrong with a definition.
pub(crate) fn violations(definition: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = definition.get("spec").unwrap_or(&Value::Null);
    for path in [&["group"][..], &["names", "plural"], &["names", "kind"], &["scope"]] {
        if text_or_empty(spec, path).is_empty() {
            errors.push(FieldError::required(format!("spec.{}", path.join(".")), ""));
        }
    }
    let expected =
        format!("{}.{}", text_or_empty(spec, &["names", "plural"]), text_or_empty(spec, &["group"]));
    if object::name(definition) != expected {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", &object::name(definition).into(), detail));
    }
    if let Some(scope) = text(spec, &["scope"])
        && !matches!(scope, "Namespaced" | "Cluster")
    {
        errors.push(FieldError::not_supported("spec.scope", &scope.into(), &["Cluster", "Namespaced"]));
    }
    if let Some(strategy) = text(spec, &["conversion", "strategy"])
        && strategy != "None"
    {
        let detail = "conversion webhooks are not supported: use strategy None";
        errors.push(FieldError::invalid("spec.conversion.strategy", &strategy.into(), detail));
    }
    versions(spec, &mut errors);
    errors
}

fn versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let versions = items(spec, &["versions"]);
    if versions.is_empty() {
        errors.push(FieldError::required("spec.versions", "must have at least one version"));
        return;
    }
    let storing =
        versions.iter().filter(|version| version.get("storage") == Some(&Value::Bool(true))).count();
    if storing != 1 {
        let value = Value::from(storing);
        errors.push(FieldError::invalid(
            "spec.versions",
            &value,
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        if text_or_empty(version, &["name"]).is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        }
        let schema_path = format!("{path}.schema.openAPIV3Schema");
        match object::at(version, &["schema", "openAPIV3Schema"]) {
            None => errors.push(FieldError::required(schema_path, "schemas are required")),
            Some(schema) => {
                if text(schema, &["type"]) != Some("object") {
                    let value = schema.get("type").cloned().unwrap_or_else(|| json!(""));
                    errors.push(FieldError::invalid(
                        format!("{schema_path}.type"),
                        &value,
                        "must be object at the root",
                    ));
                }
                crate::schema::structural::violations(schema, &schema_path, errors);
            }
        }
    }
}

/// The definition with the defaults and the status of one that is served. `others` are the definitions already there.
pub(crate) fn accepted(mut definition: Value, others: &[Value]) -> Value {
    let kind = text_or_empty(&definition, &["spec", "names", "kind"]).to_owned();
    object::set_default(&mut definition, &["spec", "names", "singular"], kind.to_ascii_lowercase());
    object::set_default(&mut definition, &["spec", "names", "listKind"], format!("{kind}List"));
    object::set_default(&mut definition, &["spec", "conversion", "strategy"], "None");
    let conflict = name_conflict(&definition, others);
    let now = object::now();
    let condition = |kind: &str, status: bool, reason: &str, message: &str| {
        json!({
            "type": kind,
            "status": if status { "True" } else { "False" },
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        })
    };
    let conditions = match &conflict {
        None => vec![
            condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
            condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        Some(message) => vec![
            condition("NamesAccepted", false, "NamesConflict", message),
            condition("Established", false, "NotAccepted", "not all names are accepted"),
        ],
    };
    let stored: Vec<Value> = items(&definition, &["spec", "versions"])
        .iter()
        .filter(|version| version.get("storage") == Some(&Value::Bool(true)))
        .filter_map(|version| version.get("name").cloned())
        .collect();
    let same = |old: &Value, new: &[Value]| {
        let essence = |list: &[Value]| {
            list.iter()
                .map(|c| (text_or_empty(c, &["type"]).to_owned(), text_or_empty(c, &["status"]).to_owned()))
                .collect::<Vec<_>>()
        };
        essence(items(old, &["status", "conditions"])) == essence(new)
    };
    if !same(&definition, &conditions) {
        object::set(&mut definition, &["status", "conditions"], conditions);
    }
    let names = object::at(&definition, &["spec", "names"]).cloned().unwrap_or_default();
    let accepted_names = if conflict.is_none() { names } else { json!({"plural": "", "kind": ""}) };
    object::set(&mut definition, &["status", "acceptedNames"], accepted_names);
    object::set_default(&mut definition, &["status", "storedVersions"], stored);
    definition
}

/// Two definitions of one group may not share a plural, singular, short name or kind.
fn name_conflict(definition: &Value, others: &[Value]) -> Option<String> {
    let names = |definition: &Value| {
        let spec = |path: &[&str]| text_or_empty(definition, path).to_owned();
        let mut names = vec![spec(&["spec", "names", "plural"]), spec(&["spec", "names", "singular"])];
        names.extend(
            items(definition, &["spec", "names", "shortNames"])
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned),
        );
        names.retain(|name| !name.is_empty());
        names
    };
    let group = text(definition, &["spec", "group"]);
    let mine = names(definition);
    let kind = text(definition, &["spec", "names", "kind"]);
    others
        .iter()
        .filter(|other| object::name(other) != object::name(definition))
        .filter(|other| text(other, &["spec", "group"]) == group && super::custom::is_established(other))
        .find_map(|other| {
            if let Some(name) = names(other).into_iter().find(|name| mine.contains(name)) {
                return Some(format!("{name:?} is already in use"));
            }
            (text(other, &["spec", "names", "kind"]) == kind)
                .then(|| format!("{:?} is already in use", kind.unwrap_or_default()))
        })
}
