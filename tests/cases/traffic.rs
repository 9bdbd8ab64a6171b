//! What the cases about traffic share: a namespace with a client, a server in two versions, and ways
//! to call.

use crate::support::{Mesh, echo};
use serde_json::{Value, json};

/// The namespace, with sidecars.
pub const NAMESPACE: &str = "traffic";
/// Who the pods of the namespace are.
pub const IDENTITY: &str = "spiffe://cluster.local/ns/traffic/sa/default";

/// Brings up what is not there yet.
pub fn prepare(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(
        &json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"istio-injection": "enabled"}}})
        .to_string(),
    )?;
    mesh.apply_sheet("5-access-logs.yaml")?;
    let ports = [("http", 80), ("grpc", 7070), ("tcp", 9000)];
    mesh.apply(&service("server", &ports))?;
    for (name, app, version) in
        [("client", "client", "v1"), ("server-v1", "server", "v1"), ("server-v2", "server", "v2")]
    {
        mesh.apply(&application(name, app, version)?.to_string())?;
    }
    mesh.available(NAMESPACE)
}

/// The echo application with a port for each protocol: what a port of a pod speaks is known by its Service.
pub fn application(name: &str, app: &str, version: &str) -> anyhow::Result<Value> {
    let mut deployment: Value = serde_json::from_str(&echo(NAMESPACE, name, app, version, 1))?;
    deployment["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": 8080}, {"containerPort": 7070}, {"containerPort": 9000}]);
    Ok(deployment)
}

/// A Service for the pods with label `app`: ports below 1024 go to 8080, the others to themselves.
pub fn service(app: &str, ports: &[(&str, u16)]) -> String {
    let target = |port: u16| if port < 1024 { 8080 } else { port };
    let port = |(name, port): &(&str, u16)| json!({"name": name, "port": port, "targetPort": target(*port)});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": app, "namespace": NAMESPACE},
        "spec": {"selector": {"app": app}, "ports": ports.iter().map(port).collect::<Vec<_>>()}})
    .to_string()
}

/// Applies an object of Istio's networking API in the namespace.
pub fn networking(mesh: &Mesh, kind: &str, name: &str, spec: &Value) -> anyhow::Result<()> {
    let object = json!({"apiVersion": "networking.istio.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec});
    mesh.apply(&object.to_string()).map(drop)
}

/// Runs a shell script in the client's pod; its standard output.
pub fn in_client(mesh: &Mesh, script: &str) -> anyhow::Result<String> {
    mesh.kubectl(&["exec", "-n", NAMESPACE, "deploy/client", "-c", "app", "--", "sh", "-c", script])
}

/// Status codes of `count` requests from the client, one after the other.
pub fn statuses(mesh: &Mesh, url: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let script = format!(
        "curl --silent --max-time 60 --output /dev/null --write-out '%{{http_code}}\\n' '{url}#[1-{count}]' || true"
    );
    Ok(in_client(mesh, &script)?.lines().map(str::to_owned).collect())
}

/// The last lines of the client's access log.
pub fn client_log(mesh: &Mesh) -> anyhow::Result<String> {
    mesh.kubectl(&["logs", "-n", NAMESPACE, "deploy/client", "-c", "istio-proxy", "--tail=100"])
}

/// The metrics of a pod's proxy and application.
pub fn metrics(mesh: &Mesh, pod: &str) -> anyhow::Result<String> {
    let url = "http://127.0.0.1:15020/stats/prometheus";
    mesh.kubectl(&["exec", "-n", NAMESPACE, pod, "-c", "app", "--", "curl", "--silent", "--fail", url])
}
