//! The sheet's fourth manifest, and the policies beside it.

use crate::support::{Mesh, eventually};
use anyhow::{bail, ensure};

/// curl of payments from a pod: its status code, `000` where the connection failed.
fn status(mesh: &Mesh, namespace: &str, path: &str) -> anyhow::Result<String> {
    let pod = mesh.pod(namespace, "app=client")?;
    let url = format!("http://payments.default.svc.cluster.local{path}");
    // curl fails where the connection does; what it printed is the answer all the same.
    let script =
        format!("curl --silent --output /dev/null --max-time 10 --write-out '%{{http_code}}' {url} || true");
    mesh.kubectl(&["exec", "-n", namespace, &pod, "-c", "app", "--", "sh", "-c", &script])
}

fn expect(mesh: &Mesh, what: &str, namespace: &str, path: &str, expected: &str) -> anyhow::Result<()> {
    eventually(what, || match status(mesh, namespace, path)? {
        code if code == expected => Ok(()),
        code => bail!("status {code} from {namespace}, expected {expected}"),
    })
}

pub fn refuses_plaintext(mesh: &Mesh) -> anyhow::Result<()> {
    expect(mesh, "plaintext to be accepted before", "mynamespace", "/", "200")?;
    mesh.apply_sheet("4-strict-mtls.yaml")?;
    expect(mesh, "plaintext to be refused", "mynamespace", "/", "000")?;
    ensure!(status(mesh, "default", "/")? == "200", "a caller in the mesh was refused");
    // Nothing else breaks: the pods stay ready, so the kubelet's probes pass.
    mesh.kubectl(&["wait", "deployment/payments-v1", "--for=condition=Available", "--timeout=10s"])?;
    Ok(())
}

pub fn authorization(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(
        r#"{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy",
            "metadata":{"name":"payments","namespace":"default"},
            "spec":{"selector":{"matchLabels":{"app":"payments"}},"action":"ALLOW","rules":[
                {"from":[{"source":{"principals":["cluster.local/ns/default/sa/default"]}}],
                 "to":[{"operation":{"methods":["GET"],"paths":["/open*"]}}]}]}}"#,
    )?;
    expect(mesh, "a path outside the rule to be denied", "default", "/closed", "403")?;
    expect(mesh, "a path inside the rule to be allowed", "default", "/open/1", "200")?;
    // The same path in another spelling is the same path.
    expect(mesh, "a path that only looks allowed to be denied", "default", "/open/%2e%2e/closed", "403")?;
    let pod = mesh.pod("default", "app=client")?;
    let body =
        mesh.kubectl(&["exec", &pod, "-c", "app", "--", "curl", "--silent", "http://payments/closed"])?;
    ensure!(body == "RBAC: access denied", "{body}");
    mesh.apply(
        r#"{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy",
            "metadata":{"name":"deny-open","namespace":"default"},
            "spec":{"selector":{"matchLabels":{"app":"payments"}},"action":"DENY","rules":[
                {"to":[{"operation":{"paths":["/open/secret"]}}]}]}}"#,
    )?;
    expect(mesh, "DENY to win", "default", "/open/secret", "403")?;
    expect(mesh, "the rest to stay allowed", "default", "/open/1", "200")?;
    mesh.kubectl(&["delete", "authorizationpolicy", "payments", "deny-open"])?;
    expect(mesh, "no policy to allow", "default", "/closed", "200")
}
