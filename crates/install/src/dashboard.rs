//! The built-in dashboard: pages, live metrics and traces, with nothing else installed.

use super::{InstallOptions, ROOT_NAMESPACE, cluster_role, field, service_account};
use serde_json::{Value, json};

const NAME: &str = "mizzen-dashboard";

pub(super) fn objects(options: &InstallOptions) -> Vec<Value> {
    let labels = json!({"app": NAME});
    let mut objects = vec![service_account(NAME)];
    objects.extend(cluster_role(
        NAME,
        NAME,
        json!([
            {"apiGroups": ["", "apps", "discovery.k8s.io", "networking.istio.io", "security.istio.io",
                           "telemetry.istio.io", "extensions.istio.io"],
             "resources": ["*"], "verbs": ["get", "list", "watch"]}
        ]),
    ));
    objects.push(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME, "namespace": ROOT_NAMESPACE, "labels": labels},
        "spec": {
            "type": "LoadBalancer",
            "selector": labels,
            "ports": [
                {"name": "http", "port": 20001},
                {"name": "grpc-otlp", "port": 4317}
            ]
        }
    }));
    objects.push(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": ROOT_NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": {"app": NAME, "sidecar.istio.io/inject": "false"}},
                "spec": {
                    "serviceAccountName": NAME,
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{
                        "name": "dashboard",
                        "image": options.image,
                        "args": ["dashboard-server"],
                        "ports": [{"name": "http", "containerPort": 20001}, {"name": "grpc-otlp", "containerPort": 4317}],
                        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 20001}, "periodSeconds": 1},
                        "env": [field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")]
                    }]
                }
            }
        }
    }));
    objects
}
