//! How an embedded API server is set up.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::node::NodeRuntime;

/// The range service cluster IPs come from when nothing else is said: kubeadm's.
pub const DEFAULT_SERVICE_RANGE: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 96, 0, 0), 16);

/// Settings of an [`ApiServer`](crate::ApiServer).
pub struct ServerConfig {
    /// Folder that keeps the objects, the certificate authority, the token signing key and the admin token. Created with
    /// mode 0700 if absent. One server a folder.
    pub state: PathBuf,
    /// Already bound listeners to serve TLS on, at least one. They may come from another network namespace.
    pub listeners: Vec<TcpListener>,
    /// DNS names and IP addresses the serving certificate is for, besides `localhost`, `127.0.0.1`, the `kubernetes`
    /// Service's names and its cluster IP, which are always in.
    pub subject_names: Vec<String>,
    /// Bearer token of the administrator. If absent, the one in the state folder, generated on the first start.
    pub admin_token: Option<String>,
    /// Where logs, commands and port-forwards come from.
    pub node_runtime: Arc<dyn NodeRuntime>,
    /// Where service cluster IPs come from. The first address is the `kubernetes` Service's, the tenth is kept for DNS.
    /// Default: [`DEFAULT_SERVICE_RANGE`].
    pub service_range: Ipv4Net,
    /// Where pods reach this server: the endpoint of the Service `default/kubernetes`. If absent, the Service has no endpoints.
    pub advertised_address: Option<SocketAddr>,
    /// Resources (`"GROUP/PLURAL"`, the core group being empty: `"/pods"`) whose objects are forgotten when the server stops.
    /// Default: events and leases.
    pub volatile_resources: Vec<String>,
}

impl ServerConfig {
    /// A configuration with every default.
    pub fn new(
        state: PathBuf,
        listeners: Vec<TcpListener>,
        node_runtime: Arc<dyn NodeRuntime>,
    ) -> ServerConfig {
        ServerConfig {
            state,
            listeners,
            subject_names: Vec::new(),
            admin_token: None,
            node_runtime,
            service_range: DEFAULT_SERVICE_RANGE,
            advertised_address: None,
            volatile_resources: vec!["/events".to_owned(), "coordination.k8s.io/leases".to_owned()],
        }
    }
}
