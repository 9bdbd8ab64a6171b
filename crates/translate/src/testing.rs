//! Proxies and decoded resources, for tests.

use std::sync::Arc;

use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        extensions::filters::network::http_connection_manager::v3::HttpConnectionManager,
    },
    google::protobuf::{Struct, Value, value::Kind},
};
use mizzen_model::{Snapshot, Store, testing};
use prost::Message;

use crate::{
    Context, Proxy, TypeUrl,
    envoy::{cluster, endpoint, listener, route},
    translate,
};

fn text(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.to_owned())) }
}

fn node(id: &str, namespace: &str, account: &str, labels: &[(&str, &str)], features: &str) -> Node {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect();
    let fields = [
        ("NAMESPACE", text(namespace)),
        ("SERVICE_ACCOUNT", text(account)),
        ("WORKLOAD_NAME", text(account)),
        ("ISTIO_VERSION", text("1.30.0")),
        ("MIZZEN_FEATURES", text(features)),
        ("LABELS", Value { kind: Some(Kind::StructValue(Struct { fields: labels })) }),
    ];
    let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Node { id: id.to_owned(), metadata: Some(Struct { fields }), ..Node::default() }
}

/// The sidecar of `app`'s first pod in `default`.
pub(crate) fn sidecar(app: &str) -> Proxy {
    let id = format!("sidecar~10.244.0.5~{app}-1.default~default.svc.cluster.local");
    Proxy::from_node(&node(&id, "default", app, &[("app", app), ("version", "v1")], "istio-filters")).unwrap()
}

/// The same, taking virtual hosts one by one.
pub(crate) fn discovering_sidecar(app: &str) -> Proxy {
    Proxy { virtual_host_discovery: true, ..sidecar(app) }
}

/// The same as stock Envoy.
pub(crate) fn stock_sidecar(app: &str) -> Proxy {
    Proxy { istio_filters: false, ..sidecar(app) }
}

/// The ingress gateway.
pub(crate) fn gateway() -> Proxy {
    let id = "router~10.244.0.2~gw-1.istio-system~istio-system.svc.cluster.local";
    Proxy::from_node(&node(id, "istio-system", "gw", &[("istio", "ingressgateway")], "istio-filters"))
        .unwrap()
}

/// The shop: `payments` in two versions, `cart`, and the ingress gateway's Service.
pub(crate) fn shop() -> String {
    [
        testing::service("default", "payments", "http", "10.96.0.20"),
        testing::service("default", "cart", "", "10.96.0.21"),
        testing::service("default", "db", "tcp", "10.96.0.22"),
        testing::pod("default", "payments-1", "payments", "v1", "10.244.0.5"),
        testing::pod("default", "payments-2", "payments", "v2", "10.244.0.6"),
        testing::pod("default", "cart-1", "cart", "v1", "10.244.0.7"),
        testing::pod("default", "db-1", "db", "v1", "10.244.0.8"),
        testing::slice(
            "default",
            "payments",
            "http",
            &[("payments-1", "10.244.0.5"), ("payments-2", "10.244.0.6")],
        ),
        testing::slice("default", "db", "tcp", &[("db-1", "10.244.0.8")]),
        "---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  clusterIP: 10.96.0.2
  selector: {istio: ingressgateway}
  ports: [{name: http2, port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: 8443}]
"
        .to_owned(),
    ]
    .concat()
}

/// The shop and more.
pub(crate) fn shop_with(manifests: &str) -> Store {
    testing::store(&(shop() + manifests))
}

fn decoded<M: Message + Default>(snapshot: &Arc<Snapshot>, proxy: &Proxy, type_url: TypeUrl) -> Vec<M> {
    let context = Context::new(snapshot, proxy);
    let resources = translate(&context, type_url, None);
    resources.iter().map(|resource| M::decode(resource.body.clone()).unwrap()).collect()
}

/// All clusters of a proxy.
pub(crate) fn clusters(snapshot: &Arc<Snapshot>, proxy: &Proxy) -> Vec<cluster::Cluster> {
    decoded(snapshot, proxy, TypeUrl::CLUSTER)
}

/// One cluster of a proxy.
pub(crate) fn cluster(snapshot: &Arc<Snapshot>, proxy: &Proxy, name: &str) -> cluster::Cluster {
    let found = clusters(snapshot, proxy).into_iter().find(|cluster| cluster.name == name);
    found.unwrap_or_else(|| panic!("no cluster {name}"))
}

/// The endpoints of a cluster.
pub(crate) fn endpoints(
    snapshot: &Arc<Snapshot>,
    proxy: &Proxy,
    name: &str,
) -> endpoint::ClusterLoadAssignment {
    let all: Vec<endpoint::ClusterLoadAssignment> = decoded(snapshot, proxy, TypeUrl::ENDPOINT);
    all.into_iter().find(|found| found.cluster_name == name).unwrap_or_else(|| panic!("no endpoints {name}"))
}

/// All listeners of a proxy.
pub(crate) fn listeners(snapshot: &Arc<Snapshot>, proxy: &Proxy) -> Vec<listener::Listener> {
    decoded(snapshot, proxy, TypeUrl::LISTENER)
}

/// One listener of a proxy.
pub(crate) fn listener(snapshot: &Arc<Snapshot>, proxy: &Proxy, name: &str) -> listener::Listener {
    let all = listeners(snapshot, proxy);
    let names: Vec<_> = all.iter().map(|listener| listener.name.clone()).collect();
    all.into_iter()
        .find(|listener| listener.name == name)
        .unwrap_or_else(|| panic!("{name} is none of {names:?}"))
}

/// The routes of this name.
pub(crate) fn routes(snapshot: &Arc<Snapshot>, proxy: &Proxy, name: &str) -> route::RouteConfiguration {
    let all: Vec<route::RouteConfiguration> = decoded(snapshot, proxy, TypeUrl::ROUTE);
    let names: Vec<_> = all.iter().map(|routes| routes.name.clone()).collect();
    all.into_iter()
        .find(|routes| routes.name == name)
        .unwrap_or_else(|| panic!("{name} is none of {names:?}"))
}

/// The virtual hosts in the collection of this name.
pub(crate) fn virtual_hosts(
    snapshot: &Arc<Snapshot>,
    proxy: &Proxy,
    collection: &str,
) -> Vec<route::VirtualHost> {
    let context = Context::new(snapshot, proxy);
    let all = translate(&context, TypeUrl::VIRTUAL_HOST, None);
    let wanted = all.iter().filter(|found| found.name.starts_with(&format!("{collection}/")));
    wanted.map(|found| route::VirtualHost::decode(found.body.clone()).unwrap()).collect()
}

/// The virtual host that has a domain.
pub(crate) fn virtual_host(routes: &route::RouteConfiguration, domain: &str) -> route::VirtualHost {
    let found = routes.virtual_hosts.iter().find(|host| host.domains.iter().any(|known| known == domain));
    found.cloned().unwrap_or_else(|| panic!("no virtual host for {domain} in {routes:?}"))
}

/// Where a route forwards to.
pub(crate) fn action(route: &route::Route) -> route::RouteAction {
    match &route.action {
        Some(route::route::Action::Route(action)) => action.clone(),
        other => panic!("not forwarded: {other:?}"),
    }
}

/// The configuration of a network filter.
pub(crate) fn filter<M: Message + Default>(chain: &listener::FilterChain, name: &str) -> Option<M> {
    let filter = chain.filters.iter().find(|filter| filter.name == name)?;
    match filter.config_type.as_ref()? {
        listener::filter::ConfigType::TypedConfig(any) => Some(M::decode(any.value.as_slice()).unwrap()),
        listener::filter::ConfigType::ConfigDiscovery(_) => None,
    }
}

/// The HTTP connection manager of a chain.
pub(crate) fn manager(chain: &listener::FilterChain) -> Option<HttpConnectionManager> {
    filter(chain, "envoy.filters.network.http_connection_manager")
}

/// The names of a connection manager's filters.
pub(crate) fn filter_names(manager: &HttpConnectionManager) -> Vec<&str> {
    manager.http_filters.iter().map(|filter| filter.name.as_str()).collect()
}
