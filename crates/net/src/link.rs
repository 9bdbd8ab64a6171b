//! Interfaces, addresses and routes by rtnetlink.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use futures::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::netns::NetworkNamespace;

/// The interfaces of one network namespace.
pub struct Links {
    handle: Handle,
    connection: tokio::task::JoinHandle<()>,
}

/// Why a change to an interface failed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No such interface.
    #[error("no network interface named {0}")]
    Missing(String),
    /// The kernel refused.
    #[error("cannot {action}: {source}")]
    Refused {
        /// What was asked for.
        action: String,
        /// Why not.
        source: rtnetlink::Error,
    },
    /// No netlink socket.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[from] io::Error),
}

impl Drop for Links {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Links {
    /// The interfaces of the calling thread's namespace. Must be called on a tokio runtime.
    pub fn here() -> Result<Self, LinkError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// The interfaces of another namespace. Must be called on a tokio runtime.
    pub fn inside(namespace: &NetworkNamespace) -> Result<Self, LinkError> {
        let runtime = tokio::runtime::Handle::current();
        namespace.run(|| {
            let _entered = runtime.enter();
            Self::here()
        })?
    }

    /// Brings an interface up.
    pub async fn up(&self, name: &str) -> Result<(), LinkError> {
        let index = self.index(name).await?;
        let message = LinkUnspec::new_with_index(index).up().build();
        let done = self.handle.link().set(message).execute().await;
        done.map_err(refused(|| format!("bring {name} up")))
    }

    /// Adds a pair of interfaces: `name` here and `peer` inside `namespace`.
    pub async fn add_veth(
        &self,
        name: &str,
        peer: &str,
        namespace: &NetworkNamespace,
    ) -> Result<(), LinkError> {
        let other = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer)
            .setns_by_fd(namespace.as_fd().as_raw_fd())
            .build();
        let pair = LinkVeth::new(name, peer).set_info_data(InfoData::Veth(InfoVeth::Peer(other))).build();
        let done = self.handle.link().add(pair).execute().await;
        done.map_err(refused(|| format!("add the interface pair {name} and {peer}")))
    }

    /// Removes an interface and its peer; one that is not there is fine.
    pub async fn delete(&self, name: &str) -> Result<(), LinkError> {
        let Ok(index) = self.index(name).await else { return Ok(()) };
        let done = self.handle.link().del(index).execute().await;
        done.map_err(refused(|| format!("delete the interface {name}")))
    }

    /// Adds an address to an interface. Addresses a namespace is to have whatever its links do may go
    /// on `lo`: the kernel answers for them (ARP included) on every interface.
    pub async fn add_address(&self, name: &str, address: Ipv4Addr, prefix: u8) -> Result<(), LinkError> {
        let index = self.index(name).await?;
        let done = self.handle.address().add(index, address.into(), prefix).execute().await;
        done.map_err(refused(|| format!("add {address}/{prefix} to {name}")))
    }

    /// Adds a route by an interface, through `gateway` or straight on the link.
    pub async fn add_route(
        &self,
        name: &str,
        destination: Ipv4Addr,
        prefix: u8,
        gateway: Option<Ipv4Addr>,
    ) -> Result<(), LinkError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .output_interface(self.index(name).await?)
            .destination_prefix(destination, prefix);
        let route = match gateway {
            Some(gateway) => route.gateway(gateway),
            None => route.scope(RouteScope::Link),
        };
        let done = self.handle.route().add(route.build()).execute().await;
        done.map_err(refused(|| format!("add the route {destination}/{prefix} by {name}")))
    }

    async fn index(&self, name: &str) -> Result<u32, LinkError> {
        let mut found = self.handle.link().get().match_name(name.to_owned()).execute();
        match found.try_next().await {
            Ok(Some(message)) => Ok(message.header.index),
            _ => Err(LinkError::Missing(name.to_owned())),
        }
    }
}

fn refused(action: impl FnOnce() -> String) -> impl FnOnce(rtnetlink::Error) -> LinkError {
    |source| LinkError::Refused { action: action(), source }
}
