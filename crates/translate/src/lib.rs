//! From the mesh as a proxy sees it to the resources Envoy reads: listeners, routes, clusters, endpoints,
//! secrets and the name table. Pure: the same snapshot and proxy always give the same bytes.
//!
//! One file a resource kind. [`translate()`] makes resources, [`affected()`] says which ones a change
//! concerns, and [`ViewKey`] which proxies can share them.

mod access_log;
mod affects;
mod cluster;
mod context;
mod endpoint;
mod envoy;
mod filters;
mod http_connection_manager;
mod inbound;
mod listener;
mod locality;
mod metadata;
mod metrics;
pub mod name;
mod name_table;
mod proxy;
mod rbac;
mod reach;
mod route;
mod secret;
#[cfg(test)]
mod testing;
mod tls;
mod tracing;
mod traffic_policy;
mod view;
mod wire;

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use mizzen_model::Host;
pub use mizzen_xds::{Resource, TypeUrl};
use prost::Message;

pub use affects::{Affected, affected, host_of};
pub use context::Context;
pub use proxy::{Interception, Proxy, ProxyError, ProxyKind};
pub use reach::Reach;
pub use view::ViewKey;

/// The type of name tables.
pub const NAME_TABLE: TypeUrl = TypeUrl::new(mizzen_proto::type_url::NAME_TABLE);

/// Every type that is translated, in the order resources depend on each other.
pub const TYPES: [TypeUrl; 7] = [
    TypeUrl::CLUSTER,
    TypeUrl::ENDPOINT,
    TypeUrl::LISTENER,
    TypeUrl::ROUTE,
    TypeUrl::VIRTUAL_HOST,
    TypeUrl::SECRET,
    NAME_TABLE,
];

/// The resources of one type for a proxy: those with these names as far as they exist, or all.
pub fn translate(context: &Context<'_>, type_url: TypeUrl, names: Option<&[Arc<str>]>) -> Vec<Resource> {
    match type_url {
        TypeUrl::CLUSTER => clusters(context, names),
        TypeUrl::ENDPOINT => endpoints(context, names),
        TypeUrl::LISTENER => listeners(context, names),
        TypeUrl::ROUTE => routes(context, names),
        TypeUrl::VIRTUAL_HOST => virtual_hosts(context, names),
        TypeUrl::SECRET => secrets(context, names),
        other if other == NAME_TABLE => name_tables(context, names),
        _ => Vec::new(),
    }
}

/// The clusters, endpoints or virtual hosts of some hosts only. What was there for a host before and is not among these any
/// more is gone.
pub fn of_hosts<'a>(
    context: &Context<'_>,
    type_url: TypeUrl,
    hosts: impl IntoIterator<Item = &'a Host>,
) -> Vec<Resource> {
    if type_url == TypeUrl::VIRTUAL_HOST {
        return virtual_hosts_of(context, hosts);
    }
    let services = hosts.into_iter().filter_map(|host| context.scope.service(host));
    match type_url {
        TypeUrl::CLUSTER => {
            services.flat_map(|service| cluster::of_service(context, service)).map(cluster_resource).collect()
        }
        TypeUrl::ENDPOINT => services
            .flat_map(|service| cluster::of_service_names(context, service))
            .filter_map(|name| endpoint_resource(context, &name))
            .collect(),
        _ => Vec::new(),
    }
}

/// The clusters of all hosts, without those that [`clusters_of_no_host`] gives.
pub fn clusters_of_hosts(context: &Context<'_>) -> Vec<Resource> {
    let services = context.scope.services().flat_map(|service| cluster::of_service(context, service));
    services.map(cluster_resource).collect()
}

/// The clusters that belong to no host: fixed ones, and the workload's own ports.
pub fn clusters_of_no_host(context: &Context<'_>) -> Vec<Resource> {
    cluster::fixed(context).into_iter().map(cluster_resource).collect()
}

fn resource(name: impl Into<Arc<str>>, message: &impl Message, shape: &wire::Shape) -> Resource {
    Resource::new(name, Bytes::from(wire::encode(message, shape)))
}

fn cluster_resource(cluster: envoy::cluster::Cluster) -> Resource {
    resource(cluster.name.as_str(), &cluster, &wire::CLUSTER)
}

fn clusters(context: &Context<'_>, names: Option<&[Arc<str>]>) -> Vec<Resource> {
    let Some(names) = names else {
        let mut all = clusters_of_hosts(context);
        all.extend(clusters_of_no_host(context));
        return all;
    };
    let (of_services, others): (Vec<&Arc<str>>, Vec<&Arc<str>>) =
        names.iter().partition(|name| name::parse_outbound_cluster(name).is_some());
    let parts = of_services.into_iter().filter_map(|name| name::parse_outbound_cluster(name));
    let found = parts.filter_map(|(port, subset, host)| cluster::of_parts(context, port, subset, &host));
    let fixed = if others.is_empty() { Vec::new() } else { cluster::fixed(context) };
    let fixed = fixed.into_iter().filter(|cluster| others.iter().any(|name| ***name == *cluster.name));
    found.chain(fixed).map(cluster_resource).collect()
}

fn endpoint_resource(context: &Context<'_>, name: &str) -> Option<Resource> {
    let (port, subset, host) = name::parse_outbound_cluster(name)?;
    let assignment = endpoint::of_cluster(context, port, subset, &host)?;
    Some(resource(name, &assignment, &wire::LOAD_ASSIGNMENT))
}

fn endpoints(context: &Context<'_>, names: Option<&[Arc<str>]>) -> Vec<Resource> {
    match names {
        Some(names) => names.iter().filter_map(|name| endpoint_resource(context, name)).collect(),
        None => context
            .scope
            .services()
            .flat_map(|service| cluster::of_service_names(context, service))
            .filter_map(|name| endpoint_resource(context, &name))
            .collect(),
    }
}

fn is_wanted(names: Option<&[Arc<str>]>, name: &str) -> bool {
    names.is_none_or(|names| names.iter().any(|wanted| **wanted == *name))
}

fn listeners(context: &Context<'_>, names: Option<&[Arc<str>]>) -> Vec<Resource> {
    let listeners = if context.proxy.is_router() {
        listener::gateway::all(context)
    } else {
        let mut listeners = listener::outbound::all(context);
        listeners.push(listener::inbound::listener(context));
        listeners
    };
    let wanted = listeners.into_iter().filter(|listener| is_wanted(names, &listener.name));
    wanted.map(|listener| resource(listener.name.as_str(), &listener, &wire::LISTENER)).collect()
}

fn routes(context: &Context<'_>, names: Option<&[Arc<str>]>) -> Vec<Resource> {
    let made = |name: &str, found: Option<envoy::route::RouteConfiguration>| {
        found.map(|configuration| resource(name, &configuration, &wire::ROUTE_CONFIGURATION))
    };
    if context.proxy.is_router() {
        let servers = listener::gateway::servers(context);
        let all = route::gateway::names(&servers);
        let wanted = all.iter().filter(|name| is_wanted(names, name));
        return wanted
            .filter_map(|name| made(name, route::gateway::of_name(context, &servers, name)))
            .collect();
    }
    match names {
        Some(names) => {
            names.iter().filter_map(|name| made(name, route::sidecar::of_name(context, name))).collect()
        }
        None => route::sidecar::names(context)
            .iter()
            .filter_map(|name| made(name, route::sidecar::of_name(context, name)))
            .collect(),
    }
}

/// The virtual hosts of a sidecar that takes them one by one.
fn virtual_hosts(context: &Context<'_>, names: Option<&[Arc<str>]>) -> Vec<Resource> {
    if context.proxy.is_router() || !context.proxy.virtual_host_discovery {
        return Vec::new();
    }
    match names {
        None => {
            route::sidecar::virtual_hosts(context).into_iter().filter_map(virtual_host_resource).collect()
        }
        Some(names) => {
            let hosts: BTreeSet<Host> = names.iter().filter_map(|name| host_of(name)).collect();
            let mut found = virtual_hosts_of(context, &hosts);
            found.retain(|resource| is_wanted(Some(names), &resource.name));
            found
        }
    }
}

fn virtual_hosts_of<'a>(context: &Context<'_>, hosts: impl IntoIterator<Item = &'a Host>) -> Vec<Resource> {
    if context.proxy.is_router() || !context.proxy.virtual_host_discovery {
        return Vec::new();
    }
    let hosts = hosts.into_iter().flat_map(|host| route::sidecar::virtual_hosts_of(context, host));
    hosts.filter_map(virtual_host_resource).collect()
}

/// `PORT/HOST`: the host is the first of its domains.
fn virtual_host_resource((routes, host): (String, envoy::route::VirtualHost)) -> Option<Resource> {
    let name = format!("{routes}/{}", host.domains.first()?);
    Some(resource(name, &host, &wire::VIRTUAL_HOST))
}

fn secrets(context: &Context<'_>, names: Option<&[Arc<str>]>) -> Vec<Resource> {
    let entitled = secret::entitled(context);
    let wanted = entitled.iter().filter(|name| is_wanted(names, name));
    wanted
        .filter_map(|name| secret::of_name(context, name, &entitled))
        .map(|secret| resource(secret.name.as_str(), &secret, &wire::PLAIN))
        .collect()
}

fn name_tables(context: &Context<'_>, names: Option<&[Arc<str>]>) -> Vec<Resource> {
    let name = "NameTable";
    if context.proxy.is_router() || !is_wanted(names, name) {
        return Vec::new();
    }
    vec![resource(name, &name_table::of_proxy(context), &wire::NAME_TABLE)]
}
