//! Pods and pod templates.

use std::collections::HashSet;

use serde_json::Value;

use super::names::dns_label;
use super::port_number;
use crate::error::FieldError;
use crate::object::{self, at, items, text, text_or_empty};

pub(super) fn violations(pod: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    match pod.get("spec") {
        Some(inner) => spec(inner, "spec", errors),
        None => errors.push(FieldError::required("spec", "")),
    }
    if let Some(old) = old {
        unchanged(pod, old, errors);
    }
}

/// A running pod's spec stays as it is, but for images, added tolerations and a few numbers.
fn unchanged(pod: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let essence = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        for free in
            ["activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates"]
        {
            object::remove(&mut spec, &[free]);
        }
        // Binding and ephemeral containers have their own paths, which come through here.
        for bound in ["nodeName", "ephemeralContainers"] {
            object::remove(&mut spec, &[bound]);
        }
        for list in ["containers", "initContainers"] {
            if let Some(Value::Array(containers)) = spec.get_mut(list) {
                for container in containers {
                    object::remove(container, &["image"]);
                    object::remove(container, &["imagePullPolicy"]);
                }
            }
        }
        spec
    };
    if essence(pod) != essence(old) {
        errors.push(FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}

/// A pod spec, wherever it is.
pub(super) fn spec(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if items(spec, &["containers"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let policy = text_or_empty(spec, &["restartPolicy"]);
    if !matches!(policy, "" | "Always" | "OnFailure" | "Never") {
        let supported = ["Always", "OnFailure", "Never"];
        errors.push(FieldError::not_supported(format!("{path}.restartPolicy"), &policy.into(), &supported));
    }
    let volumes = volumes(spec, path, errors);
    let mut names = HashSet::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in items(spec, &[list]).iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            if !names.insert(text_or_empty(container, &["name"]))
                && !text_or_empty(container, &["name"]).is_empty()
            {
                errors.push(FieldError::duplicate(
                    format!("{path}.name"),
                    &text_or_empty(container, &["name"]).into(),
                ));
            }
            self::container(container, &path, &volumes, errors);
        }
    }
}

fn volumes<'a>(spec: &'a Value, path: &str, errors: &mut Vec<FieldError>) -> HashSet<&'a str> {
    let mut names = HashSet::new();
    for (index, volume) in items(spec, &["volumes"]).iter().enumerate() {
        let path = format!("{path}.volumes[{index}].name");
        let name = text_or_empty(volume, &["name"]);
        if let Err(detail) = dns_label(name) {
            errors.push(if name.is_empty() {
                FieldError::required(path, "")
            } else {
                FieldError::invalid(path, &name.into(), detail)
            });
        } else if !names.insert(name) {
            errors.push(FieldError::duplicate(path, &name.into()));
        }
    }
    names
}

fn container(container: &Value, path: &str, volumes: &HashSet<&str>, errors: &mut Vec<FieldError>) {
    let name = text_or_empty(container, &["name"]);
    match dns_label(name) {
        _ if name.is_empty() => errors.push(FieldError::required(format!("{path}.name"), "")),
        Err(detail) => errors.push(FieldError::invalid(format!("{path}.name"), &name.into(), detail)),
        Ok(()) => {}
    }
    if text_or_empty(container, &["image"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    }
    for (index, port) in items(container, &["ports"]).iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        match port.get("containerPort") {
            None => errors.push(FieldError::required(format!("{path}.containerPort"), "")),
            number => port_number(format!("{path}.containerPort"), number, errors),
        }
        let protocol = text(port, &["protocol"]).unwrap_or("TCP");
        if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
            errors.push(FieldError::not_supported(
                format!("{path}.protocol"),
                &protocol.into(),
                &["SCTP", "TCP", "UDP"],
            ));
        }
    }
    for (index, variable) in items(container, &["env"]).iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        if text_or_empty(variable, &["name"]).is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        }
        if !text_or_empty(variable, &["value"]).is_empty() && at(variable, &["valueFrom"]).is_some() {
            let detail = "may not be specified when `value` is not empty";
            errors.push(FieldError::invalid(format!("{path}.valueFrom"), &"".into(), detail));
        }
    }
    for (index, mount) in items(container, &["volumeMounts"]).iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let volume = text_or_empty(mount, &["name"]);
        if !volumes.contains(volume) {
            errors.push(FieldError {
                field: format!("{path}.name"),
                reason: "FieldValueNotFound",
                message: format!("Not found: {volume:?}"),
            });
        }
        if text_or_empty(mount, &["mountPath"]).is_empty() {
            errors.push(FieldError::required(format!("{path}.mountPath"), ""));
        }
    }
    for kind in ["limits", "requests"] {
        for (resource, amount) in object::map(container, &["resources", kind]).into_iter().flatten() {
            let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
            if !super::names::is_quantity(&text) {
                let detail = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
                errors.push(FieldError::invalid(
                    format!("{path}.resources.{kind}[{resource}]"),
                    amount,
                    detail,
                ));
            }
        }
    }
}
