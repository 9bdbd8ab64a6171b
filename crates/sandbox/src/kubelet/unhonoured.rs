//! Fields of a pod that the API accepts and this node does not honour, so that a person is told of them by name.
//!
//! The tables list what is honoured; everything else that is set is reported, also what Kubernetes adds tomorrow. Two
//! kinds of fields are left out of the report: those that only restate what happens anyway, and the containers that run
//! this executable. Those are Mizzen's own, injected or installed with the fields a real cluster wants of them, and who
//! wrote the pod can do nothing about them.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

use super::image;

/// What is honoured, with all that is below it. `[*]` is any element; init containers are containers.
const HONOURED: &[&str] = &[
    "activeDeadlineSeconds",
    "automountServiceAccountToken",
    "containers[*].args",
    "containers[*].command",
    "containers[*].env",
    "containers[*].envFrom",
    "containers[*].image",
    "containers[*].lifecycle.postStart",
    "containers[*].lifecycle.preStop",
    "containers[*].livenessProbe",
    "containers[*].name",
    "containers[*].ports[*].containerPort",
    "containers[*].ports[*].name",
    "containers[*].ports[*].protocol",
    "containers[*].readinessProbe",
    // Of sidecars; other values are refused by the API.
    "containers[*].restartPolicy",
    "containers[*].startupProbe",
    "containers[*].stdin",
    "containers[*].stdinOnce",
    "containers[*].tty",
    "containers[*].volumeMounts[*].mountPath",
    "containers[*].volumeMounts[*].name",
    "containers[*].volumeMounts[*].readOnly",
    "containers[*].volumeMounts[*].subPath",
    "containers[*].volumeMounts[*].subPathExpr",
    "containers[*].workingDir",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostNetwork",
    "hostname",
    "nodeName",
    "nodeSelector",
    "readinessGates",
    "restartPolicy",
    "schedulerName",
    "schedulingGates",
    "serviceAccount",
    "serviceAccountName",
    "subdomain",
    "terminationGracePeriodSeconds",
    "volumes[*].configMap",
    "volumes[*].downwardAPI",
    "volumes[*].hostPath",
    "volumes[*].name",
    "volumes[*].projected",
    "volumes[*].secret",
];

/// What one node that pulls no images and is never full honours by itself.
const NOTHING_TO_DO: &[&str] = &[
    "containers[*].imagePullPolicy",
    "containers[*].resources.requests",
    "imagePullSecrets",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "tolerations",
    "topologySpreadConstraints",
];

/// Values that restate what happens anyway.
const AS_IT_IS: &[(&str, &str)] = &[
    ("containers[*].securityContext.allowPrivilegeEscalation", "true"),
    ("containers[*].securityContext.privileged", "false"),
    ("containers[*].securityContext.readOnlyRootFilesystem", "false"),
    ("containers[*].securityContext.runAsNonRoot", "false"),
    ("containers[*].terminationMessagePath", r#""/dev/termination-log""#),
    ("containers[*].terminationMessagePolicy", r#""File""#),
    ("containers[*].volumeMounts[*].mountPropagation", r#""None""#),
    ("containers[*].volumeMounts[*].recursiveReadOnly", r#""Disabled""#),
    ("hostIPC", "false"),
    ("hostPID", "false"),
    ("hostUsers", "true"),
    ("os.name", r#""linux""#),
    ("securityContext.runAsNonRoot", "false"),
    ("setHostnameAsFQDN", "false"),
    ("shareProcessNamespace", "false"),
    ("volumes[*].emptyDir.medium", r#""""#),
];

/// Fields whose parts are reported one by one, though none of them is honoured.
const TOLD_APART: &[&str] = &["affinity", "containers[*].resources", "volumes[*].emptyDir"];

/// The paths of the fields that are set in a pod's spec and have no effect.
pub fn fields(spec: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    // A spec that came as JSON goes back to JSON.
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    for list in ["containers", "initContainers"] {
        for container in value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
            if image::is_own(image) {
                *container = Value::Null;
            }
        }
    }
    visit(&value, "", "spec", &mut found);
    found
}

/// `pattern` is the field's place in the tables, `path` as it is shown.
fn visit(value: &Value, pattern: &str, path: &str, found: &mut Vec<String>) {
    if asks_for_nothing(value) || is_listed(pattern, value) {
        return;
    }
    match value {
        Value::Array(elements) if has_parts(pattern) => {
            for (index, element) in elements.iter().enumerate() {
                visit(element, &format!("{pattern}[*]"), &format!("{path}[{index}]"), found);
            }
        }
        Value::Object(parts) if has_parts(pattern) => {
            for (name, part) in parts {
                let place = match (pattern, name.as_str()) {
                    ("", "initContainers") => "containers".to_owned(),
                    ("", name) => name.to_owned(),
                    (outer, name) => format!("{outer}.{name}"),
                };
                visit(part, &place, &format!("{path}.{name}"), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// `{}`, `[]` and `null`.
fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(parts) => parts.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn is_listed(pattern: &str, value: &Value) -> bool {
    HONOURED.contains(&pattern)
        || NOTHING_TO_DO.contains(&pattern)
        || AS_IT_IS.contains(&(pattern, value.to_string().as_str()))
}

/// Whether the tables know parts of a field.
fn has_parts(pattern: &str) -> bool {
    let is_outer = |known: &str| {
        known.strip_prefix(pattern).is_some_and(|rest| rest.starts_with(['.', '[']) || pattern.is_empty())
    };
    let values = AS_IT_IS.iter().map(|(known, _)| known);
    TOLD_APART.contains(&pattern)
        || HONOURED.iter().chain(NOTHING_TO_DO).chain(TOLD_APART).chain(values).any(|known| is_outer(known))
}

#[cfg(test)]
#[path = "unhonoured_tests.rs"]
mod tests;
