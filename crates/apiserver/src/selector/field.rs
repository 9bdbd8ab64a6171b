//! Field selectors: `metadata.name=x,status.phase!=Running`, for the fields Kubernetes supports on each resource.

use serde_json::Value;

use crate::object;
use crate::resources::Resource;

/// All of the requirements hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FieldSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    field: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Reads the text form for a resource; a field that cannot be selected on is refused by name.
    pub fn parse(text: &str, resource: &Resource) -> Result<FieldSelector, String> {
        let mut requirements = Vec::new();
        for part in split_unescaped(text) {
            if part.is_empty() {
                continue;
            }
            let (field, equal, value) = if let Some((field, value)) = part.split_once("!=") {
                (field, false, value)
            } else if let Some((field, value)) = part.split_once("==") {
                (field, true, value)
            } else if let Some((field, value)) = part.split_once('=') {
                (field, true, value)
            } else {
                return Err(format!("invalid field selector: {text:?}; can't understand {part:?}"));
            };
            if !is_selectable(resource, field) {
                return Err(format!("field label not supported: {field}"));
            }
            requirements.push(Requirement { field: field.to_owned(), equal, value: unescape(value) });
        }
        Ok(FieldSelector { requirements })
    }

    /// Whether an object fits.
    pub fn matches(&self, object: &Value) -> bool {
        self.requirements.iter().all(|requirement| {
            (field_value(object, &requirement.field) == requirement.value) == requirement.equal
        })
    }

    /// The one name the selector allows, if it asks for one: such a list is a single look-up.
    pub fn single_name(&self) -> Option<&str> {
        self.requirements
            .iter()
            .find(|requirement| requirement.field == "metadata.name" && requirement.equal)
            .map(|requirement| requirement.value.as_str())
    }
}

fn is_selectable(resource: &Resource, field: &str) -> bool {
    if matches!(field, "metadata.name" | "metadata.namespace") {
        return true;
    }
    let fields: &[&str] = match &*resource.collection {
        "/pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "/events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "/secrets" => &["type"],
        "/nodes" => &["spec.unschedulable"],
        "/namespaces" => &["status.phase"],
        "/services" => &["spec.clusterIP", "spec.type"],
        "/replicationcontrollers" | "apps/replicasets" => &["status.replicas"],
        "batch/jobs" => &["status.successful"],
        _ => &[],
    };
    fields.contains(&field)
}

fn field_value(object: &Value, field: &str) -> String {
    let path: Vec<&str> = match field {
        "source" => vec!["source", "component"],
        "status.successful" => vec!["status", "succeeded"],
        _ => field.split('.').collect(),
    };
    let path: Vec<&str> = match path.split_first() {
        Some((&"regarding", rest)) => std::iter::once("involvedObject").chain(rest.iter().copied()).collect(),
        _ => path,
    };
    match object::at(object, &path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        _ => match field {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            _ => String::new(),
        },
    }
}

/// Splits at commas that no backslash precedes.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match character {
            '\\' if !escaped => escaped = true,
            ',' if !escaped => {
                parts.extend(text.get(start..index));
                start = index + 1;
            }
            _ => escaped = false,
        }
    }
    parts.extend(text.get(start..));
    parts
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

#[cfg(test)]
#[path = "field_tests.rs"]
mod tests;
