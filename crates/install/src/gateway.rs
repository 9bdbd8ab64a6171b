//! The ingress gateway: Deployment and LoadBalancer Service labelled `istio: ingressgateway`.

use super::{InstallOptions, ROOT_NAMESPACE, field, service_account};
use serde_json::{Value, json};

const NAME: &str = "istio-ingressgateway";

pub(super) fn objects(options: &InstallOptions) -> Vec<Value> {
    vec![service_account("istio-ingressgateway-service-account"), service(), deployment(options)]
}

fn labels() -> Value {
    json!({"app": NAME, "istio": "ingressgateway"})
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME, "namespace": ROOT_NAMESPACE, "labels": labels()},
        "spec": {
            "type": "LoadBalancer",
            "selector": labels(),
            "ports": [
                {"name": "http2", "port": 80, "targetPort": 8080},
                {"name": "https", "port": 443, "targetPort": 8443}
            ]
        }
    })
}

fn deployment(options: &InstallOptions) -> Value {
    let mut template_labels = labels();
    if let Some(map) = template_labels.as_object_mut() {
        map.insert("service.istio.io/canonical-name".into(), json!(NAME));
        map.insert("service.istio.io/canonical-revision".into(), json!("latest"));
        map.insert("istio.io/rev".into(), json!("default"));
        map.insert("sidecar.istio.io/inject".into(), json!("false"));
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": ROOT_NAMESPACE, "labels": labels()},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels()},
            "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {
                    "labels": template_labels,
                    "annotations": {
                        "prometheus.io/scrape": "true", "prometheus.io/port": "15020",
                        "prometheus.io/path": "/stats/prometheus"
                    }
                },
                "spec": {
                    "serviceAccountName": "istio-ingressgateway-service-account",
                    "containers": [container(options)],
                    "volumes": volumes()
                }
            }
        }
    })
}

fn container(options: &InstallOptions) -> Value {
    json!({
        "name": "istio-proxy",
        "image": options.image,
        "args": ["proxy", "router", "--domain", "$(POD_NAMESPACE).svc.cluster.local"],
        "ports": [
            {"containerPort": 15021}, {"containerPort": 8080}, {"containerPort": 8443},
            {"name": "http-envoy-prom", "containerPort": 15090}
        ],
        "readinessProbe": {
            "httpGet": {"path": "/healthz/ready", "port": 15021},
            "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 30
        },
        "env": [
            {"name": "PILOT_CERT_PROVIDER", "value": "istiod"},
            {"name": "CA_ADDR", "value": format!("istiod.{ROOT_NAMESPACE}.svc:15012")},
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("INSTANCE_IP", "status.podIP"),
            field("HOST_IP", "status.hostIP"),
            field("ISTIO_META_NODE_NAME", "spec.nodeName"),
            field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
            {"name": "ISTIO_META_WORKLOAD_NAME", "value": NAME},
            {"name": "ISTIO_META_OWNER",
             "value": format!("kubernetes://apis/apps/v1/namespaces/{ROOT_NAMESPACE}/deployments/{NAME}")},
            {"name": "ISTIO_META_MESH_ID", "value": "cluster.local"},
            {"name": "TRUST_DOMAIN", "value": "cluster.local"},
            {"name": "ISTIO_META_UNPRIVILEGED_POD", "value": "true"},
            {"name": "ISTIO_META_CLUSTER_ID", "value": "Kubernetes"}
        ],
        "volumeMounts": [
            {"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio"},
            {"name": "istio-token", "mountPath": "/var/run/secrets/tokens", "readOnly": true},
            {"name": "istio-podinfo", "mountPath": "/etc/istio/pod"},
            {"name": "istio-data", "mountPath": "/var/lib/istio/data"}
        ]
    })
}

fn volumes() -> Value {
    json!([
        {"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}},
        {"name": "istio-podinfo", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}
        ]}},
        {"name": "istio-token", "projected": {"sources": [
            {"serviceAccountToken": {"path": "istio-token", "expirationSeconds": 43200, "audience": "istio-ca"}}
        ]}},
        {"name": "istio-data", "emptyDir": {}}
    ])
}
