//! Services of type LoadBalancer, published on the machine: a listener on 127.0.0.1 for each port,
//! whose connections are carried to the ready pods in turn.

mod forward;
mod plan;

use crate::controllers::{Change, Cluster, ControllerError, Next, ObjectKey, Transport, WorkQueue};
use crate::events::Severity;
use crate::service_proxy::transport_of;
use forward::serve;
use k8s_openapi::api::core::v1::{
    LoadBalancerIngress, LoadBalancerStatus, PortStatus, Service, ServicePort, ServiceStatus,
};
use parking_lot::Mutex;
use plan::{candidates, parse_published, render_published};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

const CONTROLLER: &str = "service-controller";
/// Where a Service's ports are on the machine: `127.0.0.1:8080->80,127.0.0.1:8443->443`. Read again
/// after a restart, so that a Service keeps its ports.
pub const PUBLISHED_ANNOTATION: &str = "sandbox.mizzen.dev/published";
/// When no port of the machine could be had.
const RETRY: Duration = Duration::from_secs(2);

/// The listeners of every Service, by Service and service port.
type Published = HashMap<ObjectKey, BTreeMap<u16, Listening>>;

/// One open listener; dropping it closes it.
struct Listening {
    host_port: u16,
    accepting: AbortHandle,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Watches Services and publishes those of type LoadBalancer, for ever.
pub fn start(cluster: &Arc<Cluster>) -> impl Future<Output = ()> + Send + use<> {
    let queue = WorkQueue::default();
    let services = queue.clone();
    cluster.services.on_change(move |change: &Change<'_, Service>| {
        for service in change.before.into_iter().chain(change.after) {
            services.add(ObjectKey::of(&service.metadata));
        }
    });
    let cluster = cluster.clone();
    let published = Arc::new(Mutex::new(Published::new()));
    async move { queue.work(CONTROLLER, |key| reconcile(cluster.clone(), published.clone(), key)).await }
}

fn wants_publishing(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    service.metadata.deletion_timestamp.is_none()
        && spec.type_.as_deref() == Some("LoadBalancer")
        && spec.load_balancer_class.is_none()
}

async fn reconcile(
    cluster: Arc<Cluster>,
    published: Arc<Mutex<Published>>,
    key: ObjectKey,
) -> Result<Next, ControllerError> {
    let service = cluster.services.get(&key);
    let Some(service) = service.filter(|service| wants_publishing(service)) else {
        let removed = published.lock().remove(&key);
        if removed.is_some() {
            return withdraw(&cluster, &key).await;
        }
        return Ok(Next::OnChange);
    };
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.clone()).unwrap_or_default();
    let wanted: Vec<u16> = ports.iter().filter_map(tcp_port).collect();
    if let Some(open) = published.lock().get_mut(&key) {
        open.retain(|port, _| wanted.contains(port));
    }
    let remembered = service
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(PUBLISHED_ANNOTATION))
        .map(|text| parse_published(text))
        .unwrap_or_default();
    let mut next = Next::OnChange;
    let mut told_start = false;
    for service_port in wanted {
        if published.lock().get(&key).is_some_and(|open| open.contains_key(&service_port)) {
            continue;
        }
        if !told_start {
            told_start = true;
            cluster.event(
                CONTROLLER,
                &*service,
                Severity::Normal,
                "EnsuringLoadBalancer",
                "Ensuring load balancer",
            );
        }
        match open_port(&cluster, service_port, remembered.get(&service_port).copied()).await {
            Ok((host_port, listener)) => {
                let accepting = tokio::spawn(serve(cluster.clone(), key.clone(), service_port, listener));
                let listening = Listening { host_port, accepting: accepting.abort_handle() };
                published.lock().entry(key.clone()).or_default().insert(service_port, listening);
                let message = format!("127.0.0.1:{host_port} -> {service_port}");
                cluster.event(CONTROLLER, &*service, Severity::Normal, "EnsuredLoadBalancer", message);
            }
            Err(error) => {
                let message = format!("port {service_port} could not be published on this machine: {error}");
                cluster.event(CONTROLLER, &*service, Severity::Warning, "SyncLoadBalancerFailed", message);
                next = Next::After(RETRY);
            }
        }
    }
    let open: BTreeMap<u16, u16> = published
        .lock()
        .get(&key)
        .map(|open| open.iter().map(|(port, listening)| (*port, listening.host_port)).collect())
        .unwrap_or_default();
    tell(&cluster, &key, &service, &ports, &open).await?;
    Ok(next)
}

fn tcp_port(port: &ServicePort) -> Option<u16> {
    (transport_of(port) == Some(Transport::Tcp)).then(|| u16::try_from(port.port).ok()).flatten()
}

/// Opens the first host port that can be had.
async fn open_port(
    cluster: &Cluster,
    service_port: u16,
    remembered: Option<u16>,
) -> io::Result<(u16, TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for host_port in candidates(service_port, &cluster.context.published_ports, remembered) {
        match cluster.context.publisher.publish(host_port).await {
            Ok(listener) => return Ok((host_port, listener)),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) =>
            {
                last = error;
            }
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Writes where the Service is reached into its status and annotation.
async fn tell(
    cluster: &Cluster,
    key: &ObjectKey,
    service: &Service,
    ports: &[ServicePort],
    open: &BTreeMap<u16, u16>,
) -> Result<(), ControllerError> {
    let text = render_published(open);
    let annotations = service.metadata.annotations.as_ref();
    let mut service = service.clone();
    if annotations.and_then(|annotations| annotations.get(PUBLISHED_ANNOTATION)) != Some(&text) {
        let patch = json!({"metadata": {"annotations": {PUBLISHED_ANNOTATION: text}}});
        service = cluster.merge(&cluster.services, key, patch).await?;
    }
    let statuses: Vec<PortStatus> = ports
        .iter()
        .map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            match tcp_port(port).and_then(|port| open.get(&port)) {
                Some(host_port) => PortStatus { port: i32::from(*host_port), protocol, error: None },
                None => {
                    let error = if protocol == "TCP" { "PortNotFree" } else { "ProtocolNotPublished" };
                    PortStatus {
                        port: port.port,
                        protocol,
                        error: Some(format!("sandbox.mizzen.dev/{error}")),
                    }
                }
            }
        })
        .collect();
    let ingress = LoadBalancerIngress {
        ip: Some("127.0.0.1".to_owned()),
        ip_mode: Some("Proxy".to_owned()),
        ports: Some(statuses),
        hostname: None,
    };
    let ingress = (!open.is_empty()).then(|| vec![ingress]);
    let wanted = LoadBalancerStatus { ingress };
    let current = service.status.as_ref().and_then(|status| status.load_balancer.clone()).unwrap_or_default();
    if current != wanted {
        service.status.get_or_insert_default().load_balancer = Some(wanted);
        cluster.replace_status(&cluster.services, &service).await?;
    }
    Ok(())
}

/// Takes back what was told of a Service that is no longer published.
async fn withdraw(cluster: &Cluster, key: &ObjectKey) -> Result<Next, ControllerError> {
    let Some(service) = cluster.services.get(key) else { return Ok(Next::OnChange) };
    if service.metadata.deletion_timestamp.is_some() {
        return Ok(Next::OnChange);
    }
    let patch = json!({"metadata": {"annotations": {PUBLISHED_ANNOTATION: null}}});
    let mut service = cluster.merge(&cluster.services, key, patch).await?;
    let conditions = service.status.take().and_then(|status| status.conditions);
    service.status = Some(ServiceStatus { conditions, load_balancer: Some(LoadBalancerStatus::default()) });
    cluster.replace_status(&cluster.services, &service).await?;
    let message = "Deleted load balancer";
    cluster.event(CONTROLLER, &service, Severity::Normal, "DeletedLoadBalancer", message);
    Ok(Next::OnChange)
}
