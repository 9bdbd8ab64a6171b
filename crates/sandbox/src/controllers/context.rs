//! What the controllers are given by the node they run in: addresses, and the few things that only
//! the node can do (listen on the host, resolve outside names, write the kernel's service table).

use futures::future::BoxFuture;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

/// Opens ports on the machine outside the sandbox.
pub trait Publisher: Send + Sync {
    /// Listens on `127.0.0.1:host_port` of the machine, for exactly that port. Dropping the listener
    /// un-publishes it. A port that is taken answers [`io::ErrorKind::AddrInUse`]; one that needs a
    /// privilege answers [`io::ErrorKind::PermissionDenied`]. The caller then tries another one.
    fn publish(&self, host_port: u16) -> BoxFuture<'_, io::Result<tokio::net::TcpListener>>;
}

/// Answers DNS questions about names outside the cluster.
pub trait Upstream: Send + Sync {
    /// Relays one DNS message (RFC 1035 wire form, without TCP's length prefix) to the machine's
    /// resolver and returns its answer.
    fn resolve(&self, query: Vec<u8>) -> BoxFuture<'_, io::Result<Vec<u8>>>;
}

/// The kernel's table that turns cluster addresses and node ports into pod addresses.
pub trait ServiceTable: Send + Sync {
    /// Replaces the whole table in one transaction: packets see either the old or the new one.
    fn replace(&self, forwards: &[Forward]) -> io::Result<()>;
}

/// A transport protocol of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    Tcp,
    Udp,
}

/// Where a forwarded packet was going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Frontend {
    /// A cluster IP (or external IP) and port.
    Address(SocketAddrV4),
    /// A port of every address of the node.
    NodePort(u16),
}

/// One destination and the backends it is spread over at random.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    pub frontend: Frontend,
    pub transport: Transport,
    /// Empty: connections are rejected at once (TCP reset or ICMP port unreachable).
    pub backends: Vec<SocketAddrV4>,
    /// `namespace/name:port`, for people reading the table.
    pub comment: String,
}

/// A wish of `--publish HOST_PORT:SERVICE_PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedPort {
    pub host_port: u16,
    pub service_port: u16,
}

/// Everything the controllers need besides the API.
#[derive(Clone)]
pub struct ControllerContext {
    /// Name of the one node.
    pub node_name: String,
    /// Address of the node in its own network namespace, 10.244.0.1.
    pub node_address: Ipv4Addr,
    /// Where pods reach the API server directly, behind the Service `kubernetes`.
    pub api_address: SocketAddrV4,
    /// The cluster IP of the Service `kubernetes`, 10.96.0.1.
    pub kubernetes_service_address: Ipv4Addr,
    /// The certificates a pod trusts for the API server, PEM, for the ConfigMap `kube-root-ca.crt`.
    pub cluster_ca_pem: String,
    /// The DNS suffix of the cluster without dots at its ends, `cluster.local`.
    pub cluster_domain: String,
    /// Where cluster DNS listens; its address is the cluster IP of the Service `kube-dns`.
    pub dns_address: SocketAddr,
    /// The wishes of `--publish`.
    pub published_ports: Vec<PublishedPort>,
    pub publisher: Arc<dyn Publisher>,
    /// Names outside the cluster get SERVFAIL without it.
    pub upstream: Option<Arc<dyn Upstream>>,
    pub service_table: Arc<dyn ServiceTable>,
}
