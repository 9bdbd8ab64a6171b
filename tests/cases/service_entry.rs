//! The sheet's third manifest: a host outside the mesh. Its part is played by a pod without a
//! sidecar that ends TLS itself, found through the client's hosts file as DNS would find it.

use crate::support::{Mesh, certificate, eventually, https_server, text, tls_secret};
use anyhow::ensure;

const HOST: &str = "ext-svc.example.com";

pub fn reached_by_name(mesh: &Mesh) -> anyhow::Result<()> {
    let pair = certificate(HOST)?;
    mesh.apply(&tls_secret("mynamespace", "outside-tls", &pair))?;
    mesh.apply(&https_server("mynamespace", "outside", "outside-tls", 443))?;
    mesh.kubectl(&["wait", "-n", "mynamespace", "pod/outside", "--for=condition=Ready", "--timeout=60s"])?;
    let outside = mesh.get(&["-n", "mynamespace", "pod", "outside"])?;
    let address = outside["status"]["podIP"].as_str().unwrap_or_default().to_owned();

    mesh.apply_sheet("3-service-entry.yaml")?;
    let caller = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "caller", "namespace": "default", "labels": {"app": "caller"}},
        "spec": {
            "hostAliases": [{"ip": address, "hostnames": [HOST, "unknown.example.com"]}],
            "containers": [{"name": "app", "image": "mizzen/echo"}]
        }
    });
    mesh.apply(&caller.to_string())?;
    mesh.kubectl(&["wait", "pod/caller", "--for=condition=Ready", "--timeout=60s"])?;
    let authority = mesh.folder().join("outside.pem");
    std::fs::write(&authority, &pair.0)?;
    let authority = authority.display().to_string();
    let call = |host: &str, extra: &[&str]| {
        let url = format!("https://{host}/");
        let mut arguments =
            vec!["exec", "caller", "-c", "app", "--", "curl", "--silent", "--show-error", "--max-time", "10"];
        arguments.extend(extra);
        arguments.push(&url);
        mesh.kubectl(&arguments)
    };
    // The certificate is the outside host's own: the sidecars pass TLS through by SNI.
    let answer = eventually("the outside host to answer", || call(HOST, &["--cacert", &authority]))?;
    ensure!(answer == "from outside\n", "{answer}");
    let metrics = mesh.kubectl(&[
        "exec",
        "caller",
        "-c",
        "app",
        "--",
        "curl",
        "--silent",
        "http://127.0.0.1:15020/stats/prometheus",
    ])?;
    ensure!(
        metrics
            .lines()
            .any(|line| line.starts_with("istio_tcp_connections_opened_total") && line.contains(HOST)),
        "no TCP metric names {HOST}"
    );

    // With REGISTRY_ONLY, what nobody declared is refused, and the declared host still answers.
    let config = mesh.get(&["-n", "istio-system", "configmap", "istio"])?;
    let before = config["data"]["mesh"].as_str().unwrap_or_default().to_owned();
    let set = |mesh_config: &str| {
        let patch = serde_json::json!({"data": {"mesh": mesh_config}}).to_string();
        mesh.kubectl(&["patch", "-n", "istio-system", "configmap", "istio", "--type=merge", "-p", &patch])
    };
    set(&format!("{before}outboundTrafficPolicy:\n  mode: REGISTRY_ONLY\n"))?;
    eventually("an undeclared host to be refused", || match call("unknown.example.com", &["--insecure"]) {
        Ok(answer) => anyhow::bail!("it answered: {}", text(answer.as_bytes())),
        Err(_) => Ok(()),
    })?;
    let answer = eventually("the declared host to answer", || call(HOST, &["--cacert", &authority]))?;
    ensure!(answer == "from outside\n", "{answer}");
    set(&before)?;
    Ok(())
}
