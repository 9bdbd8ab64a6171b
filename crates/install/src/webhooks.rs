//! Admission: injection of sidecars and validation of Istio's resources. The control plane fills
//! in `caBundle` when it starts; until then calls fail, and the API's `failurePolicy` decides.

use super::ROOT_NAMESPACE;
use serde_json::{Value, json};

pub(super) fn objects() -> Vec<Value> {
    vec![injector(), validator()]
}

fn client_config(path: &str) -> Value {
    json!({"service": {"name": "istiod", "namespace": ROOT_NAMESPACE, "path": path, "port": 443}})
}

/// One webhook by namespace label, and one for pods that ask for a sidecar by a label of their own
/// in a namespace that says nothing.
fn injector() -> Value {
    let rules =
        json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    let not_opted_out = json!([{"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}]);
    let webhook = |name: &str, namespaces: Value, objects: Value| {
        json!({
            "name": name,
            "clientConfig": client_config("/inject"),
            "sideEffects": "None",
            "rules": rules,
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchExpressions": namespaces},
            "objectSelector": {"matchExpressions": objects}
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {
            "name": "istio-sidecar-injector",
            "labels": {"app": "sidecar-injector", "istio.io/rev": "default", "istio.io/tag": "default"}
        },
        "webhooks": [
            webhook("namespace.sidecar-injector.istio.io",
                json!([{"key": "istio-injection", "operator": "In", "values": ["enabled"]}]),
                not_opted_out.clone()),
            webhook("rev.namespace.sidecar-injector.istio.io",
                json!([
                    {"key": "istio-injection", "operator": "DoesNotExist"},
                    {"key": "istio.io/rev", "operator": "In", "values": ["default"]}
                ]),
                not_opted_out),
            webhook("object.sidecar-injector.istio.io",
                json!([
                    {"key": "istio-injection", "operator": "DoesNotExist"},
                    {"key": "istio.io/rev", "operator": "DoesNotExist"}
                ]),
                json!([{"key": "sidecar.istio.io/inject", "operator": "In", "values": ["true"]}]))
        ]
    })
}

fn validator() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {
            "name": "istio-validator-istio-system",
            "labels": {"app": "istiod", "istio": "istiod", "istio.io/rev": "default"}
        },
        "webhooks": [{
            "name": "rev.validation.istio.io",
            "clientConfig": client_config("/validate"),
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "admissionReviewVersions": ["v1"],
            "rules": [{
                "operations": ["CREATE", "UPDATE"],
                "apiGroups": ["security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io"],
                "apiVersions": ["*"],
                "resources": ["*"]
            }]
        }]
    })
}
