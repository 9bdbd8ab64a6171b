//! The node's life: network, API server, controllers, kubelet; and an end in order.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kube::config::{KubeConfigOptions, Kubeconfig};
use mizzen_apiserver::{ApiServer, RunningApiServer, ServerConfig};
use mizzen_net::ListenOptions;
use mizzen_net::isolation::{self, Rung};
use serde::{Deserialize, Serialize};

use super::egress;
use super::network::{
    API_SERVICE_ADDRESS, DNS_ADDRESS, NODE_ADDRESS, NetworkError, NodeNetwork, SERVICE_RANGE,
};
use super::service_table::KernelServiceTable;
use crate::controllers::{self, ControllerContext, Controllers, PublishedPort};
use crate::kubelet::{ClusterDns, ImageMap, Kubelet, KubeletSettings, PodRuntime, Pods};
use crate::portal::{Portal, PortalError};

/// The one node's name.
pub const NODE_NAME: &str = "mizzen";
const CLUSTER_DOMAIN: &str = "cluster.local";
/// Where the API server listens in the node's network.
const API_PORT: u16 = 6443;
/// The first port of the machine that is tried for the API server, and how many after it.
const FIRST_HOST_PORT: u16 = 16443;
const HOST_PORTS: u16 = 50;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The folder that keeps everything of this mesh.
    pub state: PathBuf,
    /// Images and the commands that stand for them.
    pub images: Vec<(String, String)>,
    /// Wishes for ports of the machine.
    pub published_ports: Vec<PublishedPort>,
}

/// What the portal is told when the node is up.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSummary {
    /// By what right the sandbox has its namespaces.
    pub rung: Rung,
    /// Where the API is reached on the machine.
    pub api_url: String,
    /// The file that says so to clients.
    pub kubeconfig: PathBuf,
}

/// Why a node could not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No namespaces.
    #[error(transparent)]
    Isolation(#[from] isolation::IsolationError),
    /// No network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No API server.
    #[error(transparent)]
    Api(#[from] mizzen_apiserver::StartError),
    /// No controllers.
    #[error(transparent)]
    Controllers(#[from] controllers::StartError),
    /// The API does not answer the node itself.
    #[error("cannot use the API: {0}")]
    Client(String),
    /// No port, file or runtime.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The portal is gone.
    #[error(transparent)]
    Portal(#[from] PortalError),
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> NodeError {
    move |source| NodeError::Io { action, source }
}

/// Runs a node on the channel to its portal until it is told to stop. Must be called while the process
/// has a single thread; the process is then the node. Errors have been told to the portal.
pub fn run(options: NodeOptions, portal_end: OwnedFd) -> Result<(), NodeError> {
    let rung = isolation::enter();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed("start threads"))?;
    runtime.block_on(async {
        let portal = Portal::new(portal_end).map_err(failed("use the channel to the portal"))?;
        let ended = match rung {
            Ok(rung) => live(options, rung, &portal).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &ended {
            // If the portal is gone there is nobody to tell.
            let _ = portal.failed(error.to_string()).await;
        }
        ended
    })
}

async fn live(options: NodeOptions, rung: Rung, portal: &Portal) -> Result<(), NodeError> {
    portal.progress(format!("Sandbox: {rung}")).await?;
    let network = NodeNetwork::set_up().await?;
    egress::serve(portal.clone()).await.map_err(failed("relay connections to the outside"))?;
    let pods = Pods::default();
    let (server, api_url) = start_api(&options.state, portal, &pods).await?;
    let kubeconfig = options.state.join("kubeconfig");
    write_secret(&kubeconfig, &server.kubeconfig(&api_url)).map_err(failed("write the kubeconfig"))?;
    portal.progress(format!("API server: {api_url}")).await?;
    let client = client(&server).await?;
    let controllers = start_controllers(&options, &client, &server, portal).await?;
    let settings = kubelet_settings(&options);
    let kubelet = Kubelet::new(client, settings, network, pods, &controllers.recorder());
    let kubelet = tokio::spawn(kubelet.run());
    controllers.synced().await;
    portal.progress("Controllers, DNS and kubelet run").await?;
    let summary = NodeSummary { rung, api_url, kubeconfig };
    let summary = serde_json::to_value(summary).map_err(|error| NodeError::Client(error.to_string()))?;
    portal.ready(summary).await?;
    portal.stopped().await;
    kubelet.abort();
    controllers.stop().await;
    server.shutdown().await;
    Ok(())
}

async fn start_api(
    state: &Path,
    portal: &Portal,
    pods: &Pods,
) -> Result<(RunningApiServer, String), NodeError> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, API_PORT));
    let inside = mizzen_net::socket::listen_std(any, &ListenOptions::default())
        .map_err(failed("listen for the API server"))?;
    let outside =
        listen_on_machine(state, portal).await.map_err(failed("listen on the machine for the API server"))?;
    let outside_address = outside.local_addr().map_err(failed("listen on the machine for the API server"))?;
    let runtime = Arc::new(PodRuntime::new(pods.clone()));
    let mut config = ServerConfig::new(state.join("api"), vec![inside, outside], runtime);
    config.subject_names = vec![NODE_ADDRESS.to_string(), API_SERVICE_ADDRESS.to_string()];
    config.service_range = SERVICE_RANGE;
    config.advertised_address = Some(SocketAddr::from((NODE_ADDRESS, API_PORT)));
    let server = ApiServer::start(config).await?;
    Ok((server, format!("https://127.0.0.1:{}", outside_address.port())))
}

/// The port this mesh had before if it is free, else the next free one: kubeconfigs stay true.
async fn listen_on_machine(state: &Path, portal: &Portal) -> io::Result<std::net::TcpListener> {
    let file = state.join("api-port");
    let before = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u16>().ok());
    let candidates = before.into_iter().chain(FIRST_HOST_PORT..FIRST_HOST_PORT + HOST_PORTS).chain([0]);
    let mut failure = io::Error::from(io::ErrorKind::AddrInUse);
    for port in candidates {
        match portal.listen_std(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
            Ok(listener) => {
                std::fs::write(&file, listener.local_addr()?.port().to_string())?;
                return Ok(listener);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    // A file that is there keeps its mode, which may not be ours.
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// The node's own client, inside its network.
async fn client(server: &RunningApiServer) -> Result<kube::Client, NodeError> {
    let unusable = |error: &dyn std::fmt::Display| NodeError::Client(error.to_string());
    let url = format!("https://127.0.0.1:{API_PORT}");
    let file = Kubeconfig::from_yaml(&server.kubeconfig(&url)).map_err(|error| unusable(&error))?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    kube::Client::try_from(config.map_err(|error| unusable(&error))?).map_err(|error| unusable(&error))
}

async fn start_controllers(
    options: &NodeOptions,
    client: &kube::Client,
    server: &RunningApiServer,
    portal: &Portal,
) -> Result<Controllers, NodeError> {
    let context = ControllerContext {
        node_name: NODE_NAME.to_owned(),
        node_address: NODE_ADDRESS,
        api_address: SocketAddrV4::new(NODE_ADDRESS, API_PORT),
        kubernetes_service_address: API_SERVICE_ADDRESS,
        cluster_ca_pem: server.ca_pem().to_owned(),
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        dns_address: SocketAddr::from((DNS_ADDRESS, 53)),
        published_ports: options.published_ports.clone(),
        publisher: Arc::new(portal.clone()),
        upstream: Some(Arc::new(portal.clone())),
        service_table: Arc::new(KernelServiceTable),
    };
    Ok(controllers::start(client.clone(), context).await?)
}

fn kubelet_settings(options: &NodeOptions) -> KubeletSettings {
    KubeletSettings {
        node_name: NODE_NAME.to_owned(),
        node_address: NODE_ADDRESS,
        state: options.state.clone(),
        images: ImageMap::new(options.images.clone()),
        dns: ClusterDns {
            address: DNS_ADDRESS,
            domain: CLUSTER_DOMAIN.to_owned(),
            host_settings: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        },
    }
}
