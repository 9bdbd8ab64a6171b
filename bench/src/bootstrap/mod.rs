//! Envoy bootstraps, read by Envoy and by ours.
//!
//! The two read the same file, with one difference on the mesh path: ours also gets Istio's filter
//! `istio.stats`, which counts the standard metrics and which stock Envoy does not have. So ours does
//! more there.

mod hop;
mod large;
mod mesh;

pub use hop::{hop, tcp};
pub use large::{large, routed, routes};
pub use mesh::{Sidecars, mesh, mesh_tcp};

use crate::certificates::Pair;
use crate::peer::Peer;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

/// A bootstrap of one admin port, one listener and clusters.
fn bootstrap(id: &str, admin: SocketAddr, listener: Value, clusters: Vec<Value>) -> Value {
    json!({
        "node": {
            "id": format!("sidecar~127.0.0.1~{id}.default~default.svc.cluster.local"),
            "cluster": format!("{id}.default"),
            "metadata": {
                "NAMESPACE": "default",
                "WORKLOAD_NAME": id,
                "CLUSTER_ID": "Kubernetes",
                "LABELS": { "app": id, "version": "v1" }
            }
        },
        "admin": { "address": address(admin) },
        "static_resources": { "listeners": [listener], "clusters": clusters }
    })
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn typed(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/{kind}").into();
    json!({ "name": name, "typed_config": config })
}

fn cluster(name: &str, endpoint: SocketAddr) -> Value {
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "10s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(endpoint) } }] }]
        }
    })
}

/// The cluster's endpoints speak HTTP/2.
fn speaks_http2(mut cluster: Value) -> Value {
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    cluster["typed_extension_protocol_options"] = json!({
        options: {
            "@type": format!("type.googleapis.com/{options}"),
            "explicit_http_config": { "http2_protocol_options": {} }
        }
    });
    cluster
}

fn connection_manager(mut config: Value) -> Value {
    if config.get("stat_prefix").is_none() {
        config["stat_prefix"] = "hop".into();
    }
    typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        config,
    )
}

fn tcp_proxy(cluster: &str) -> Value {
    typed(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        json!({ "stat_prefix": cluster, "cluster": cluster }),
    )
}

fn router() -> Value {
    typed("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", json!({}))
}

fn file(path: &Path) -> Value {
    json!({ "filename": path })
}

/// TLS 1.3 with one certificate. Keys and chains stand in files, as with a real sidecar.
fn tls_context(pair: &Pair, protocols: &[&str], validation: Value) -> Value {
    let mut common = json!({
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"
        },
        "tls_certificates": [{
            "certificate_chain": file(&pair.certificate), "private_key": file(&pair.key)
        }]
    });
    if !protocols.is_empty() {
        common["alpn_protocols"] = protocols.into();
    }
    if !validation.is_null() {
        common["validation_context"] = validation;
    }
    common
}

fn downstream_tls(common: Value, require_client_certificate: bool) -> Value {
    typed(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        json!({
            "require_client_certificate": require_client_certificate, "common_tls_context": common
        }),
    )
}

/// Whether a peer has Istio's own filters.
fn has_istio_filters(peer: Peer) -> bool {
    peer == Peer::Mizzen
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
