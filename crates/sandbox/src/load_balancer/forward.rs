//! Carries the connections of one published port to the ready pods of its Service, in turn.

use crate::controllers::{Cluster, ObjectKey, SERVICE_NAME};
use crate::service_proxy::ready_backends;
use k8s_openapi::api::core::v1::ServicePort;
use mizzen_net::{CopyCounters, CopyOptions, copy_bidirectional};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Open connections of one port; more wait to be accepted.
const MOST_CONNECTIONS: usize = 4096;
/// Backends tried for one connection.
const ATTEMPTS: usize = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing moves for so long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// After a failed accept (mostly: out of descriptors).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts and carries connections until the task is aborted; connections end with it.
pub async fn serve(cluster: Arc<Cluster>, service: ObjectKey, service_port: u16, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    let turn = AtomicUsize::new(0);
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let client = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let client = match client {
            Ok((client, _)) => client,
            Err(error) => {
                tracing::warn!(%service, service_port, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let backends = backends(&cluster, &service, service_port);
        let first = turn.fetch_add(1, Ordering::Relaxed);
        let service = service.clone();
        connections.spawn(async move {
            if let Err(error) = carry(client, &backends, first).await {
                tracing::debug!(%service, service_port, %error, "a published connection ended early");
            }
            drop(place);
        });
    }
}

fn backends(cluster: &Cluster, key: &ObjectKey, service_port: u16) -> Vec<SocketAddrV4> {
    let service = cluster.services.get(key);
    let ports = service.as_ref().and_then(|service| service.spec.as_ref()?.ports.as_ref());
    let is_wanted = |port: &&ServicePort| {
        port.port == i32::from(service_port) && port.protocol.as_deref().unwrap_or("TCP") == "TCP"
    };
    let Some(port) = ports.and_then(|ports| ports.iter().find(is_wanted)) else { return Vec::new() };
    let mut slices = cluster.slices.list_namespace(&key.namespace);
    slices.retain(|slice| {
        slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME)) == Some(&key.name)
    });
    ready_backends(slices.iter().map(Arc::as_ref), port)
}

async fn carry(client: TcpStream, backends: &[SocketAddrV4], first: usize) -> std::io::Result<()> {
    let server = connect_in_turn(backends, first).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let options = CopyOptions { idle_timeout: Some(IDLE_TIMEOUT) };
    copy_bidirectional(&client, &server, &options, &CopyCounters::default()).await.map(|_| ())
}

/// Connects to the backend whose turn it is, or to one of the next.
async fn connect_in_turn(backends: &[SocketAddrV4], first: usize) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::other("the Service has no ready endpoint");
    let Some(start) = first.checked_rem(backends.len()) else { return Err(last) };
    for backend in backends.iter().cycle().skip(start).take(ATTEMPTS.min(backends.len())) {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(backend)).await {
            Ok(Ok(server)) => return Ok(server),
            Ok(Err(error)) => last = error,
            Err(_) => last = std::io::Error::from(std::io::ErrorKind::TimedOut),
        }
    }
    Err(last)
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
