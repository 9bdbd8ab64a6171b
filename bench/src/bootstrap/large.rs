//! A proxy with many clusters and routes.

use super::{address, bootstrap, cluster, connection_manager, router, speaks_http2};
use serde_json::{Value, json};
use std::net::SocketAddr;

fn cluster_name(index: usize) -> String {
    format!("outbound|80||service-{index}.default.svc.cluster.local")
}

/// A route configuration with `count` virtual hosts, each to its cluster.
pub fn routes(count: usize) -> Value {
    let hosts: Vec<Value> = (0..count)
        .map(|index| {
            json!({
                "name": format!("service-{index}.default.svc.cluster.local:80"),
                "domains": [
                    format!("service-{index}"), format!("service-{index}.default"),
                    format!("service-{index}.default.svc"), format!("service-{index}.default.svc.cluster.local")
                ],
                "routes": [{
                    "name": "default", "match": { "prefix": "/" },
                    "route": { "cluster": cluster_name(index), "timeout": "0s" }
                }]
            })
        })
        .collect();
    json!({ "name": "80", "virtual_hosts": hosts })
}

fn listener(entry: SocketAddr, routes: Value) -> Value {
    let mut config = routes;
    config["http_filters"] = json!([router()]);
    let manager = connection_manager(config);
    json!({ "name": "entry", "address": address(entry), "filter_chains": [{ "filters": [manager] }] })
}

fn clusters(application: SocketAddr, count: usize) -> Vec<Value> {
    (0..count).map(|index| cluster(&cluster_name(index), application)).collect()
}

/// `count` clusters with one endpoint and one virtual host each. All lead to the application.
pub fn large(admin: SocketAddr, entry: SocketAddr, application: SocketAddr, count: usize) -> Value {
    let listener = listener(entry, json!({ "route_config": routes(count) }));
    bootstrap("large", admin, listener, clusters(application, count))
}

/// The same with routes that come from a control plane.
pub fn routed(
    admin: SocketAddr,
    entry: SocketAddr,
    application: SocketAddr,
    control_plane: SocketAddr,
    count: usize,
) -> Value {
    let source = json!({ "ads": {}, "resource_api_version": "V3" });
    let listener = listener(entry, json!({ "rds": { "route_config_name": "80", "config_source": source } }));
    let mut clusters = clusters(application, count);
    clusters.push(speaks_http2(cluster("control-plane", control_plane)));
    let mut bootstrap = bootstrap("routed", admin, listener, clusters);
    bootstrap["dynamic_resources"] = json!({
        "ads_config": {
            "api_type": "GRPC", "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "control-plane" } }]
        }
    });
    bootstrap
}
