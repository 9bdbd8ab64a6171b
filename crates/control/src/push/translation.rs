//! The seam between pushing and translating: which proxies see the same, what they see, and what a
//! change affects.

use envoy_types::pb::envoy::config::core::v3::Node;
use mizzen_model::{Host, Snapshot, Touched};
pub(crate) use mizzen_translate::Affected;
use mizzen_translate::{Context, Proxy, ProxyError, Reach, ViewKey};
use mizzen_xds::server::Selection;
use mizzen_xds::{Resource, TypeUrl};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Whose resources. Most of them many workloads have in common; keeping these once is what makes a change
/// cost the number of namespaces, not that of workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What all clients have that see the same of the mesh: clusters of services, endpoints, routes.
    Clients,
    /// What follows from the workload itself: listeners, its own ports, secrets.
    Workload,
}

/// What a proxy has in common with others, as text: proxies of equal text get equal resources of that part,
/// whichever of them is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) clients: String,
    pub(crate) workload: String,
}

/// Turns snapshots into resources. Pure.
pub(crate) trait Translate: Send + Sync + 'static {
    /// A proxy, as far as its resources depend on it.
    type Subject: Send + Sync + 'static;
    /// The mesh as a proxy sees it, for several questions in a row.
    type Context<'a>;

    /// Reads a proxy.
    fn subject(&self, node: &Node) -> Result<Self::Subject, ProxyError>;

    /// What it has in common with others as the mesh is now.
    fn keys(&self, snapshot: &Arc<Snapshot>, subject: &Self::Subject) -> Keys;

    /// The part that a resource is of.
    fn part_of(&self, subject: &Self::Subject, type_url: TypeUrl, name: &str) -> Part;

    /// The mesh as `subject` sees it.
    fn context<'a>(&self, snapshot: &Arc<Snapshot>, subject: &'a Self::Subject) -> Self::Context<'a>;

    /// The resources that the proxy sees: those of a part, or the named ones, which are of that part.
    fn resources(
        &self,
        context: &Self::Context<'_>,
        part: Part,
        type_url: TypeUrl,
        selection: Selection<'_>,
    ) -> Vec<Resource>;

    /// All clusters or endpoints of some hosts; of the workload's part those of no host, where they may have
    /// changed along with these.
    fn of_hosts(
        &self,
        context: &Self::Context<'_>,
        part: Part,
        type_url: TypeUrl,
        hosts: &BTreeSet<Host>,
    ) -> Vec<Resource>;

    /// Whose own resources a change can concern.
    type Reach: Sync;

    /// Finds that out, once for all views.
    fn reach(&self, before: &Snapshot, snapshot: &Snapshot, touched: &Touched) -> Self::Reach;

    /// Whether the resources of the workload's part of `subject` are among them.
    fn is_reached(&self, reach: &Self::Reach, subject: &Self::Subject) -> bool;

    /// What a change since `before` can affect. May say too much, never too little.
    fn affected(
        &self,
        before: &Snapshot,
        context: &Self::Context<'_>,
        touched: &Touched,
        type_url: TypeUrl,
    ) -> Affected;
}

/// The types that proxies can ask for.
pub(crate) const TYPES: &[TypeUrl] = &mizzen_translate::TYPES;

/// The real one.
pub(crate) struct Translation;

impl Translate for Translation {
    type Subject = Proxy;
    type Context<'a> = Context<'a>;

    fn subject(&self, node: &Node) -> Result<Proxy, ProxyError> {
        Proxy::from_node(node)
    }

    fn keys(&self, snapshot: &Arc<Snapshot>, proxy: &Proxy) -> Keys {
        let clients = ViewKey::of(&Context::new(snapshot, proxy));
        Keys { clients: format!("{clients:?}"), workload: workload(snapshot, proxy) }
    }

    fn part_of(&self, proxy: &Proxy, type_url: TypeUrl, name: &str) -> Part {
        match type_url {
            TypeUrl::ENDPOINT => Part::Clients,
            TypeUrl::CLUSTER if mizzen_translate::host_of(name).is_some() => Part::Clients,
            // A gateway's routes follow from the Gateways that select it.
            TypeUrl::ROUTE | TypeUrl::VIRTUAL_HOST if !proxy.is_router() => Part::Clients,
            _ => Part::Workload,
        }
    }

    fn context<'a>(&self, snapshot: &Arc<Snapshot>, proxy: &'a Proxy) -> Context<'a> {
        Context::new(snapshot, proxy)
    }

    fn resources(
        &self,
        context: &Context<'_>,
        part: Part,
        type_url: TypeUrl,
        selection: Selection<'_>,
    ) -> Vec<Resource> {
        match (selection, type_url, part) {
            (Selection::Named(names), ..) => mizzen_translate::translate(context, type_url, Some(names)),
            (Selection::Everything, TypeUrl::CLUSTER, Part::Clients) => {
                mizzen_translate::clusters_of_hosts(context)
            }
            (Selection::Everything, TypeUrl::CLUSTER, Part::Workload) => {
                mizzen_translate::clusters_of_no_host(context)
            }
            // All others are of one part as a whole.
            (Selection::Everything, ..) if self.part_of(context.proxy, type_url, "") == part => {
                mizzen_translate::translate(context, type_url, None)
            }
            (Selection::Everything, ..) => Vec::new(),
        }
    }

    fn of_hosts(
        &self,
        context: &Context<'_>,
        part: Part,
        type_url: TypeUrl,
        hosts: &BTreeSet<Host>,
    ) -> Vec<Resource> {
        match part {
            Part::Clients => mizzen_translate::of_hosts(context, type_url, hosts),
            // A service that came or went may be one that leads to the workload's own ports.
            Part::Workload if type_url == TypeUrl::CLUSTER => mizzen_translate::clusters_of_no_host(context),
            Part::Workload => Vec::new(),
        }
    }

    type Reach = Reach;

    fn reach(&self, before: &Snapshot, snapshot: &Snapshot, touched: &Touched) -> Reach {
        Reach::of(touched, before, snapshot)
    }

    fn is_reached(&self, reach: &Reach, proxy: &Proxy) -> bool {
        reach.includes(proxy)
    }

    fn affected(
        &self,
        before: &Snapshot,
        context: &Context<'_>,
        touched: &Touched,
        type_url: TypeUrl,
    ) -> Affected {
        mizzen_translate::affected(touched, before, context, type_url)
    }
}

/// A proxy without what tells it from its siblings, as text: labels and locality as they are now,
/// the names that its pod gives to ports, and of its addresses only the families, unless a Sidecar
/// leads connections to them.
fn workload(snapshot: &Arc<Snapshot>, proxy: &Proxy) -> String {
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
