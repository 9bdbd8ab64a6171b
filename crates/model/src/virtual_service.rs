//! VirtualServices with every name in full, and delegates merged into the rules that refer to them.

use std::{cmp::Ordering, sync::Arc};

use jiff::Timestamp;
use mizzen_api::{
    Meta,
    common::StringMatch,
    networking::{self as api, Destination, HttpMatch, HttpRoute, TcpRoute, TlsRoute},
};

use crate::{host::Host, map::Name, touched::ObjectName, visibility::Visibility};

/// What a rule is bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewayRef {
    /// Every sidecar: the reserved word `mesh`.
    Mesh,
    /// A Gateway.
    Named(ObjectName),
}

impl GatewayRef {
    /// Reads a reference in a rule of `namespace`: `mesh`, `gw`, `./gw`, `ns/gw`, or the old `gw.ns` with
    /// whatever follows.
    pub fn parse(reference: &str, namespace: &str) -> Self {
        if reference == "mesh" {
            return Self::Mesh;
        }
        if let Some((prefix, name)) = reference.split_once('/') {
            return Self::Named(ObjectName::new(if prefix == "." { namespace } else { prefix }, name));
        }
        let mut labels = reference.split('.');
        let name = labels.next().unwrap_or_default();
        Self::Named(ObjectName::new(labels.next().unwrap_or(namespace), name))
    }
}

/// The rules of a VirtualService, ready to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualService {
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Since when it exists.
    pub creation: Timestamp,
    /// The hosts it is for, in full.
    pub hosts: Vec<Host>,
    /// What it is bound to.
    pub gateways: Vec<GatewayRef>,
    /// Who sees it.
    pub visibility: Visibility,
    /// Rules for HTTP, delegates merged; all hosts and gateways in full.
    pub http: Vec<HttpRoute>,
    /// Rules for TLS by server name.
    pub tls: Vec<TlsRoute>,
    /// Rules for plain connections.
    pub tcp: Vec<TcpRoute>,
    /// Whether a rule depends on the labels of the client.
    pub by_source_labels: bool,
}

impl VirtualService {
    /// The older first, then by name and namespace.
    pub fn precedence(&self, other: &Self) -> Ordering {
        (self.creation, &self.name, &self.namespace).cmp(&(other.creation, &other.name, &other.namespace))
    }

    /// Its name as an object.
    pub fn object_name(&self) -> ObjectName {
        ObjectName { namespace: Arc::clone(&self.namespace), name: Arc::clone(&self.name) }
    }

    /// Whether sidecars apply it.
    pub fn is_for_mesh(&self) -> bool {
        self.gateways.contains(&GatewayRef::Mesh)
    }

    /// Every host its rules lead to.
    pub fn destinations(&self) -> impl Iterator<Item = Host> {
        let http = self.http.iter().flat_map(|route| {
            let routes = route.route.iter().map(|route| &route.destination);
            let mirrors = route.mirrors.iter().map(|mirror| &mirror.destination);
            routes.chain(mirrors).chain(&route.mirror)
        });
        let tls = self.tls.iter().flat_map(|route| &route.route).map(|route| &route.destination);
        let tcp = self.tcp.iter().flat_map(|route| &route.route).map(|route| &route.destination);
        http.chain(tls).chain(tcp).map(|destination| Host::new(&destination.host))
    }
}

/// The delegates that a VirtualService's rules refer to.
pub(crate) fn delegates(meta: &Meta, spec: &api::VirtualService) -> Vec<ObjectName> {
    spec.http.iter().filter_map(|route| route.delegate.as_ref()).map(|d| delegate_name(meta, d)).collect()
}

fn delegate_name(meta: &Meta, delegate: &api::Delegate) -> ObjectName {
    ObjectName::new(delegate.namespace.as_deref().unwrap_or(&meta.namespace), delegate.name.as_str())
}

/// A VirtualService as it was declared.
pub(crate) type Declared = (Arc<Meta>, Arc<api::VirtualService>);

/// What completing a VirtualService needs to know of the mesh.
pub(crate) struct Context<'a> {
    pub(crate) domain: &'a str,
    pub(crate) default_export: &'a [String],
    pub(crate) find: &'a dyn Fn(&ObjectName) -> Option<Declared>,
}

/// A VirtualService with names in full and delegates in place. One without hosts is itself a delegate
/// and yields nothing.
pub(crate) fn complete(
    meta: &Meta,
    spec: &api::VirtualService,
    context: &Context<'_>,
) -> Option<VirtualService> {
    if spec.hosts.is_empty() {
        return None;
    }
    let mut http = Vec::with_capacity(spec.http.len());
    for route in &spec.http {
        match &route.delegate {
            None => http.push(full_http(route, &meta.namespace, context.domain)),
            Some(delegate) => http.extend(delegated(meta, route, delegate, context)),
        }
    }
    let gateways: Vec<GatewayRef> = if spec.gateways.is_empty() {
        vec![GatewayRef::Mesh]
    } else {
        spec.gateways.iter().map(|gateway| GatewayRef::parse(gateway, &meta.namespace)).collect()
    };
    let tls: Vec<TlsRoute> =
        spec.tls.iter().map(|route| full_tls(route, &meta.namespace, context.domain)).collect();
    let tcp: Vec<TcpRoute> =
        spec.tcp.iter().map(|route| full_tcp(route, &meta.namespace, context.domain)).collect();
    let by_source_labels = http.iter().flat_map(|route| &route.matches).any(|m| !m.source_labels.is_empty())
        || tls.iter().flat_map(|route| &route.matches).any(|m| !m.source_labels.is_empty())
        || tcp.iter().flat_map(|route| &route.matches).any(|m| !m.source_labels.is_empty());
    Some(VirtualService {
        namespace: meta.namespace.as_str().into(),
        name: meta.name.as_str().into(),
        creation: meta.creation,
        hosts: spec.hosts.iter().map(|host| Host::resolve(host, &meta.namespace, context.domain)).collect(),
        gateways,
        visibility: Visibility::parse(&spec.export_to, &meta.namespace, context.default_export),
        http,
        tls,
        tcp,
        by_source_labels,
    })
}

// === names in full ===

fn full_host(destination: &mut Destination, namespace: &str, domain: &str) {
    destination.host = Host::resolve(&destination.host, namespace, domain).as_str().to_owned();
}

fn full_gateways(gateways: &mut [String], namespace: &str) {
    for gateway in gateways {
        if let GatewayRef::Named(name) = GatewayRef::parse(gateway, namespace) {
            *gateway = name.to_string();
        }
    }
}

fn full_http(route: &HttpRoute, namespace: &str, domain: &str) -> HttpRoute {
    let mut route = route.clone();
    for destination in route.route.iter_mut().map(|route| &mut route.destination) {
        full_host(destination, namespace, domain);
    }
    for destination in route.mirrors.iter_mut().map(|mirror| &mut mirror.destination).chain(&mut route.mirror)
    {
        full_host(destination, namespace, domain);
    }
    for matching in &mut route.matches {
        full_gateways(&mut matching.gateways, namespace);
    }
    route
}

fn full_tls(route: &TlsRoute, namespace: &str, domain: &str) -> TlsRoute {
    let mut route = route.clone();
    route.route.iter_mut().for_each(|route| full_host(&mut route.destination, namespace, domain));
    route.matches.iter_mut().for_each(|matching| full_gateways(&mut matching.gateways, namespace));
    route
}

fn full_tcp(route: &TcpRoute, namespace: &str, domain: &str) -> TcpRoute {
    let mut route = route.clone();
    route.route.iter_mut().for_each(|route| full_host(&mut route.destination, namespace, domain));
    route.matches.iter_mut().for_each(|matching| full_gateways(&mut matching.gateways, namespace));
    route
}

// === delegates ===

/// The rules of a delegate, narrowed by the rule that refers to it. A delegate that is missing, not
/// exported here, or a delegator itself contributes nothing; only its own rules are lost.
fn delegated(
    meta: &Meta,
    root: &HttpRoute,
    delegate: &api::Delegate,
    context: &Context<'_>,
) -> Vec<HttpRoute> {
    let Some((delegate_meta, spec)) = (context.find)(&delegate_name(meta, delegate)) else {
        return Vec::new();
    };
    let visibility = Visibility::parse(&spec.export_to, &delegate_meta.namespace, context.default_export);
    if !spec.hosts.is_empty() || !visibility.includes(&meta.namespace) {
        return Vec::new();
    }
    let root = full_http(root, &meta.namespace, context.domain);
    let leaves = spec.http.iter().filter(|leaf| leaf.delegate.is_none());
    leaves
        .map(|leaf| full_http(leaf, &delegate_meta.namespace, context.domain))
        .filter_map(|leaf| merge(&root, leaf))
        .collect()
}

fn merge(root: &HttpRoute, leaf: HttpRoute) -> Option<HttpRoute> {
    let mut merged = leaf;
    merged.matches = merge_matches(&root.matches, &merged.matches)?;
    merged.name = match (&root.name, &merged.name) {
        (Some(root), Some(leaf)) => Some(format!("{root}-{leaf}")),
        (root, leaf) => root.clone().or_else(|| leaf.clone()),
    };
    merged.rewrite = merged.rewrite.or_else(|| root.rewrite.clone());
    merged.timeout = merged.timeout.or(root.timeout);
    merged.retries = merged.retries.or_else(|| root.retries.clone());
    merged.fault = merged.fault.or_else(|| root.fault.clone());
    merged.cors_policy = merged.cors_policy.or_else(|| root.cors_policy.clone());
    merged.headers = merged.headers.or_else(|| root.headers.clone());
    if merged.mirror.is_none() {
        merged.mirror.clone_from(&root.mirror);
        merged.mirror_percentage = merged.mirror_percentage.or_else(|| root.mirror_percentage.clone());
        merged.mirror_percent = merged.mirror_percent.or(root.mirror_percent);
    }
    if merged.mirrors.is_empty() {
        merged.mirrors.clone_from(&root.mirrors);
    }
    Some(merged)
}

/// Every pair of matches that agree, or nothing where one of the leaf's matches agrees with none.
fn merge_matches(root: &[HttpMatch], leaf: &[HttpMatch]) -> Option<Vec<HttpMatch>> {
    if root.is_empty() || leaf.is_empty() {
        return Some(if leaf.is_empty() { root.to_vec() } else { leaf.to_vec() });
    }
    let mut merged = Vec::new();
    for leaf in leaf {
        let agreeing: Vec<_> =
            root.iter().filter(|root| !conflicts(root, leaf)).map(|root| refine(root, leaf)).collect();
        if agreeing.is_empty() {
            return None;
        }
        merged.extend(agreeing);
    }
    Some(merged)
}

fn conflicts(root: &HttpMatch, leaf: &HttpMatch) -> bool {
    let texts = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let keyed = [
        (&root.headers, &leaf.headers),
        (&root.query_params, &leaf.query_params),
        (&root.without_headers, &leaf.without_headers),
    ];
    root.ignore_uri_case != leaf.ignore_uri_case
        || differ(&root.port, &leaf.port)
        || differ(&root.source_namespace, &leaf.source_namespace)
        || texts
            .iter()
            .any(|(root, leaf)| matches!((root, leaf), (Some(root), Some(leaf)) if !refines(root, leaf)))
        || keyed.iter().any(|(root, leaf)| {
            root.iter().any(|(key, value)| leaf.get(key).is_some_and(|leaf| !refines(value, leaf)))
        })
        || root
            .source_labels
            .iter()
            .any(|(key, value)| leaf.source_labels.get(key).is_some_and(|leaf| leaf != value))
        || (!root.gateways.is_empty() && !leaf.gateways.iter().all(|gateway| root.gateways.contains(gateway)))
}

fn differ<T: PartialEq>(root: &Option<T>, leaf: &Option<T>) -> bool {
    matches!((root, leaf), (Some(root), Some(leaf)) if root != leaf)
}

/// Whether whatever `leaf` matches is matched by `root`. Of expressions nothing can be said.
fn refines(root: &StringMatch, leaf: &StringMatch) -> bool {
    match (root, leaf) {
        (StringMatch::Present, _) => true,
        (StringMatch::Exact(root), StringMatch::Exact(leaf)) => root == leaf,
        (StringMatch::Prefix(root), StringMatch::Exact(leaf) | StringMatch::Prefix(leaf)) => {
            leaf.starts_with(root)
        }
        _ => false,
    }
}

fn refine(root: &HttpMatch, leaf: &HttpMatch) -> HttpMatch {
    let mut merged = leaf.clone();
    merged.name = match (&root.name, &leaf.name) {
        (Some(root), Some(leaf)) => Some(format!("{root}-{leaf}")),
        (root, leaf) => root.clone().or_else(|| leaf.clone()),
    };
    let inherit = |own: &mut Option<StringMatch>, root: &Option<StringMatch>| {
        if own.is_none() {
            own.clone_from(root);
        }
    };
    inherit(&mut merged.uri, &root.uri);
    inherit(&mut merged.scheme, &root.scheme);
    inherit(&mut merged.method, &root.method);
    inherit(&mut merged.authority, &root.authority);
    for (own, root) in [
        (&mut merged.headers, &root.headers),
        (&mut merged.query_params, &root.query_params),
        (&mut merged.without_headers, &root.without_headers),
    ] {
        for (key, value) in root {
            own.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    for (key, value) in &root.source_labels {
        merged.source_labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if merged.gateways.is_empty() {
        merged.gateways.clone_from(&root.gateways);
    }
    merged.port = merged.port.or(root.port);
    merged.source_namespace = merged.source_namespace.or_else(|| root.source_namespace.clone());
    merged.stat_prefix = merged.stat_prefix.or_else(|| root.stat_prefix.clone());
    merged
}

#[cfg(test)]
#[path = "virtual_service_tests.rs"]
mod tests;
