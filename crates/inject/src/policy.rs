//! Which pods get a sidecar, and whom they belong to.

use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;

/// Namespaces of the cluster itself, never injected.
const SYSTEM_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

const INJECT: &str = "sidecar.istio.io/inject";

/// `None` when the pod gets a sidecar. The pod's label wins over its (older) annotation, and both
/// over the namespace; `istio-injection` wins over `istio.io/rev`.
pub(crate) fn reason_to_skip(
    pod: &Pod,
    namespace: &str,
    namespace_labels: &BTreeMap<String, String>,
    revision: &str,
) -> Option<&'static str> {
    if pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
        return Some("the pod uses the host's network, where interception would catch the host's traffic");
    }
    if SYSTEM_NAMESPACES.contains(&namespace) {
        return Some("the namespace belongs to the cluster itself");
    }
    let annotations = pod.metadata.annotations.as_ref();
    if annotations.is_some_and(|annotations| annotations.contains_key(super::STATUS_ANNOTATION)) {
        return Some("the pod already has a sidecar");
    }
    let own = |map: Option<&BTreeMap<String, String>>| map.and_then(|map| map.get(INJECT)).cloned();
    if let Some(asked) = own(pod.metadata.labels.as_ref()).or_else(|| own(annotations)) {
        return match asked.as_str() {
            "true" => None,
            _ => Some("the pod says sidecar.istio.io/inject=false"),
        };
    }
    let pod_revision = pod.metadata.labels.as_ref().and_then(|labels| labels.get("istio.io/rev"));
    match namespace_labels.get("istio-injection").map(String::as_str) {
        Some("enabled") => return None,
        Some("disabled") => return Some("the namespace says istio-injection=disabled"),
        Some(_) => return Some("the namespace's label istio-injection is neither enabled nor disabled"),
        None => {}
    }
    match pod_revision.or_else(|| namespace_labels.get("istio.io/rev")) {
        Some(asked) if asked == revision => None,
        Some(_) => Some("the label istio.io/rev names another revision"),
        None => Some("neither the namespace nor the pod asks for a sidecar"),
    }
}

/// The workload a pod belongs to: its Deployment, StatefulSet, DaemonSet, Job, or itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Name of the workload.
    pub name: String,
    /// `kubernetes://apis/GROUP/VERSION/namespaces/NAMESPACE/KINDs/NAME`, as in node metadata.
    pub path: String,
}

impl Owner {
    /// Reads the controller of `pod`. A ReplicaSet's name is its Deployment's and a hash; the pod's
    /// `pod-template-hash` label says which part is the hash.
    pub fn of(pod: &Pod, namespace: &str) -> Self {
        let metadata = &pod.metadata;
        let controller =
            metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let Some(controller) = controller else {
            let generated = metadata.generate_name.as_deref().map(|name| name.trim_end_matches('-'));
            let name = metadata.name.as_deref().or(generated).unwrap_or("unknown").to_owned();
            return Self { path: format!("kubernetes://apis/v1/namespaces/{namespace}/pods/{name}"), name };
        };
        let hash = metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
        let deployment = hash.and_then(|hash| controller.name.strip_suffix(hash)?.strip_suffix('-'));
        let (kind, name) = match (controller.kind.as_str(), deployment) {
            ("ReplicaSet", Some(deployment)) => ("deployment".to_owned(), deployment.to_owned()),
            (kind, _) => (kind.to_lowercase(), controller.name.clone()),
        };
        let path =
            format!("kubernetes://apis/{}/namespaces/{namespace}/{kind}s/{name}", controller.api_version);
        Self { name, path }
    }
}
