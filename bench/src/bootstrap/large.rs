//! A proxy with many clusters and routes.

use super::{address, bootstrap, cluster, connection_manager, router};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// `count` clusters with one endpoint and one virtual host each. All lead to the application.
pub fn large(admin: SocketAddr, entry: SocketAddr, application: SocketAddr, count: usize) -> Value {
    let name = |index: usize| format!("outbound|80||service-{index}.default.svc.cluster.local");
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
                    "route": { "cluster": name(index), "timeout": "0s" }
                }]
            })
        })
        .collect();
    let manager = connection_manager(json!({
        "route_config": { "name": "80", "virtual_hosts": hosts },
        "http_filters": [router()]
    }));
    let listener = json!({
        "name": "entry", "address": address(entry), "filter_chains": [{ "filters": [manager] }]
    });
    let clusters = (0..count).map(|index| cluster(&name(index), application)).collect();
    bootstrap("large", admin, listener, clusters)
}
