//! The sheet's first manifest: HTTPS at the gateway, mutual TLS behind it.

use crate::support::{Mesh, certificate, checked, echo, eventually, text, tls_secret};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::process::{Command, Stdio};

const HOST: &str = "app.example.com";
const GATEWAY_IDENTITY: &str =
    "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account";

/// curl for `https://HOST/` at the published port, trusting only `authority`.
fn curl(mesh: &Mesh, host: &str, authority: &std::path::Path) -> anyhow::Result<Command> {
    let port = mesh.published("istio-system", "istio-ingressgateway", 443)?;
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "10"]);
    command.args(["--resolve", &format!("{host}:{port}:127.0.0.1")]);
    command.arg("--cacert").arg(authority).arg(format!("https://{host}:{port}/"));
    Ok(command)
}

fn write(mesh: &Mesh, name: &str, pem: &str) -> anyhow::Result<std::path::PathBuf> {
    let path = mesh.folder().join(name);
    std::fs::write(&path, pem)?;
    Ok(path)
}

pub fn reaches_the_service(mesh: &Mesh) -> anyhow::Result<()> {
    let pair = certificate(HOST)?;
    let authority = write(mesh, "app.pem", &pair.0)?;
    mesh.apply(&tls_secret("istio-system", "app-tls", &pair))?;
    mesh.apply_sheet("1-ingress.yaml")?;
    mesh.apply(&echo("default", "my-service", "my-service", "v1", 1))?;
    mesh.kubectl(&["rollout", "status", "deployment/my-service", "--timeout=60s"])?;

    let answer = eventually("an answer through the gateway", || checked(&mut curl(mesh, HOST, &authority)?))?;
    let answer: Value = serde_json::from_str(&answer).context("the application's answer")?;
    let pod = answer["pod"].as_str().unwrap_or_default();
    ensure!(pod.starts_with("my-service-"), "{answer}");
    // The application is told whose certificate the gateway showed: mutual TLS on the wire.
    let caller = answer["client_certificate"].as_str().unwrap_or_default();
    ensure!(caller.contains(&format!("URI={GATEWAY_IDENTITY}")), "{answer}");
    ensure!(caller.contains("By=spiffe://cluster.local/ns/default/sa/default"), "{answer}");
    ensure!(answer["headers"]["x-forwarded-proto"] == "https", "{answer}");
    Ok(())
}

/// As cert-manager does it: the Secret changes under load.
pub fn renewed_secret(mesh: &Mesh) -> anyhow::Result<()> {
    let old = std::fs::read_to_string(mesh.folder().join("app.pem"))?;
    let pair = certificate(HOST)?;
    let renewed = write(mesh, "renewed.pem", &pair.0)?;
    let both = write(mesh, "both.pem", &format!("{old}{}", pair.0))?;

    // New connections all the while, trusting either certificate: none may fail.
    let port = mesh.published("istio-system", "istio-ingressgateway", 443)?;
    let mut load = Command::new("curl");
    load.args(["--silent", "--show-error", "--max-time", "60", "--output", "/dev/null", "--no-keepalive"]);
    load.args(["--write-out", "%{http_code}\\n", "--header", "connection: close"]);
    load.args(["--resolve", &format!("{HOST}:{port}:127.0.0.1")]).arg("--cacert").arg(&both);
    load.arg(format!("https://{HOST}:{port}/?n=[1-300]"));
    let load = load.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;

    mesh.apply(&tls_secret("istio-system", "app-tls", &pair))?;
    eventually("the renewed certificate to be served", || checked(&mut curl(mesh, HOST, &renewed)?))?;
    let output = load.wait_with_output()?;
    let codes = text(&output.stdout);
    ensure!(codes.lines().count() == 300, "{codes}{}", text(&output.stderr));
    ensure!(codes.lines().all(|code| code == "200"), "{codes}{}", text(&output.stderr));
    Ok(())
}

/// The host answers, with the certificate it has after its renewal.
pub fn answers(mesh: &Mesh) -> anyhow::Result<()> {
    checked(&mut curl(mesh, HOST, &mesh.folder().join("renewed.pem"))?).map(drop)
}

pub fn broken_secret(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply(
        r#"{"apiVersion":"v1","kind":"Secret","type":"Opaque","metadata":{"name":"broken-tls","namespace":"istio-system"},
            "stringData":{"tls.crt":"this is no certificate","tls.key":"nor is this a key"}}"#,
    )?;
    mesh.apply(
        r#"{"apiVersion":"networking.istio.io/v1","kind":"Gateway","metadata":{"name":"broken","namespace":"istio-system"},
            "spec":{"selector":{"istio":"ingressgateway"},"servers":[{"hosts":["broken.example.com"],
            "port":{"number":443,"name":"https-broken","protocol":"HTTPS"},
            "tls":{"mode":"SIMPLE","credentialName":"broken-tls"}}]}}"#,
    )?;
    let authority = mesh.folder().join("renewed.pem");
    eventually("the good host to answer", || checked(&mut curl(mesh, HOST, &authority)?))?;
    let broken = curl(mesh, "broken.example.com", &authority)?.stdin(Stdio::null()).output()?;
    ensure!(!broken.status.success(), "a host without a certificate was served");
    // And still the good one, after the broken one was asked for.
    checked(&mut curl(mesh, HOST, &authority)?)?;
    mesh.kubectl(&[
        "delete",
        "-n",
        "istio-system",
        "gateway.networking.istio.io/broken",
        "secret/broken-tls",
    ])?;
    Ok(())
}
