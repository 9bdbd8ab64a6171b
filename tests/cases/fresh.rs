//! What a mesh has before anybody configures it, and what a namespace's label does.

use crate::support::{Mesh, echo};
use anyhow::ensure;

pub fn has_its_ingress_gateway(mesh: &Mesh) -> anyhow::Result<()> {
    let service = mesh.get(&["-n", "istio-system", "service", "istio-ingressgateway"])?;
    ensure!(service["metadata"]["labels"]["istio"] == "ingressgateway", "{service}");
    ensure!(service["spec"]["type"] == "LoadBalancer", "{service}");
    let ports: Vec<_> = service["spec"]["ports"].as_array().into_iter().flatten().collect();
    for (port, target) in [(80, 8080), (443, 8443)] {
        ensure!(
            ports.iter().any(|entry| entry["port"] == port && entry["targetPort"] == target),
            "no port {port} to {target}: {service}"
        );
        mesh.published("istio-system", "istio-ingressgateway", port)?;
    }
    let printed = mesh.kubectl(&["get", "svc,deploy,pods", "-n", "istio-system"])?;
    for name in ["istiod", "istio-ingressgateway"] {
        ensure!(printed.contains(name), "{printed}");
    }
    Ok(())
}

/// `kubectl label namespace default istio-injection=enabled`, word for word, and its opposite.
pub fn label_decides_about_sidecars(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"])?;
    mesh.kubectl(&["create", "namespace", "mynamespace"])?;
    mesh.kubectl(&["label", "namespace", "mynamespace", "istio-injection=disabled"])?;
    for namespace in ["default", "mynamespace"] {
        mesh.apply(&echo(namespace, "client", "client", "v1", 1))?;
        mesh.kubectl(&["rollout", "status", "-n", namespace, "deployment/client", "--timeout=60s"])?;
    }
    for (namespace, injected) in [("default", true), ("mynamespace", false)] {
        let pod = mesh.pod(namespace, "app=client")?;
        let pod = mesh.get(&["-n", namespace, "pod", &pod])?;
        let containers = pod["spec"]["initContainers"].as_array().into_iter().flatten();
        let has_proxy = containers.into_iter().any(|container| container["name"] == "istio-proxy");
        ensure!(has_proxy == injected, "{namespace}: sidecar {has_proxy}, expected {injected}");
    }
    Ok(())
}
