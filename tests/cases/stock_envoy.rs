//! Stock Envoy as the sidecar: what the agent does for it, with each rung's privileges.

use crate::support::{Mesh, echo, envoy, eventually};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

const NAMESPACE: &str = "stock";
const IDENTITY: &str = "spiffe://cluster.local/ns/stock/sa/default";

fn application(name: &str) -> anyhow::Result<String> {
    let program = envoy().context("there is no Envoy")?;
    let mut deployment: Value = serde_json::from_str(&echo(NAMESPACE, name, name, "v1", 1))?;
    deployment["spec"]["template"]["metadata"]["annotations"] =
        json!({"proxy.istio.io/config": json!({"concurrency": 1, "binaryPath": program}).to_string()});
    Ok(deployment.to_string())
}

fn in_client(mesh: &Mesh, script: &str) -> anyhow::Result<String> {
    mesh.kubectl(&["exec", "-n", NAMESPACE, "deploy/client", "-c", "app", "--", "sh", "-c", script])
}

pub fn is_a_sidecar(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(
        &json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"istio-injection": "enabled"}}})
        .to_string(),
    )?;
    mesh.apply(
        &json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "server", "namespace": NAMESPACE},
            "spec": {"selector": {"app": "server"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
        .to_string(),
    )?;
    for name in ["client", "server"] {
        mesh.apply(&application(name)?)?;
    }
    mesh.available(NAMESPACE)?;
    eventually("a request over mutual TLS", || {
        let answer: Value =
            serde_json::from_str(&in_client(mesh, "curl --silent --max-time 10 http://server/")?)?;
        let certificate = answer["client_certificate"].as_str().unwrap_or_default();
        ensure!(certificate.contains(&format!("URI={IDENTITY}")), "{answer}");
        ensure!(answer["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.6:")), "{answer}");
        Ok(())
    })?;
    let metrics = in_client(mesh, "curl --silent --fail http://127.0.0.1:15020/stats/prometheus")?;
    for metric in ["cert_expiry_seconds", "envoy_cluster_upstream_cx_total", "startup_duration_seconds"] {
        ensure!(metrics.contains(metric), "{metric} is not among the merged metrics");
    }
    let status = mesh.mizzen(&["proxy-status"])?;
    ensure!(status.lines().filter(|line| line.contains(".stock")).count() == 2, "{status}");
    ends_in_order(mesh)
}

/// The agent drains Envoy and waits for its end.
fn ends_in_order(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=60s"])?;
    Ok(())
}
