//! What a running mesh shows of itself.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, ListParams};

/// A port of a LoadBalancer Service and where it is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// `namespace/name`.
    pub service: String,
    /// The Service's port.
    pub service_port: i32,
    /// `127.0.0.1:8080`.
    pub address: String,
}

impl Published {
    /// Whether this is the ingress gateway's port for plain HTTP.
    pub fn is_ingress(&self) -> bool {
        self.service.ends_with("/istio-ingressgateway") && self.service_port == 80
    }
}

/// Every published port, by Service.
pub async fn published(client: &kube::Client) -> anyhow::Result<Vec<Published>> {
    let services = Api::<Service>::all(client.clone()).list(&ListParams::default()).await?;
    Ok(services.items.iter().flat_map(published_ports).collect())
}

/// The status lists the machine's ports in the order of the Service's.
fn published_ports(service: &Service) -> Vec<Published> {
    let name = service.metadata.name.clone().unwrap_or_default();
    let namespace = service.metadata.namespace.clone().unwrap_or_default();
    let ingress =
        service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref()?.first());
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let (Some(ingress), Some(ports)) = (ingress, ports) else { return Vec::new() };
    let host = ingress.ip.as_deref().or(ingress.hostname.as_deref()).unwrap_or("127.0.0.1");
    let pairs = ports.iter().zip(ingress.ports.iter().flatten());
    pairs
        .filter(|(_, status)| status.error.is_none())
        .map(|(port, status)| Published {
            service: format!("{namespace}/{name}"),
            service_port: port.port,
            address: format!("{host}:{}", status.port),
        })
        .collect()
}

/// Whether a pod's condition `Ready` is true.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
