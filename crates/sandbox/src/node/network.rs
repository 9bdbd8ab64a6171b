//! The node's network: addresses, a pair of interfaces for each pod, and routes between them.
//!
//! There is no bridge. A pod has one address as a `/32` and reaches everything through the link-local
//! gateway; the node routes each pod's address to the pod's interface. The node's own addresses are on
//! `lo`, where they answer on every link.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::Ipv4Net;
use mizzen_net::NetworkNamespace;
use mizzen_net::link::{LinkError, Links};
use parking_lot::Mutex;

/// Where pods get their addresses.
pub const POD_RANGE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16);
/// Where Services get theirs.
pub const SERVICE_RANGE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16);
/// The node in its own network.
pub const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The Service `kubernetes`.
pub const API_SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The Service `kube-dns`.
pub const DNS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Every pod's gateway.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// Why the network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// An interface, address or route.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A namespace.
    #[error("cannot make a network namespace: {0}")]
    Namespace(#[from] std::io::Error),
    /// A kernel setting.
    #[error("cannot set {setting}: {source}")]
    Setting {
        /// The file under `/proc/sys`.
        setting: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// All addresses are in use.
    #[error("no pod address is left in {POD_RANGE}")]
    Exhausted,
}

/// The network of the node's namespace, which the process is in.
pub struct NodeNetwork {
    links: Links,
    addresses: Mutex<Addresses>,
    next_interface: AtomicU64,
}

/// A pod's network. Give it back with [`NodeNetwork::remove`].
#[derive(Clone, Debug)]
pub struct PodNetwork {
    /// The namespace its processes run in.
    pub namespace: NetworkNamespace,
    /// Its address.
    pub address: Ipv4Addr,
    interface: String,
}

impl NodeNetwork {
    /// Gives the node its addresses and makes it a router.
    pub async fn set_up() -> Result<Arc<Self>, NetworkError> {
        let setting = "net/ipv4/ip_forward";
        std::fs::write(format!("/proc/sys/{setting}"), "1")
            .map_err(|source| NetworkError::Setting { setting, source })?;
        let links = Links::here()?;
        links.up("lo").await?;
        for address in [NODE_ADDRESS, DNS_ADDRESS, GATEWAY] {
            links.add_address("lo", address, 32).await?;
        }
        // The node's own processes need a route for the packet to exist before it is translated.
        links.add_route("lo", SERVICE_RANGE.addr(), SERVICE_RANGE.prefix_len(), None).await?;
        Ok(Arc::new(Self {
            links,
            addresses: Mutex::new(Addresses::new(POD_RANGE, [NODE_ADDRESS])),
            next_interface: AtomicU64::new(1),
        }))
    }

    /// Makes a pod's namespace with its address, routes and link to the node.
    pub async fn add_pod(&self) -> Result<PodNetwork, NetworkError> {
        let address = self.addresses.lock().take().ok_or(NetworkError::Exhausted)?;
        let interface = format!("pod{}", self.next_interface.fetch_add(1, Ordering::Relaxed));
        let made = async {
            let namespace = NetworkNamespace::create()?;
            self.connect_pod(&interface, address, &namespace).await?;
            Ok::<_, NetworkError>(namespace)
        };
        match made.await {
            Ok(namespace) => Ok(PodNetwork { namespace, address, interface }),
            Err(error) => {
                self.addresses.lock().release(address);
                Err(error)
            }
        }
    }

    async fn connect_pod(
        &self,
        interface: &str,
        address: Ipv4Addr,
        namespace: &NetworkNamespace,
    ) -> Result<(), NetworkError> {
        let inside = Links::inside(namespace)?;
        self.links.add_veth(interface, "eth0", namespace).await?;
        self.links.up(interface).await?;
        self.links.add_route(interface, address, 32, None).await?;
        inside.up("lo").await?;
        inside.up("eth0").await?;
        inside.add_address("eth0", address, 32).await?;
        inside.add_route("eth0", GATEWAY, 32, None).await?;
        inside.add_route("eth0", Ipv4Addr::UNSPECIFIED, 0, Some(GATEWAY)).await?;
        Ok(())
    }

    /// Takes a pod off the network and its address back.
    pub async fn remove(&self, pod: &PodNetwork) -> Result<(), NetworkError> {
        self.links.delete(&pod.interface).await?;
        self.addresses.lock().release(pod.address);
        Ok(())
    }
}

/// Addresses of a range, handed out in a circle so that one given back rests as long as possible:
/// proxies and clients may still hold it.
struct Addresses {
    range: Ipv4Net,
    used: BTreeSet<Ipv4Addr>,
    last: u32,
}

impl Addresses {
    fn new(range: Ipv4Net, reserved: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        Self { range, used: reserved.into_iter().collect(), last: 0 }
    }

    fn take(&mut self) -> Option<Ipv4Addr> {
        let size = 1_u32 << (32 - u32::from(self.range.prefix_len()));
        let base = u32::from(self.range.network());
        // The first and the last address of the range are left out, as everywhere.
        for step in 1..size {
            let offset = (self.last + step) % size;
            let address = Ipv4Addr::from(base + offset);
            if offset != 0 && offset != size - 1 && self.used.insert(address) {
                self.last = offset;
                return Some(address);
            }
        }
        None
    }

    fn release(&mut self, address: Ipv4Addr) {
        self.used.remove(&address);
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
