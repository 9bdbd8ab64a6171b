//! Configuration over ADS: warming, live change, refusal, reconnection.

use crate::common::control_plane::ControlPlane;
use crate::common::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

fn bootstrap(control_plane: SocketAddr) -> Value {
    let mut ads_cluster = cluster("xds-grpc", control_plane);
    ads_cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} }
        }
    });
    json!({
        "node": { "id": "sidecar~10.0.0.1~a.default~default.svc.cluster.local" },
        "static_resources": { "clusters": [ads_cluster] },
        "dynamic_resources": {
            "lds_config": { "ads": {} }, "cds_config": { "ads": {} },
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }]
            }
        }
    })
}

fn eds_cluster(name: &str) -> Value {
    json!({
        "name": name, "type": "EDS", "connect_timeout": "1s",
        "eds_cluster_config": { "eds_config": { "ads": {} } }
    })
}

fn listener(name: &str, address: Value, cluster: &str) -> Value {
    json!({ "name": name, "address": address, "filter_chains": [{ "filters": [tcp_proxy(cluster)] }] })
}

async fn ask(address: SocketAddr) -> String {
    let stream = TcpStream::connect(address).await.expect("connect");
    talk(stream, "x").await.expect("answer")
}

#[tokio::test]
async fn a_listener_serves_once_its_cluster_has_endpoints_and_follows_changes() {
    let (one, two) = (echo("one ").await, echo("two ").await);
    let mut control = ControlPlane::start().await;
    let proxy = start(&bootstrap(control.address), None);
    control.connected().await;
    let first = control.request("v3.Cluster").await;
    assert_eq!(first.node.expect("node").user_agent_name, "mizzen");
    assert_eq!(control.push(CLUSTER, &[eds_cluster("application")], &[]).await, None);
    assert_eq!(control.request("ClusterLoadAssignment").await.resource_names_subscribe, ["application"]);
    assert!(!proxy.is_ready());
    assert_eq!(control.push(ENDPOINTS, &[assignment("application", one)], &[]).await, None);
    assert_eq!(control.push(LISTENER, &[listener("plain", anywhere(), "application")], &[]).await, None);
    proxy.ready().await;
    let address = proxy.listener_addresses("plain")[0];
    assert_eq!(ask(address).await, "one x");

    // An open connection goes on while endpoints and listener change under it.
    let mut open = TcpStream::connect(address).await.expect("connect");
    let mut greeting = [0; 4];
    open.read_exact(&mut greeting).await.expect("greeting");
    assert_eq!(control.push(ENDPOINTS, &[assignment("application", two)], &[]).await, None);
    assert_eq!(ask(address).await, "two x");
    let mut changed = listener("plain", anywhere(), "application");
    changed["filter_chains"][0]["filters"][0]["typed_config"]["idle_timeout"] = json!("60s");
    assert_eq!(control.push(LISTENER, &[changed], &[]).await, None);
    assert_eq!(proxy.listener_addresses("plain"), [address], "the socket was not kept");
    assert_eq!(ask(address).await, "two x");
    open.write_all(b"y").await.expect("write");
    assert_eq!(open.read_u8().await.expect("still open"), b'y');

    assert_eq!(control.push(LISTENER, &[], &["plain"]).await, None);
    // The answer comes first; workers close their sockets a moment later.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    open.write_all(b"z").await.expect("write");
    assert_eq!(open.read_u8().await.expect("still open"), b'z');
}

#[tokio::test]
async fn a_refused_listener_is_named_and_the_old_one_serves_on() {
    let application = echo("one ").await;
    let mut control = ControlPlane::start().await;
    let proxy = start(&bootstrap(control.address), None);
    control.connected().await;
    assert_eq!(control.push(CLUSTER, &[cluster("application", application)], &[]).await, None);
    assert_eq!(control.push(LISTENER, &[listener("plain", anywhere(), "application")], &[]).await, None);
    proxy.ready().await;
    let address = proxy.listener_addresses("plain")[0];
    let mut broken = listener("plain", anywhere(), "application");
    broken["filter_chains"][0]["filters"][0]["typed_config"]["tunneling_config"] = json!({ "hostname": "a" });
    let fine = listener("other", anywhere(), "application");
    let reason = control.push(LISTENER, &[broken, fine], &[]).await.expect("a NACK");
    assert_eq!(
        reason,
        "plain: filter_chains[0].filters[0] (envoy.filters.network.tcp_proxy).typed_config.tunneling_config: \
         this setting is not supported by this proxy"
    );
    assert_eq!(ask(address).await, "one x");
    assert_eq!(ask(proxy.listener_addresses("other")[0]).await, "one x");
}

#[tokio::test]
async fn without_a_control_plane_traffic_goes_on_and_a_new_stream_says_what_is_known() {
    let application = echo("one ").await;
    let mut control = ControlPlane::start().await;
    let proxy = start(&bootstrap(control.address), None);
    control.connected().await;
    assert_eq!(control.push(CLUSTER, &[cluster("application", application)], &[]).await, None);
    assert_eq!(control.push(LISTENER, &[listener("plain", anywhere(), "application")], &[]).await, None);
    proxy.ready().await;
    let address = proxy.listener_addresses("plain")[0];
    control.disconnect();
    assert_eq!(ask(address).await, "one x");
    control.connected().await;
    let request = control.request("v3.Cluster").await;
    assert!(request.node.is_some());
    assert_eq!(request.initial_resource_versions.keys().collect::<Vec<_>>(), ["application"]);
    let request = control.request("v3.Listener").await;
    assert_eq!(request.initial_resource_versions.keys().collect::<Vec<_>>(), ["plain"]);
}

/// The hand-over of interception: one listener accepts, the one that stands for the destination serves.
#[tokio::test]
async fn a_connection_is_handed_to_the_listener_of_its_destination() {
    let (fallback, service) = (echo("fallback ").await, echo("service ").await);
    let mut control = ControlPlane::start().await;
    let proxy = start(&bootstrap(control.address), None);
    control.connected().await;
    let clusters = [cluster("fallback", fallback), cluster("service", service)];
    assert_eq!(control.push(CLUSTER, &clusters, &[]).await, None);
    let mut catch_all =
        listener("virtualOutbound", socket("0.0.0.0:0".parse().expect("address")), "fallback");
    catch_all["use_original_dst"] = json!(true);
    assert_eq!(control.push(LISTENER, &[catch_all], &[]).await, None);
    proxy.ready().await;
    let port = proxy.listener_addresses("virtualOutbound")[0].port();
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    assert_eq!(ask(address).await, "fallback x");
    let mut exact = listener(&format!("127.0.0.1_{port}"), socket(address), "service");
    exact["bind_to_port"] = json!(false);
    assert_eq!(control.push(LISTENER, &[exact], &[]).await, None);
    assert_eq!(ask(address).await, "service x");
}
