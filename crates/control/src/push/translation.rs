//! The seam between pushing and translating: which proxies see the same, what they see, and what a
//! change affects.

use envoy_types::pb::envoy::config::core::v3::Node;
use mizzen_model::{Host, Snapshot, Touched};
pub(crate) use mizzen_translate::Affected;
use mizzen_translate::{Context, Proxy, ProxyError};
use mizzen_xds::server::Selection;
use mizzen_xds::{Resource, TypeUrl};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Turns snapshots into resources. Pure.
pub(crate) trait Translate: Send + Sync + 'static {
    /// A proxy, as far as its resources depend on it.
    type Subject: Send + Sync + 'static;
    /// The mesh as a proxy sees it, for several questions in a row.
    type Context<'a>;

    /// Reads a proxy, and tells what it has in common with those that see the same: proxies of
    /// equal text get equal resources, whichever of them is asked for.
    fn subject(&self, snapshot: &Arc<Snapshot>, node: &Node) -> Result<(String, Self::Subject), ProxyError>;

    /// The mesh as `subject` sees it.
    fn context<'a>(&self, snapshot: &Arc<Snapshot>, subject: &'a Self::Subject) -> Self::Context<'a>;

    /// The resources that the proxy sees.
    fn resources(
        &self,
        context: &Self::Context<'_>,
        type_url: TypeUrl,
        selection: Selection<'_>,
    ) -> Vec<Resource>;

    /// All clusters or endpoints of some hosts; those of no host too, where they may have changed
    /// along with these.
    fn of_hosts(
        &self,
        context: &Self::Context<'_>,
        type_url: TypeUrl,
        hosts: &BTreeSet<Host>,
    ) -> Vec<Resource>;

    /// What a change can affect. May say too much, never too little.
    fn affected(&self, context: &Self::Context<'_>, touched: &Touched, type_url: TypeUrl) -> Affected;
}

/// The types that proxies can ask for.
pub(crate) const TYPES: &[TypeUrl] = &mizzen_translate::TYPES;

/// The real one.
pub(crate) struct Translation;

impl Translate for Translation {
    type Subject = Proxy;
    type Context<'a> = Context<'a>;

    fn subject(&self, snapshot: &Arc<Snapshot>, node: &Node) -> Result<(String, Proxy), ProxyError> {
        let proxy = Proxy::from_node(node)?;
        Ok((common(snapshot, &proxy), proxy))
    }

    fn context<'a>(&self, snapshot: &Arc<Snapshot>, proxy: &'a Proxy) -> Context<'a> {
        Context::new(snapshot, proxy)
    }

    fn resources(&self, context: &Context<'_>, type_url: TypeUrl, selection: Selection<'_>) -> Vec<Resource> {
        let names = match selection {
            Selection::Everything => None,
            Selection::Named(names) => Some(names),
        };
        mizzen_translate::translate(context, type_url, names)
    }

    fn of_hosts(&self, context: &Context<'_>, type_url: TypeUrl, hosts: &BTreeSet<Host>) -> Vec<Resource> {
        let mut found = mizzen_translate::of_hosts(context, type_url, hosts);
        if type_url == TypeUrl::CLUSTER {
            // A service that came or went may be one that leads to the workload's own ports.
            found.extend(mizzen_translate::clusters_of_no_host(context));
        }
        found
    }

    fn affected(&self, context: &Context<'_>, touched: &Touched, type_url: TypeUrl) -> Affected {
        mizzen_translate::affected(touched, context, type_url)
    }
}

/// A proxy without what tells it from its siblings, as text: labels and locality as they are now,
/// the names that its pod gives to ports, and of its addresses only the families, unless a Sidecar
/// leads connections to them.
fn common(snapshot: &Arc<Snapshot>, proxy: &Proxy) -> String {
    let mut common = proxy.clone();
    common.labels = proxy.current_labels(snapshot);
    common.locality = proxy.current_locality(snapshot);
    common.id = String::new();
    common.name = "".into();
    if !snapshot.depends_on_client_node() {
        common.node = "".into();
    }
    let ingress = snapshot
        .sidecar(&proxy.namespace, &common.labels)
        .is_some_and(|sidecar| !sidecar.spec.ingress.is_empty());
    if !ingress {
        common.addresses.iter_mut().for_each(|address| {
            *address = match address {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
        });
        common.addresses.dedup();
    }
    let ports = snapshot.pod(&proxy.namespace, &proxy.name).map(|pod| &pod.ports);
    format!("{common:?} {ports:?}")
}
