//! istiod: the control plane's Deployment, Service, account and mesh configuration.

use super::{InstallOptions, ROOT_NAMESPACE, cluster_role, field, service_account};
use serde_json::{Value, json};

pub(super) fn objects(options: &InstallOptions) -> Vec<Value> {
    let mut objects = vec![service_account("istiod"), mesh_config(options)];
    objects.extend(cluster_role("istiod-clusterrole-istio-system", "istiod", rules()));
    objects.push(service());
    objects.push(deployment(options));
    objects
}

/// ConfigMap `istio`, key `mesh`: the configuration that is one for the whole mesh.
fn mesh_config(options: &InstallOptions) -> Value {
    let mut mesh = format!(
        "rootNamespace: {ROOT_NAMESPACE}\n\
         trustDomain: cluster.local\n\
         enableTracing: true\n\
         enablePrometheusMerge: true\n\
         defaultConfig:\n  \
           discoveryAddress: istiod.{ROOT_NAMESPACE}.svc:15012\n  \
           tracing:\n    \
             sampling: {}\n",
        options.trace_sampling
    );
    if options.dashboard {
        mesh.push_str(&format!(
            "defaultProviders:\n  metrics:\n  - prometheus\n  tracing:\n  - mizzen-tracing\n\
             extensionProviders:\n\
             - name: mizzen-tracing\n  opentelemetry:\n    \
               service: mizzen-dashboard.{ROOT_NAMESPACE}.svc.cluster.local\n    port: 4317\n"
        ));
    }
    mesh.push_str(&options.mesh_config);
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "istio", "namespace": ROOT_NAMESPACE,
            "labels": {"istio.io/rev": "default", "release": "istio"}
        },
        "data": {"mesh": mesh, "meshNetworks": "networks: {}\n"}
    })
}

fn rules() -> Value {
    json!([
        {"apiGroups": ["networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"],
         "resources": ["*"], "verbs": ["get", "list", "watch", "update", "patch"]},
        {"apiGroups": [""],
         "resources": ["pods", "nodes", "services", "namespaces", "endpoints", "secrets", "configmaps", "serviceaccounts"],
         "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["create", "update", "patch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
         "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["admissionregistration.k8s.io"],
         "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
         "verbs": ["get", "list", "watch", "update", "patch"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    ])
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "istiod", "namespace": ROOT_NAMESPACE,
            "labels": {"app": "istiod", "istio": "pilot", "istio.io/rev": "default", "release": "istio"}
        },
        "spec": {
            "selector": {"app": "istiod", "istio": "pilot"},
            "ports": [
                {"name": "grpc-xds", "port": 15010},
                {"name": "https-dns", "port": 15012},
                {"name": "https-webhook", "port": 443, "targetPort": 15017},
                {"name": "http-monitoring", "port": 15014}
            ]
        }
    })
}

fn deployment(options: &InstallOptions) -> Value {
    let labels = json!({
        "app": "istiod", "istio": "pilot", "istio.io/rev": "default", "sidecar.istio.io/inject": "false"
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "istiod", "namespace": ROOT_NAMESPACE,
            "labels": {"app": "istiod", "istio": "pilot", "istio.io/rev": "default", "release": "istio"}
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "istiod", "istio": "pilot"}},
            "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "15014"}
                },
                "spec": {
                    "serviceAccountName": "istiod",
                    "terminationGracePeriodSeconds": 10,
                    "containers": [{
                        "name": "discovery",
                        "image": options.image,
                        "args": ["control"],
                        "ports": [
                            {"name": "http-debug", "containerPort": 8080},
                            {"name": "grpc-xds", "containerPort": 15010},
                            {"name": "tls-xds", "containerPort": 15012},
                            {"name": "https-webhooks", "containerPort": 15017},
                            {"name": "http-monitoring", "containerPort": 15014}
                        ],
                        "readinessProbe": {
                            "httpGet": {"path": "/ready", "port": 8080},
                            "initialDelaySeconds": 0, "periodSeconds": 1, "timeoutSeconds": 5
                        },
                        "env": [
                            field("POD_NAME", "metadata.name"),
                            field("POD_NAMESPACE", "metadata.namespace"),
                            field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
                            {"name": "CLUSTER_ID", "value": "Kubernetes"},
                            {"name": "REVISION", "value": "default"},
                            {"name": "MIZZEN_IMAGE", "value": options.image}
                        ]
                    }]
                }
            }
        }
    })
}
