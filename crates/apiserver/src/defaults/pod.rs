//! Defaults of pods and pod templates (`pkg/apis/core/v1/defaults.go`).

use serde_json::{Value, json};

use super::each;
use crate::object::{self, at, items, remove, set, set_default, text, text_or_empty};

/// A pod of its own.
pub(super) fn pod(object: &mut Value, old: Option<&Value>) {
    if object.get("spec").is_some() {
        spec(object, &["spec"]);
        set_default(object, &["spec", "enableServiceLinks"], true);
        set_default(object, &["spec", "preemptionPolicy"], "PreemptLowerPriority");
        set_default(object, &["spec", "priority"], 0);
        tolerations(object);
    }
    if old.is_none() {
        set_default(object, &["status", "phase"], "Pending");
        let class = quality(object);
        set(object, &["status", "qosClass"], class);
    }
}

/// Every pod waits five minutes for a node that has gone quiet (the `DefaultTolerationSeconds` admission plugin).
fn tolerations(object: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let present = items(object, &["spec", "tolerations"])
            .iter()
            .any(|found| text(found, &["key"]) == Some(key) || text_or_empty(found, &["key"]).is_empty());
        if !present {
            let mut all = items(object, &["spec", "tolerations"]).to_vec();
            all.push(
                json!({"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 300}),
            );
            set(object, &["spec", "tolerations"], all);
        }
    }
}

/// The pod spec at a path.
pub(super) fn spec(object: &mut Value, path: &[&str]) {
    let Some(spec) = path.iter().try_fold(object, |value, name| value.get_mut(*name)) else { return };
    set_default(spec, &["restartPolicy"], "Always");
    set_default(spec, &["dnsPolicy"], "ClusterFirst");
    set_default(spec, &["schedulerName"], "default-scheduler");
    set_default(spec, &["securityContext"], json!({}));
    set_default(spec, &["terminationGracePeriodSeconds"], 30);
    match text(spec, &["serviceAccountName"]).or_else(|| text(spec, &["serviceAccount"])).map(str::to_owned) {
        Some(account) => {
            set(spec, &["serviceAccountName"], account.as_str());
            set(spec, &["serviceAccount"], account);
        }
        None => {
            remove(spec, &["serviceAccount"]);
        }
    }
    for list in ["initContainers", "containers"] {
        each(spec, &[list], container);
    }
    each(spec, &["volumes"], volume);
}

fn container(container: &mut Value) {
    let image = text_or_empty(container, &["image"]);
    if !image.is_empty() {
        let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
        set_default(container, &["imagePullPolicy"], policy);
    }
    set_default(container, &["terminationMessagePath"], "/dev/termination-log");
    set_default(container, &["terminationMessagePolicy"], "File");
    set_default(container, &["resources"], json!({}));
    each(container, &["ports"], |port| set_default(port, &["protocol"], "TCP"));
    each(container, &["env"], |variable| {
        if at(variable, &["valueFrom", "fieldRef"]).is_some() {
            set_default(variable, &["valueFrom", "fieldRef", "apiVersion"], "v1");
        }
        if at(variable, &["valueFrom", "resourceFieldRef"]).is_some() {
            set_default(variable, &["valueFrom", "resourceFieldRef", "divisor"], "0");
        }
    });
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            set_default(probe, &["timeoutSeconds"], 1);
            set_default(probe, &["periodSeconds"], 10);
            set_default(probe, &["successThreshold"], 1);
            set_default(probe, &["failureThreshold"], 3);
            http_get(probe);
            if at(probe, &["grpc"]).is_some() {
                set_default(probe, &["grpc", "service"], "");
            }
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(hook) = container.get_mut("lifecycle").and_then(|lifecycle| lifecycle.get_mut(hook)) {
            http_get(hook);
        }
    }
    for kind in ["limits", "requests"] {
        // Typed clients read quantities as text only.
        for (resource, amount) in object::map(container, &["resources", kind]).cloned().unwrap_or_default() {
            if amount.is_number() {
                set(container, &["resources", kind, &resource], amount.to_string());
            }
        }
    }
    let requested = object::map(container, &["resources", "limits"]).cloned().unwrap_or_default();
    for (resource, amount) in requested {
        set_default(container, &["resources", "requests", &resource], amount);
    }
}

fn http_get(action: &mut Value) {
    if at(action, &["httpGet"]).is_some() {
        set_default(action, &["httpGet", "path"], "/");
        set_default(action, &["httpGet", "scheme"], "HTTP");
    }
}

/// `app`, `app:latest`; not `app:1` and not a digest.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn volume(volume: &mut Value) {
    const MODE: i64 = 0o644;
    for kind in ["secret", "configMap", "downwardAPI", "projected"] {
        if at(volume, &[kind]).is_some() {
            set_default(volume, &[kind, "defaultMode"], MODE);
        }
    }
    if at(volume, &["hostPath"]).is_some() {
        set_default(volume, &["hostPath", "type"], "");
    }
    each(volume, &["downwardAPI", "items"], downward_item);
    each(volume, &["projected", "sources"], |source| {
        if at(source, &["serviceAccountToken"]).is_some() {
            set_default(source, &["serviceAccountToken", "expirationSeconds"], 3600);
        }
        each(source, &["downwardAPI", "items"], downward_item);
    });
    let sources =
        object::map(volume, &[]).is_some_and(|fields| fields.len() == 1 && fields.contains_key("name"));
    if sources {
        set(volume, &["emptyDir"], json!({}));
    }
}

fn downward_item(item: &mut Value) {
    if at(item, &["fieldRef"]).is_some() {
        set_default(item, &["fieldRef", "apiVersion"], "v1");
    }
}

/// Quality of service: all limits set and equal to the requests, some set, or none.
fn quality(pod: &Value) -> &'static str {
    let mut any = false;
    let mut all = true;
    for container in items(pod, &["spec", "containers"]).iter().chain(items(pod, &["spec", "initContainers"]))
    {
        for resource in ["cpu", "memory"] {
            let limit = at(container, &["resources", "limits", resource]);
            let request = at(container, &["resources", "requests", resource]);
            any |= limit.is_some() || request.is_some();
            all &= limit.is_some() && limit == request;
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
