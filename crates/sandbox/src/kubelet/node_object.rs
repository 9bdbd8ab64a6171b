//! The node as the API knows it, and the pods it is given.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::context::{KubeletSettings, reference};
use super::state::time;
use crate::events::{Recorder, Severity};

/// How often the Lease is renewed; kubelets do it every ten seconds too.
const HEARTBEAT: Duration = Duration::from_secs(10);
const LEASE_NAMESPACE: &str = "kube-node-lease";
const MANAGER: &str = "mizzen-kubelet";

/// Makes or renews the Node object.
pub async fn register(client: &kube::Client, settings: &KubeletSettings) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let name = &settings.node_name;
    let system = nix::sys::utsname::uname().ok();
    let release =
        system.as_ref().map(|system| system.release().to_string_lossy().into_owned()).unwrap_or_default();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let labels = json!({
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": architecture,
        "node-role.kubernetes.io/control-plane": ""
    });
    let node =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}});
    if nodes.get_opt(name).await?.is_none() {
        let node = serde_json::from_value(node).map_err(kube::Error::SerdeError)?;
        nodes.create(&PostParams::default(), &node).await?;
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = format!("{}Ki", memory_kibibytes());
    let capacity =
        json!({"cpu": processors.to_string(), "memory": memory, "pods": "500", "ephemeral-storage": "0"});
    let now = time(Timestamp::now());
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    let status = json!({"status": {
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
        "addresses": [
            {"type": "InternalIP", "address": settings.node_address.to_string()},
            {"type": "Hostname", "address": name},
        ],
        "nodeInfo": {
            "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": release,
            "osImage": "Mizzen sandbox", "containerRuntimeVersion": format!("mizzen://{}", mizzen_base::version::MIZZEN),
            "kubeletVersion": format!("v1.33.0+mizzen-{}", mizzen_base::version::MIZZEN), "kubeProxyVersion": "",
            "operatingSystem": "linux", "architecture": architecture
        }
    }});
    nodes.patch_status(name, &PatchParams::apply(MANAGER), &Patch::Merge(status)).await.map(|_| ())
}

fn memory_kibibytes() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

/// Renews the node's Lease for as long as the kubelet lives.
pub async fn keep_alive(client: kube::Client, settings: std::sync::Arc<KubeletSettings>) {
    loop {
        if let Err(error) = renew(&client, &settings.node_name).await {
            tracing::debug!(%error, "the node's lease is not renewed");
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}

async fn renew(client: &kube::Client, node: &str) -> Result<(), kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(LEASE_NAMESPACE).await?.is_none() {
        let namespace = json!({"metadata": {"name": LEASE_NAMESPACE}});
        let namespace = serde_json::from_value(namespace).map_err(kube::Error::SerdeError)?;
        namespaces.create(&PostParams::default(), &namespace).await?;
    }
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASE_NAMESPACE);
    let renewed = Timestamp::now().to_string();
    let spec = json!({"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": renewed});
    if leases.get_opt(node).await?.is_none() {
        let lease = json!({"metadata": {"name": node, "namespace": LEASE_NAMESPACE}, "spec": spec});
        let lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
        return leases.create(&PostParams::default(), &lease).await.map(|_| ());
    }
    let patch = json!({"spec": spec});
    leases.patch(node, &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ())
}

/// Gives a pod without a node this one, if it may go there.
pub async fn schedule(client: &kube::Client, settings: &KubeletSettings, pod: &Pod, events: &Recorder) {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = match nodes.get(&settings.node_name).await {
        Ok(node) => node,
        Err(error) => {
            tracing::warn!(%error, "cannot read the node to place a pod");
            return;
        }
    };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    if let Err(reason) = fits(pod, &node) {
        let text = format!("0/1 nodes are available: {reason}.");
        events.record(&reference(pod), Severity::Warning, "FailedScheduling", text);

        return;
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace, "uid": pod.metadata.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": settings.node_name}
    });
    let bound: Result<serde_json::Value, _> =
        pods.create_subresource("binding", name, &PostParams::default(), &binding).await;
    match bound {
        Ok(_) => {
            let text = format!("Successfully assigned {namespace}/{name} to {}", settings.node_name);
            events.record(&reference(pod), Severity::Normal, "Scheduled", text);
        }
        // Deleted or bound by somebody else meanwhile.
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => {}
        Err(error) => tracing::warn!(pod = name, %error, "cannot bind a pod to the node"),
    }
}

/// Whether the pod may run on the node, or why not.
fn fits(pod: &Pod, node: &Node) -> Result<(), String> {
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        return Err("1 node(s) were unschedulable".to_owned());
    }
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let wanted = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    let mut missing = wanted.into_iter().flatten().filter(|(key, value)| labels.get(*key) != Some(*value));
    match missing.next() {
        Some(_) => Err("1 node(s) didn't match Pod's node affinity/selector".to_owned()),
        None => Ok(()),
    }
}

/// Whether the pod waits for a node.
pub fn wants_node(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let gated = spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty());
    let scheduler = spec.and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or("default-scheduler");
    spec.is_some_and(|spec| spec.node_name.as_deref().unwrap_or_default().is_empty())
        && pod.metadata.deletion_timestamp.is_none()
        && !gated
        && scheduler == "default-scheduler"
}

#[cfg(test)]
#[path = "node_object_tests.rs"]
mod tests;
