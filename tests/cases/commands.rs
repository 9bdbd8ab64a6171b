//! The mesh commands of the sheet, under both of the binary's names.

use crate::support::{Mesh, eventually, text};
use anyhow::{Context as _, ensure};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

pub fn proxies(mesh: &Mesh) -> anyhow::Result<()> {
    let client = mesh.pod("default", "app=client")?;
    eventually("every proxy in step", || {
        let table = mesh.mizzen(&["proxy-status"])?;
        let header: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
        ensure!(header == ["NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED", "TYPES"], "{table}");
        let line = table.lines().find(|line| line.starts_with(&format!("{client}.default ")));
        let line = line.with_context(|| format!("no line for {client} in:\n{table}"))?;
        ensure!(line.contains("Kubernetes") && line.contains("CDS,LDS,EDS,RDS"), "{line}");
        let classic = mesh.mizzen(&["proxy-status", "--format", "classic"])?;
        let line = classic.lines().find(|line| line.starts_with(&client)).unwrap_or_default().to_owned();
        ensure!(line.matches("SYNCED").count() >= 4, "{classic}");
        Ok(())
    })?;
    // As the sheet has it: routes, plural, and a pod's name.
    let routes = mesh.mizzen(&["proxy-config", "routes", &client])?;
    ensure!(routes.starts_with("NAME"), "{routes}");
    let row = routes.lines().find(|line| line.contains("payments.default"));
    ensure!(row.is_some_and(|row| row.contains("/*")), "{routes}");
    for (resource, expected) in [
        ("clusters", "payments.default.svc.cluster.local"),
        ("listeners", "15006"),
        ("endpoints", "outbound|80|v1|payments.default.svc.cluster.local"),
        ("secret", "ROOTCA"),
        ("bootstrap", "sidecar~"),
        ("all", "payments.default"),
    ] {
        let printed = mesh.mizzen(&["proxy-config", resource, &format!("{client}.default")])?;
        ensure!(printed.contains(expected), "proxy-config {resource} shows no {expected}:\n{printed}");
    }
    let version = mesh.mizzen(&["version"])?;
    ensure!(version.contains("client version:") && version.contains("data plane version:"), "{version}");
    Ok(())
}

pub fn explain(mesh: &Mesh) -> anyhow::Result<()> {
    let client = mesh.pod("default", "app=client")?;
    let mut command = mesh.mizzen_command(&["authn", "tls-check", &format!("{client}.default")]);
    let output = command.arg0("istioctl").stdin(Stdio::null()).output()?;
    let table = text(&output.stdout);
    ensure!(output.status.success(), "{}", text(&output.stderr));
    ensure!(table.starts_with("HOST:PORT"), "{table}");
    let row = table.lines().find(|line| line.starts_with("payments.default.svc.cluster.local:80"));
    let row = row.with_context(|| format!("no row for payments in:\n{table}"))?;
    ensure!(
        row.contains("STRICT") && row.contains("default/default") && row.contains("default/payments"),
        "{row}"
    );

    // A route to a subset that nobody defines, told with its code, its object and its name.
    mesh.apply(
        r#"{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"lost","namespace":"default"},
            "spec":{"hosts":["lost.default.svc.cluster.local"],"http":[{"route":[{"destination":{"host":"payments","subset":"v9"}}]}]}}"#,
    )?;
    let mut command = mesh.mizzen_command(&["analyze", "-n", "default"]);
    let output = command.stdin(Stdio::null()).output()?;
    let findings = text(&output.stdout);
    ensure!(output.status.code() == Some(79), "exit {:?}: {findings}{}", output.status, text(&output.stderr));
    ensure!(
        findings.lines().any(|line| line.starts_with("Error [IST0101] (VirtualService default/lost")),
        "{findings}"
    );
    mesh.kubectl(&["delete", "virtualservice", "lost"])?;
    Ok(())
}
