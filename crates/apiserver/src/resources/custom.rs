//! Resources that CustomResourceDefinitions make.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Catalogue, Resource, STORED_VERBS, Subresource};
use crate::object::{at, integer, items, text, text_or_empty, uid};

/// A column of `kubectl get`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PrinterColumn {
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    pub json_path: String,
}

/// Where `scale` finds its numbers, as paths with a leading dot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScalePaths {
    pub spec_replicas: String,
    pub status_replicas: String,
    pub label_selector: Option<String>,
}

/// What a definition says about one version of a kind.
#[derive(Debug)]
pub(crate) struct CustomKind {
    /// `uid/generation` of the definition that made it; equal means unchanged.
    pub origin: String,
    pub list_kind: String,
    /// The structural schema. `{"type": "object", "x-kubernetes-preserve-unknown-fields": true}` if none was given.
    pub schema: Value,
    pub columns: Vec<PrinterColumn>,
    pub scale: Option<ScalePaths>,
    /// A warning sent with every answer, if the version is deprecated.
    pub deprecation: Option<String>,
}

/// The served versions of a definition whose names were accepted.
pub(super) fn resources(definition: &Value, previous: Option<&Catalogue>) -> Vec<Resource> {
    if !is_established(definition) {
        return Vec::new();
    }
    let spec = definition.get("spec").unwrap_or(&Value::Null);
    items(spec, &["versions"])
        .iter()
        .filter(|version| version.get("served").and_then(Value::as_bool).unwrap_or_default())
        .map(|version| resource(definition, spec, version, previous))
        .collect()
}

/// Whether a definition has been accepted.
pub(crate) fn is_established(definition: &Value) -> bool {
    items(definition, &["status", "conditions"]).iter().any(|condition| {
        text(condition, &["type"]) == Some("Established") && text(condition, &["status"]) == Some("True")
    })
}

fn resource(definition: &Value, spec: &Value, version: &Value, previous: Option<&Catalogue>) -> Resource {
    let group = text_or_empty(spec, &["group"]).to_owned();
    let version_name = text_or_empty(version, &["name"]).to_owned();
    let plural = text_or_empty(spec, &["names", "plural"]).to_owned();
    let kind = text_or_empty(spec, &["names", "kind"]).to_owned();
    let origin = format!(
        "{}/{}",
        uid(definition),
        integer(definition, &["metadata", "generation"]).unwrap_or_default()
    );
    let kept = previous
        .and_then(|catalogue| catalogue.find(&group, &version_name, &plural))
        .and_then(|resource| resource.custom.clone())
        .filter(|custom| custom.origin == origin);
    let custom = kept.unwrap_or_else(|| Arc::new(custom_kind(origin, spec, version, &kind)));
    let texts = |path: &[&str]| {
        items(spec, path).iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut subresources = Vec::new();
    const READ_WRITE: &[&str] = &["get", "patch", "update"];
    if at(version, &["subresources", "status"]).is_some() {
        subresources.push(Subresource {
            name: "status".to_owned(),
            speaks: None,
            kind: kind.clone(),
            verbs: READ_WRITE,
        });
    }
    if custom.scale.is_some() {
        subresources.push(Subresource {
            name: "scale".to_owned(),
            speaks: Some(("autoscaling".to_owned(), "v1".to_owned())),
            kind: "Scale".to_owned(),
            verbs: READ_WRITE,
        });
    }
    Resource {
        singular: match text_or_empty(spec, &["names", "singular"]) {
            "" => kind.to_ascii_lowercase(),
            singular => singular.to_owned(),
        },
        short_names: texts(&["names", "shortNames"]),
        categories: texts(&["names", "categories"]),
        namespaced: text(spec, &["scope"]) == Some("Namespaced"),
        collection: Arc::from(format!("{group}/{plural}")),
        verbs: STORED_VERBS,
        group,
        version: version_name,
        plural,
        kind,
        subresources,
        custom: Some(custom),
    }
}

fn custom_kind(origin: String, spec: &Value, version: &Value, kind: &str) -> CustomKind {
    let scale = at(version, &["subresources", "scale"]).map(|scale| ScalePaths {
        spec_replicas: text_or_empty(scale, &["specReplicasPath"]).to_owned(),
        status_replicas: text_or_empty(scale, &["statusReplicasPath"]).to_owned(),
        label_selector: text(scale, &["labelSelectorPath"]).map(str::to_owned),
    });
    let deprecation = version.get("deprecated").and_then(Value::as_bool).unwrap_or_default().then(|| {
        match text(version, &["deprecationWarning"]) {
            Some(warning) => warning.to_owned(),
            None => {
                let group = text_or_empty(spec, &["group"]);
                let version = text_or_empty(version, &["name"]);
                format!("{group}/{version} {kind} is deprecated")
            }
        }
    });
    CustomKind {
        origin,
        list_kind: match text_or_empty(spec, &["names", "listKind"]) {
            "" => format!("{kind}List"),
            list_kind => list_kind.to_owned(),
        },
        schema: at(version, &["schema", "openAPIV3Schema"])
            .cloned()
            .unwrap_or_else(|| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
        columns: columns(version),
        scale,
        deprecation,
    }
}

fn columns(version: &Value) -> Vec<PrinterColumn> {
    let given = items(version, &["additionalPrinterColumns"]);
    if given.is_empty() {
        return vec![PrinterColumn {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            description:
                "CreationTimestamp is a timestamp representing the server time when this object was created."
                    .to_owned(),
            priority: 0,
            json_path: ".metadata.creationTimestamp".to_owned(),
        }];
    }
    let column = |column: &Value| PrinterColumn {
        name: text_or_empty(column, &["name"]).to_owned(),
        kind: text_or_empty(column, &["type"]).to_owned(),
        format: text_or_empty(column, &["format"]).to_owned(),
        description: text_or_empty(column, &["description"]).to_owned(),
        priority: integer(column, &["priority"]).unwrap_or_default(),
        json_path: text_or_empty(column, &["jsonPath"]).to_owned(),
    };
    given.iter().map(column).collect()
}
