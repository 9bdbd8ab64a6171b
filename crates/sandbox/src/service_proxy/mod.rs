//! Cluster IPs and node ports for pods without a sidecar (and for the node itself): keeps the
//! kernel's service table equal to what Services and EndpointSlices say, as kube-proxy does.

mod plan;

pub use plan::{ready_backends, transport_of};

use crate::controllers::{Change, Cluster, Forward};
use crate::events::Severity;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use plan::plan_forwards;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const CONTROLLER: &str = "service-proxy";
/// Changes that come within this time are written together.
const BURST: Duration = Duration::from_millis(10);
/// After the kernel refused a table.
const RETRY: Duration = Duration::from_millis(500);

/// Watches Services and EndpointSlices and writes the table, for ever.
pub fn start(cluster: &Arc<Cluster>) -> impl Future<Output = ()> + Send + use<> {
    let changed = Arc::new(Notify::new());
    let by_service = changed.clone();
    cluster.services.on_change(move |_: &Change<'_, Service>| by_service.notify_one());
    let by_slice = changed.clone();
    cluster.slices.on_change(move |_: &Change<'_, EndpointSlice>| by_slice.notify_one());
    let cluster = cluster.clone();
    async move {
        cluster.services.synced().await;
        cluster.slices.synced().await;
        let mut written: Option<Vec<Forward>> = None;
        let mut reported = HashSet::new();
        changed.notify_one();
        loop {
            changed.notified().await;
            tokio::time::sleep(BURST).await;
            let services = cluster.services.list();
            report_unsupported(&cluster, &services, &mut reported);
            let forwards = plan_forwards(&services, &cluster.slices.list());
            if written.as_ref() == Some(&forwards) {
                continue;
            }
            match cluster.context.service_table.replace(&forwards) {
                Ok(()) => written = Some(forwards),
                Err(error) => {
                    tracing::warn!(%error, retry_in = ?RETRY, "the kernel refused the service table; cluster IPs may be out of date");
                    tokio::time::sleep(RETRY).await;
                    changed.notify_one();
                }
            }
        }
    }
}

/// Tells once, on the Service itself, what of it this node does not do.
fn report_unsupported(cluster: &Cluster, services: &[Arc<Service>], reported: &mut HashSet<String>) {
    for service in services {
        let complaints = unsupported(service);
        let uid = service.metadata.uid.clone().unwrap_or_default();
        if complaints.is_empty() {
            reported.remove(&uid);
        } else if reported.insert(uid) {
            for complaint in complaints {
                cluster.event(CONTROLLER, &**service, Severity::Warning, "NotSupported", complaint);
            }
        }
    }
}

fn unsupported(service: &Service) -> Vec<String> {
    let mut complaints = Vec::new();
    let Some(spec) = &service.spec else { return complaints };
    if spec.session_affinity.as_deref() == Some("ClientIP") {
        complaints.push(
            "spec.sessionAffinity: ClientIP is not done by the sandbox; connections are spread at random"
                .to_owned(),
        );
    }
    for port in spec.ports.iter().flatten().filter(|port| transport_of(port).is_none()) {
        let protocol = port.protocol.as_deref().unwrap_or_default();
        complaints.push(format!(
            "spec.ports: port {} has protocol {protocol}, which the sandbox does not forward",
            port.port
        ));
    }
    complaints
}
