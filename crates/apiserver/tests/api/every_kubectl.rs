//! What a person pokes around with, with every kubectl that is installed. What needs running pods is in the tests of
//! the mesh.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::{Cluster, REFUSED_PORT, kubectl, start};

#[tokio::test(flavor = "multi_thread")]
async fn every_kubectl_pokes_around() {
    for kubectl in kubectl::every_one() {
        println!("{}", kubectl.name);
        let mut cluster = start().await;
        cluster.program = kubectl.program;
        objects(&cluster).await;
        questions(&cluster).await;
        streams(&cluster).await;
        cluster.server.shutdown().await;
    }
}

/// Istio's kinds, as far as the sheet has them: its manifests are applied as they are.
fn definition(group: &str, kind: &str, plural: &str) -> String {
    let schema = serde_json::json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}});
    let versions = ["v1", "v1beta1", "v1alpha3", "v1alpha1"].map(|version| {
        serde_json::json!({"name": version, "served": true, "storage": version == "v1", "schema": schema})
    });
    serde_json::json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "versions": versions,
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind}
        }
    })
    .to_string()
}

async fn objects(cluster: &Cluster) {
    for (group, kind, plural) in [
        ("networking.istio.io", "Gateway", "gateways"),
        ("networking.istio.io", "VirtualService", "virtualservices"),
        ("networking.istio.io", "DestinationRule", "destinationrules"),
        ("networking.istio.io", "ServiceEntry", "serviceentries"),
        ("security.istio.io", "PeerAuthentication", "peerauthentications"),
        ("telemetry.istio.io", "Telemetry", "telemetries"),
    ] {
        let definition = definition(group, kind, plural);
        cluster.kubectl_with_input(&["apply", "-f", "-"], &definition).await.says("created");
    }
    cluster
        .kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])
        .await
        .says("condition met");
    for namespace in ["istio-system", "mynamespace"] {
        cluster.kubectl(&["create", "namespace", namespace]).await.says("created");
    }
    let sheet = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/sheet");
    cluster.kubectl(&["apply", "-f", &sheet.display().to_string()]).await.says("created");
    cluster.kubectl(&["label", "namespace", "default", "istio-injection=enabled"]).await.says("labeled");
    cluster.kubectl(&["get", "ns", "-L", "istio-injection"]).await.says("enabled");

    cluster.kubectl(&["create", "deployment", "web", "--image=web:1"]).await.says("created");
    cluster.kubectl(&["create", "configmap", "c", "--from-literal=a=1"]).await.says("created");
    cluster.kubectl(&["scale", "deployment/web", "--replicas=3"]).await.says("scaled");
    let patch = r#"{"spec":{"template":{"metadata":{"labels":{"version":"v1"}}}}}"#;
    cluster.kubectl(&["patch", "deployment", "web", "-p", patch]).await.says("patched");
    // As a controller would have it.
    let status = r#"{"status":{"observedGeneration":3,"replicas":3,"updatedReplicas":3,"readyReplicas":3,"availableReplicas":3}}"#;
    cluster
        .kubectl(&["patch", "deployment", "web", "--subresource=status", "--type=merge", "-p", status])
        .await
        .says("patched");
    cluster
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"])
        .await
        .says("successfully rolled out");
    cluster.kubectl(&["get", "deploy,cm", "-A", "-o", "wide"]).await.says("web:1");
    cluster.kubectl(&["get", "deploy", "web", "-o", "yaml"]).await.says("version: v1");
    cluster.kubectl(&["describe", "deployment", "web"]).await.says("3 desired");
    cluster.kubectl(&["describe", "namespace", "default"]).await.says("istio-injection=enabled");
    cluster.kubectl(&["delete", "deployment,configmap", "--all", "--wait=false"]).await.says("deleted");
}

async fn questions(cluster: &Cluster) {
    cluster.kubectl(&["version"]).await.says("Server Version");
    cluster.kubectl(&["cluster-info"]).await.says("Kubernetes control plane");
    cluster.kubectl(&["api-resources"]).await.says("virtualservices");
    cluster.kubectl(&["api-versions"]).await.says("networking.istio.io/v1");
    cluster.kubectl(&["explain", "deployment.spec.replicas"]).await.says("Number of desired pods");
    cluster.kubectl(&["auth", "can-i", "create", "deployments"]).await.says("yes");
    cluster.kubectl(&["auth", "whoami"]).await.says("kubernetes-admin");
}

async fn streams(cluster: &Cluster) {
    cluster.kubectl(&["run", "p", "--image=x:1"]).await.says("pod/p created");
    let running = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#;
    cluster.kubectl(&["patch", "pod", "p", "--subresource=status", "-p", running]).await.says("patched");
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/p", "--timeout=60s"]).await.says("condition met");
    cluster.kubectl(&["logs", "p"]).await.says("second line");
    cluster.kubectl(&["exec", "p", "--", "echo", "hello"]).await.says("echo hello");
    cluster.kubectl_with_input(&["exec", "-i", "p", "--", "cat"], "typed").await.says("cat\ntyped");
    cluster.kubectl(&["attach", "p"]).await.says("attached to p");
    ports(cluster);
    cluster.kubectl(&["delete", "pod", "p", "--force"]).await.says("deleted");
}

/// A `kubectl port-forward` that is ended with the test.
struct Forward {
    child: Child,
    port: u16,
    /// Held, because a closed pipe would end the command with its next line.
    _lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Forward {
    fn start(cluster: &Cluster, remote: u16) -> Self {
        let mut command = cluster.kubectl_command(&["port-forward", "--address=127.0.0.1", "pod/p"]);
        command.arg(format!(":{remote}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // `Forwarding from 127.0.0.1:40001 -> 80`
        let line = lines.next().unwrap().unwrap();
        let port = line.split([':', ' ']).find_map(|word| word.parse().ok()).unwrap();
        Self { child, port, _lines: lines }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).unwrap()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ports(cluster: &Cluster) {
    let forward = Forward::start(cluster, 80);
    // Two at once, the second done first; each ends with the client's half-close.
    let (mut first, mut second) = (forward.connect(), forward.connect());
    for (connection, word) in [(&mut second, "two"), (&mut first, "one")] {
        connection.write_all(word.as_bytes()).unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, format!("80:{word}"));
    }
    let mut forward = Forward::start(cluster, REFUSED_PORT);
    let mut connection = forward.connect();
    connection.write_all(b"?").unwrap();
    let mut told = BufReader::new(forward.child.stderr.take().unwrap()).lines();
    let told = told.find_map(|line| line.ok().filter(|line| line.contains("error forwarding port"))).unwrap();
    assert!(told.contains("error forwarding port 81 to pod p, uid ") && told.contains("refused"), "{told}");
}
