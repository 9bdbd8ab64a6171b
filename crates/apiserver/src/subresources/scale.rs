//! `scale`: the number of replicas of anything that has one, as autoscaling/v1 Scale.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::api::{Api, WriteOptions};
use crate::error::{ApiError, FieldError};
use crate::http::body;
use crate::http::response::{self, Answer};
use crate::http::service::{Call, read_patch};
use crate::object::{self, at, integer, map, set};
use crate::operations::update;
use crate::patch::{PatchKind, json_patch, merge_patch};

pub(super) async fn answer(
    api: &Api,
    call: &Call,
    bytes: &Bytes,
    content_type: &str,
) -> Result<Answer, ApiError> {
    let (namespace, name, _) = call.place();
    for _ in 0..5 {
        let current = api.find(&call.resource, namespace, name)?;
        let shown = scale(call, &current.object);
        let (wanted, options) = match call.method.as_str() {
            "GET" => return Ok(response::object(200, &shown, call.accepted)),
            "PUT" => (body::decode(bytes, content_type)?, call.write_options()?),
            _ => {
                let (patch, options) = read_patch(call, bytes, content_type)?;
                let patched = match patch.kind {
                    PatchKind::Json => json_patch(&shown, &patch.body)?,
                    // A Scale has no lists: strategic merge, and applying it, are plain merges.
                    PatchKind::Merge | PatchKind::Strategic | PatchKind::Apply => {
                        merge_patch(&shown, &patch.body)?
                    }
                };
                (patched, options)
            }
        };
        let expected = object::resource_version(&wanted);
        if !expected.is_empty() && expected != current.revision.to_string() {
            return Err(ApiError::changed_meanwhile(call.resource.named(name)));
        }
        let scaled = scaled(call, &current.object, &wanted)?;
        let options = WriteOptions { field_validation: crate::api::FieldValidation::Ignore, ..options };
        let mut warnings = Vec::new();
        let replaced =
            update::replace(api, &call.resource, "", &current, scaled, &options, &mut warnings).await?;
        if let Some(stored) = replaced {
            let mut answer = response::object(200, &scale(call, &stored), call.accepted);
            response::warn(&mut answer, &warnings);
            return Ok(answer);
        }
    }
    Err(ApiError::changed_meanwhile(call.resource.named(name)))
}

/// The paths of wanted and actual replicas.
fn paths(call: &Call) -> (Vec<String>, Vec<String>) {
    let split = |path: &str| path.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match call.resource.custom.as_ref().and_then(|custom| custom.scale.as_ref()) {
        Some(scale) => (split(&scale.spec_replicas), split(&scale.status_replicas)),
        None => (split("spec.replicas"), split("status.replicas")),
    }
}

fn number(object: &Value, path: &[String]) -> i64 {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    integer(object, &path).unwrap_or_default()
}

fn scale(call: &Call, object: &Value) -> Value {
    let (wanted, actual) = paths(call);
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = at(object, &["metadata", field]) {
            set(&mut metadata, &[field], value.clone());
        }
    }
    let mut status = json!({"replicas": number(object, &actual)});
    if let Some(selector) = selector(call, object) {
        set(&mut status, &["selector"], selector);
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": number(object, &wanted)},
        "status": status,
    })
}

/// The pods' selector as text.
fn selector(call: &Call, object: &Value) -> Option<String> {
    if let Some(custom) = &call.resource.custom {
        let path = custom.scale.as_ref()?.label_selector.as_ref()?;
        let path: Vec<&str> = path.split('.').filter(|name| !name.is_empty()).collect();
        return object::text(object, &path).map(str::to_owned);
    }
    let labels =
        map(object, &["spec", "selector", "matchLabels"]).or_else(|| map(object, &["spec", "selector"]))?;
    let pairs = labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    Some(pairs.collect::<Vec<_>>().join(","))
}

fn scaled(call: &Call, object: &Value, wanted: &Value) -> Result<Value, ApiError> {
    let replicas = integer(wanted, &["spec", "replicas"]).unwrap_or_default();
    if replicas < 0 {
        let detail = "must be greater than or equal to 0";
        let error = FieldError::invalid("spec.replicas", &replicas.into(), detail);
        return Err(ApiError::invalid("autoscaling", "Scale", object::name(object), &[error]));
    }
    let mut scaled = object.clone();
    let (path, _) = paths(call);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    set(&mut scaled, &path, replicas);
    Ok(scaled)
}
