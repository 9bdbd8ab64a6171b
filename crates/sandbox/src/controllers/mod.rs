//! The controllers of a one-node cluster: they read intent and state from the API and write objects
//! back, and never do anything that another client of the API could not see.
//!
//! Each decides by a pure function and acts in a thin loop ([`WorkQueue`]) over shared local copies
//! of the API's objects ([`Cache`]).

mod bootstrap;
mod cache;
mod cluster;
mod context;
mod daemon_set;
mod deployment;
mod endpoint_slice;
mod job;
mod pod_writes;
mod pods;
mod queue;
mod replica_set;
mod stateful_set;
mod watch;

pub use cache::{Cache, Cached, Change, ObjectKey};
pub use cluster::Cluster;
pub use context::{
    ControllerContext, Forward, Frontend, PublishedPort, Publisher, ServiceTable, Transport, Upstream,
};
pub use endpoint_slice::{SERVICE_NAME, named_port};
pub use queue::{ControllerError, Next, WorkQueue};

use crate::dns::{Resolver, Server, Zone};
use crate::events::Recorder;
use crate::{load_balancer, service_proxy};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Why the controllers could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Cluster DNS has no socket.
    #[error(
        "cluster DNS cannot listen on {address} (UDP and TCP): {source}; is the address up in the node's network namespace?"
    )]
    Dns { address: SocketAddr, source: std::io::Error },
    /// The cluster domain is no DNS name.
    #[error("'{domain}' is not a DNS domain: {source}")]
    Domain { domain: String, source: hickory_proto::ProtoError },
}

/// Running controllers; they stop when this is dropped.
pub struct Controllers {
    tasks: JoinSet<()>,
    cluster: Arc<Cluster>,
}

impl Controllers {
    /// Waits until every controller has a full picture of the API.
    pub async fn synced(&self) {
        self.cluster.synced().await;
    }

    /// A recorder of Events, for the other parts of the node.
    pub fn recorder(&self) -> Recorder {
        self.cluster.recorder.clone()
    }

    /// The local copies the controllers work on, for the other parts of the node.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.cluster.clone()
    }

    /// Stops all controllers and waits until they are gone.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Starts every controller, cluster DNS, the service proxy and the publishing of LoadBalancer
/// Services as tasks of the current runtime. The API need not answer yet.
pub async fn start(client: kube::Client, mut context: ControllerContext) -> Result<Controllers, StartError> {
    let address = context.dns_address;
    let no_dns = |source| StartError::Dns { address, source };
    let server = Server::bind(address).await.map_err(no_dns)?;
    // With port 0 the system chose one.
    context.dns_address = server.local_address().map_err(no_dns)?;
    let mut tasks = JoinSet::new();
    let (recorder, recording) = Recorder::new(client.clone(), "sandbox");
    tasks.spawn(recording);
    let cluster = Cluster::new(client, context, recorder);
    let zone = Zone::new(
        cluster.services.clone(),
        cluster.slices.clone(),
        cluster.namespaces.clone(),
        &cluster.context.cluster_domain,
    )
    .map_err(|source| StartError::Domain { domain: cluster.context.cluster_domain.clone(), source })?;
    let resolver = Arc::new(Resolver::new(zone, cluster.context.upstream.clone()));
    tasks.spawn(server.serve(resolver));
    bootstrap::start(&cluster, &mut tasks);
    let loops = [
        Box::pin(deployment::start(&cluster)) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
        Box::pin(replica_set::start(&cluster)),
        Box::pin(stateful_set::start(&cluster)),
        Box::pin(daemon_set::start(&cluster)),
        Box::pin(job::start(&cluster)),
        Box::pin(endpoint_slice::start(&cluster)),
        Box::pin(service_proxy::start(&cluster)),
        Box::pin(load_balancer::start(&cluster)),
    ];
    for controller in loops {
        let cluster = cluster.clone();
        tasks.spawn(async move {
            // A half-read API looks like one where pods are missing.
            cluster.synced().await;
            controller.await;
        });
    }
    cluster.follow(&mut tasks);
    Ok(Controllers { tasks, cluster })
}
