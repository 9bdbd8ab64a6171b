//! The objects that make an API into a mesh: what `mizzen up` loads into its own API and
//! `mizzen manifest generate` prints for a cluster. Names, labels and ports are Istio's, so that
//! dashboards, alerts and habits find what they look for.
//!
//! Pure: options in, objects out, in the order in which they can be applied.

mod control_plane;
mod dashboard;
mod gateway;
mod webhooks;

use serde_json::{Value, json};

/// Where the control plane lives.
pub const ROOT_NAMESPACE: &str = "istio-system";

/// What can be chosen about an installation.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// The image that holds the `mizzen` binary.
    pub image: String,
    /// Percentage of requests that are traced.
    pub trace_sampling: f64,
    /// Whether the built-in dashboard (metrics, traces, pages) is installed.
    pub dashboard: bool,
    /// Extra text for the mesh configuration (YAML, merged at the top level by being appended).
    pub mesh_config: String,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self {
            image: format!("mizzen/mizzen:{}", mizzen_base::version::MIZZEN),
            trace_sampling: 1.0,
            dashboard: true,
            mesh_config: String::new(),
        }
    }
}

/// Every object of an installation, in the order to apply them.
pub fn objects(options: &InstallOptions) -> Vec<Value> {
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ROOT_NAMESPACE}
    })];
    objects.extend(mizzen_api::custom_resource_definitions());
    objects.extend(control_plane::objects(options));
    objects.extend(webhooks::objects());
    objects.extend(gateway::objects(options));
    if options.dashboard {
        objects.extend(dashboard::objects(options));
    }
    objects
}

/// A ServiceAccount in the root namespace.
fn service_account(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": ROOT_NAMESPACE}
    })
}

/// A ClusterRole of `rules` and its binding to the ServiceAccount `account` of the root namespace.
fn cluster_role(name: &str, account: &str, rules: Value) -> [Value; 2] {
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name}, "rules": rules
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": ROOT_NAMESPACE}]
        }),
    ]
}

/// An environment variable taken from a field of the pod.
fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
}

#[cfg(test)]
#[path = "lib_tests.rs"]
mod tests;
