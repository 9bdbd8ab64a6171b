//! What makes an object of a built-in kind invalid, with Kubernetes' messages. Not everything Kubernetes checks, but what
//! people get wrong and controllers rely on.

pub(crate) mod names;
mod pod;
mod service;
mod workload;

use serde_json::Value;

use crate::error::FieldError;
use crate::object::{self, at, items, text_or_empty};
use crate::resources::{Resource, definition_checks};
use crate::selector::LabelSelector;

/// Adds everything wrong with an object, on its own and as a replacement of `old`.
pub(crate) fn violations(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
    errors: &mut Vec<FieldError>,
) {
    match &*resource.collection {
        "/pods" => pod::violations(object, old, errors),
        "/services" => service::violations(object, errors),
        "/configmaps" | "/secrets" => data(object, old, errors),
        "apps/deployments" | "apps/replicasets" | "apps/statefulsets" | "apps/daemonsets" => {
            workload::violations(object, old, errors);
        }
        "batch/jobs" => workload::job(object, old, errors),
        "batch/cronjobs" => workload::cron_job(object, errors),
        "apiextensions.k8s.io/customresourcedefinitions" => {
            errors.extend(definition_checks::violations(object))
        }
        "discovery.k8s.io/endpointslices" => endpoint_slice(object, old, errors),
        "rbac.authorization.k8s.io/rolebindings" | "rbac.authorization.k8s.io/clusterrolebindings" => {
            binding(object, old, errors);
        }
        "admissionregistration.k8s.io/mutatingwebhookconfigurations"
        | "admissionregistration.k8s.io/validatingwebhookconfigurations" => webhooks(object, errors),
        _ => {}
    }
}

/// A value that cannot change once it is there.
fn immutable(object: &Value, old: Option<&Value>, path: &[&str], errors: &mut Vec<FieldError>) {
    let Some(old) = old else { return };
    let (before, after) = (at(old, path), at(object, path));
    if before != after {
        let value = after.cloned().unwrap_or_default();
        errors.push(FieldError::invalid(path.join("."), &value, "field is immutable"));
    }
}

/// A whole number in a range that is a port.
fn port_number(path: String, value: Option<&Value>, errors: &mut Vec<FieldError>) {
    match value.and_then(Value::as_i64) {
        Some(1..=65_535) => {}
        _ => {
            let value = value.cloned().unwrap_or_else(|| 0.into());
            errors.push(FieldError::invalid(path, &value, "must be between 1 and 65535, inclusive"));
        }
    }
}

/// Largest sum of values of a ConfigMap or Secret, in bytes.
const MAX_DATA: usize = 1024 * 1024;

fn data(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let is_key = |key: &str| {
        !key.is_empty()
            && key.len() <= 253
            && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object::map(object, &[field]).into_iter().flatten() {
            if !is_key(key) {
                let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                errors.push(FieldError::invalid(format!("{field}[{key}]"), &key.as_str().into(), detail));
            }
            size += value.as_str().map_or(0, str::len);
        }
    }
    if size > MAX_DATA * 4 / 3 {
        errors.push(FieldError::too_long("data", MAX_DATA as u64));
    }
    if old.is_some_and(|old| at(old, &["immutable"]) == Some(&Value::Bool(true))) {
        for field in ["data", "binaryData"] {
            if at(object, &[field]) != old.and_then(|old| at(old, &[field])) {
                errors.push(FieldError::forbidden(field, "field is immutable when `immutable` is set"));
            }
        }
    }
    if object::kind(object) == "Secret" {
        immutable(object, old, &["type"], errors);
        tls_secret(object, errors);
    }
}

fn tls_secret(object: &Value, errors: &mut Vec<FieldError>) {
    if text_or_empty(object, &["type"]) != "kubernetes.io/tls" {
        return;
    }
    for key in ["tls.crt", "tls.key"] {
        if at(object, &["data", key]).is_none() {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
}

fn endpoint_slice(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let kind = text_or_empty(object, &["addressType"]);
    match kind {
        "" => errors.push(FieldError::required("addressType", "")),
        "IPv4" | "IPv6" | "FQDN" => {}
        other => {
            errors.push(FieldError::not_supported("addressType", &other.into(), &["FQDN", "IPv4", "IPv6"]))
        }
    }
    immutable(object, old, &["addressType"], errors);
    for (index, endpoint) in items(object, &["endpoints"]).iter().enumerate() {
        if items(endpoint, &["addresses"]).is_empty() {
            errors.push(FieldError::required(
                format!("endpoints[{index}].addresses"),
                "must contain at least 1 address",
            ));
        }
    }
}

fn binding(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if text_or_empty(object, &["roleRef", "name"]).is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    }
    if old.is_some_and(|old| old.get("roleRef") != object.get("roleRef")) {
        let value = object.get("roleRef").cloned().unwrap_or_default();
        errors.push(FieldError::invalid("roleRef", &value, "cannot change roleRef"));
    }
}

fn webhooks(object: &Value, errors: &mut Vec<FieldError>) {
    for (index, webhook) in items(object, &["webhooks"]).iter().enumerate() {
        let path = format!("webhooks[{index}]");
        let name = text_or_empty(webhook, &["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if name.split('.').count() < 3 {
            let detail = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(format!("{path}.name"), &name.into(), detail));
        }
        let has = |field: &str| at(webhook, &["clientConfig", field]).is_some();
        if has("url") == has("service") {
            errors.push(FieldError::required(
                format!("{path}.clientConfig"),
                "exactly one of url or service is required",
            ));
        }
        if text_or_empty(webhook, &["sideEffects"]).is_empty() {
            errors.push(FieldError::required(
                format!("{path}.sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ));
        }
        if items(webhook, &["admissionReviewVersions"]).is_empty() {
            let detail = "must specify one of v1, v1beta1";
            errors.push(FieldError::required(format!("{path}.admissionReviewVersions"), detail));
        }
        for field in ["namespaceSelector", "objectSelector"] {
            if let Some(selector) = webhook.get(field)
                && let Err(detail) = LabelSelector::from_object(selector)
            {
                errors.push(FieldError::invalid(format!("{path}.{field}"), selector, detail));
            }
        }
    }
}

#[cfg(test)]
#[path = "validation_tests.rs"]
mod tests;
