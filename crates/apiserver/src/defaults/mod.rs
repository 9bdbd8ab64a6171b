//! What Kubernetes fills into objects of its own kinds when nothing is said.

mod pod;
pub(crate) mod service;
mod workload;

use serde_json::{Value, json};

use crate::object::{self, set, set_default};
use crate::resources::Resource;

/// Fills in defaults. `old` is what the object replaces.
pub(crate) fn apply(resource: &Resource, object: &mut Value, old: Option<&Value>) {
    match &*resource.collection {
        "/pods" => pod::pod(object, old),
        "/services" => service::apply(object, old),
        "/namespaces" => namespace(object, old),
        "/secrets" => secret(object),
        "/nodes" => {}
        "/persistentvolumeclaims" => set_default(object, &["spec", "volumeMode"], "Filesystem"),
        "apps/deployments" => workload::deployment(object),
        "apps/replicasets" => workload::replica_set(object),
        "apps/statefulsets" => workload::stateful_set(object),
        "apps/daemonsets" => workload::daemon_set(object),
        "batch/jobs" => workload::job(object, old),
        "batch/cronjobs" => workload::cron_job(object),
        "discovery.k8s.io/endpointslices" => endpoint_slice(object),
        "autoscaling/horizontalpodautoscalers" => set_default(object, &["spec", "minReplicas"], 1),
        "networking.k8s.io/networkpolicies" => network_policy(object),
        "rbac.authorization.k8s.io/rolebindings" | "rbac.authorization.k8s.io/clusterrolebindings" => {
            binding(object)
        }
        "admissionregistration.k8s.io/mutatingwebhookconfigurations" => webhooks(object, true),
        "admissionregistration.k8s.io/validatingwebhookconfigurations" => webhooks(object, false),
        _ => {}
    }
}

/// The items of a list at a path, to be changed.
pub(crate) fn each(object: &mut Value, path: &[&str], change: impl FnMut(&mut Value)) {
    let list = path.iter().try_fold(object, |value, name| value.get_mut(*name)).and_then(Value::as_array_mut);
    list.into_iter().flatten().for_each(change);
}

fn namespace(object: &mut Value, old: Option<&Value>) {
    let name = object::name(object).to_owned();
    set(object, &["metadata", "labels", "kubernetes.io/metadata.name"], name);
    if old.is_none() {
        set(object, &["spec", "finalizers"], json!(["kubernetes"]));
        set(object, &["status", "phase"], "Active");
    }
}

fn secret(object: &mut Value) {
    set_default(object, &["type"], "Opaque");
    // Plain values are a way to write, not to read.
    if let Some(Value::Object(plain)) = object::remove(object, &["stringData"]) {
        use base64::Engine as _;
        for (key, value) in plain {
            let encoded =
                base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
            set(object, &["data", &key], encoded);
        }
    }
}

fn endpoint_slice(object: &mut Value) {
    each(object, &["ports"], |port| {
        set_default(port, &["name"], "");
        set_default(port, &["protocol"], "TCP");
    });
}

fn network_policy(object: &mut Value) {
    let types = match object::at(object, &["spec", "egress"]) {
        Some(_) => json!(["Ingress", "Egress"]),
        None => json!(["Ingress"]),
    };
    set_default(object, &["spec", "policyTypes"], types);
}

fn binding(object: &mut Value) {
    set_default(object, &["roleRef", "apiGroup"], "rbac.authorization.k8s.io");
    each(object, &["subjects"], |subject| {
        let group = if object::kind(subject) == "ServiceAccount" { "" } else { "rbac.authorization.k8s.io" };
        if !group.is_empty() {
            set_default(subject, &["apiGroup"], group);
        }
    });
}

fn webhooks(object: &mut Value, mutating: bool) {
    each(object, &["webhooks"], |webhook| {
        set_default(webhook, &["failurePolicy"], "Fail");
        set_default(webhook, &["matchPolicy"], "Equivalent");
        set_default(webhook, &["namespaceSelector"], json!({}));
        set_default(webhook, &["objectSelector"], json!({}));
        set_default(webhook, &["timeoutSeconds"], 10);
        if mutating {
            set_default(webhook, &["reinvocationPolicy"], "Never");
        }
        if object::at(webhook, &["clientConfig", "service"]).is_some() {
            set_default(webhook, &["clientConfig", "service", "port"], 443);
        }
        each(webhook, &["rules"], |rule| set_default(rule, &["scope"], "*"));
    });
}
