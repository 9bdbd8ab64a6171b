//! The control plane is killed: traffic goes on, and what changed meanwhile is caught up with.

use crate::support::{Mesh, eventually, wait_for};
use anyhow::ensure;

pub fn without_control_plane(mesh: &Mesh) -> anyhow::Result<()> {
    let client = mesh.pod("default", "app=client")?;
    let call = || {
        mesh.kubectl(&[
            "exec",
            &client,
            "-c",
            "app",
            "--",
            "curl",
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}\\n",
            "http://payments/?n=[1-200]",
        ])
    };
    mesh.kubectl(&["scale", "-n", "istio-system", "deployment/istiod", "--replicas=0"])?;
    wait_for("the control plane to be gone", || {
        let pods = mesh.get(&["-n", "istio-system", "pods", "-l", "app=istiod"])?;
        Ok(pods["items"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })?;
    let codes = call()?;
    ensure!(codes.lines().all(|code| code == "200") && codes.lines().count() == 200, "{codes}");
    mesh.kubectl(&["scale", "-n", "istio-system", "deployment/istiod", "--replicas=1"])?;
    mesh.kubectl(&["rollout", "status", "-n", "istio-system", "deployment/istiod", "--timeout=60s"])?;
    eventually("the proxies to be connected again", || {
        let table = mesh.mizzen(&["proxy-status", "--format", "classic"])?;
        let line = table.lines().find(|line| line.starts_with(&client)).unwrap_or_default().to_owned();
        ensure!(line.matches("SYNCED").count() >= 4, "{table}");
        Ok(())
    })?;
    let codes = call()?;
    ensure!(codes.lines().all(|code| code == "200"), "{codes}");
    Ok(())
}
