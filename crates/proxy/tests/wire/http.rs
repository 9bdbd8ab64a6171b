//! The HTTP path end to end between two sidecars: interception's listeners without the kernel's part
//! of it, routes over RDS, mutual TLS with HTTP/2 between the proxies.

use crate::common::control_plane::ControlPlane;
use crate::common::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
const SERVER: &str = "spiffe://cluster.local/ns/default/sa/server";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const VIRTUAL_HOST: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// An application that answers every request with its name.
async fn application(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("application");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut chunk = [0; 4096];
                loop {
                    let count = stream.read(&mut chunk).await?;
                    if count == 0 {
                        return Ok::<_, std::io::Error>(());
                    }
                    request.extend_from_slice(&chunk[..count]);
                    if request.ends_with(b"\r\n\r\n") {
                        request.clear();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                        stream.write_all(answer.as_bytes()).await?;
                    }
                }
            });
        }
    });
    address
}

fn manager(routes: Value) -> Value {
    let mut config = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" }
        }]
    });
    config.as_object_mut().expect("object").extend(routes.as_object().expect("object").clone());
    json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": config })
}

/// A listener whose routes come over ADS under the name `80`.
fn outbound() -> Value {
    json!({
        "name": "outbound", "address": anywhere(), "traffic_direction": "OUTBOUND",
        "filter_chains": [{ "filters": [manager(json!({
            "rds": { "route_config_name": "80", "config_source": { "ads": {} } }
        }))] }]
    })
}

fn over_ads(control: &ControlPlane) -> Value {
    json!({
        "node": { "id": "sidecar~10.0.0.1~a.default~default.svc.cluster.local" },
        "static_resources": { "clusters": [cluster("xds-grpc", control.address)] },
        "dynamic_resources": {
            "lds_config": { "ads": {} }, "cds_config": { "ads": {} },
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }]
            }
        }
    })
}

fn all_to(name: &str, cluster: &str) -> Value {
    json!({
        "name": name,
        "virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": cluster } }]
        }]
    })
}

async fn get(stream: &mut TcpStream) -> String {
    get_of(stream, "echo").await
}

async fn get_of(stream: &mut TcpStream, host: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("request");
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).await.expect("headers");
        answer.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().expect("length"))];
    stream.read_exact(&mut body).await.expect("body");
    String::from_utf8_lossy(&body).into_owned()
}

#[tokio::test]
async fn a_request_goes_through_both_sidecars_and_follows_route_changes_on_an_open_connection() {
    let authority = Authority::new();
    let (one, two) = (application("one").await, application("two").await);

    // The server's sidecar: mutual TLS in, one filter chain an application.
    let inbound = |name: &str, cluster: &str| {
        json!({
            "name": name, "address": anywhere(), "traffic_direction": "INBOUND",
            "listener_filters": [listener_filter("tls_inspector", "TlsInspector")],
            "filter_chains": [{
                "filter_chain_match": { "transport_protocol": "tls" },
                "transport_socket": mutual_tls(&["h2", "http/1.1"]),
                "filters": [manager(json!({ "route_config": all_to("inline", cluster) }))]
            }]
        })
    };
    let (_secrets, source) = watch::channel(Some(authority.workload(SERVER)));
    let server = start(
        &json!({
            "node": { "id": "sidecar~10.0.0.2~b.default~default.svc.cluster.local" },
            "static_resources": {
                "listeners": [inbound("one", "one"), inbound("two", "two")],
                "clusters": [cluster("one", one), cluster("two", two)]
            }
        }),
        Some(source),
    );
    server.ready().await;

    // The client's sidecar: everything over ADS.
    let mut control = ControlPlane::start().await;
    let (_secrets, source) = watch::channel(Some(authority.workload(CLIENT)));
    let client = start(&over_ads(&control), Some(source));
    control.connected().await;
    let upstream = |name: &str| {
        let mut upstream = cluster(name, server.listener_addresses(name)[0]);
        upstream["transport_socket"] = upstream_tls(SERVER, &["h2"]);
        upstream["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} }
            }
        });
        upstream
    };
    assert_eq!(control.push(CLUSTER, &[upstream("one"), upstream("two")], &[]).await, None);
    assert_eq!(control.push(LISTENER, &[outbound()], &[]).await, None);
    assert_eq!(control.request("RouteConfiguration").await.resource_names_subscribe, ["80"]);
    assert!(!client.is_ready(), "live without its routes");
    assert_eq!(control.push(ROUTES, &[all_to("80", "one")], &[]).await, None);
    client.ready().await;
    let address = client.listener_addresses("outbound")[0];
    let mut connection = TcpStream::connect(address).await.expect("connect");
    assert_eq!(get(&mut connection).await, "one");

    // A changed route serves the next request of the same connection.
    assert_eq!(control.push(ROUTES, &[all_to("80", "two")], &[]).await, None);
    assert_eq!(get(&mut connection).await, "two");

    // A drain lets the open connection finish its request and then ends it.
    let drained = client.drain(std::time::Duration::from_secs(10));
    let last = async {
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).await
    };
    let (drained, last) = tokio::join!(drained, last);
    assert!(drained, "an idle connection outlived the drain");
    assert!(last.is_ok());
}

/// A virtual host that answers by itself.
fn answering(name: &str, domains: &[&str], answer: &str) -> Value {
    json!({
        "name": name, "domains": domains,
        "routes": [{
            "match": { "prefix": "/" },
            "direct_response": { "status": 200, "body": { "inline_string": answer } }
        }]
    })
}

/// A proxy that has everything but the virtual hosts of its routes.
async fn without_virtual_hosts() -> (ControlPlane, mizzen_proxy::ProxyHandle) {
    let mut control = ControlPlane::start().await;
    let proxy = start(&over_ads(&control), None);
    control.connected().await;
    assert_eq!(control.push(CLUSTER, &[], &[]).await, None);
    assert_eq!(control.push(LISTENER, &[outbound()], &[]).await, None);
    let routes = json!({
        "name": "80", "vhds": { "config_source": { "ads": {} } },
        "virtual_hosts": [answering("unknown", &["*"], "unknown")]
    });
    assert_eq!(control.push(ROUTES, &[routes], &[]).await, None);
    (control, proxy)
}

#[tokio::test]
async fn virtual_hosts_come_one_by_one() {
    let (mut control, proxy) = without_virtual_hosts().await;
    assert_eq!(control.request("VirtualHost").await.resource_names_subscribe, ["80"]);
    assert!(!proxy.is_ready(), "live without its virtual hosts");

    let [a, b] = [answering("80/a", &["a", "short"], "a"), answering("80/b", &["b", "a", "both"], "b")];
    let c = answering("80/c", &["c", "both"], "c");
    assert_eq!(control.push(VIRTUAL_HOST, &[b, a, c], &[]).await, None);
    proxy.ready().await;
    let address = proxy.listener_addresses("outbound")[0];
    let mut connection = TcpStream::connect(address).await.expect("connect");
    // `b` has a domain that is `a`'s own; of two that want the same beside their own, the first gets it.
    for (host, answer) in
        [("a", "a"), ("short", "a"), ("b", "b"), ("both", "b"), ("c", "c"), ("z", "unknown")]
    {
        assert_eq!(get_of(&mut connection, host).await, answer, "{host}");
    }

    // One changes, one goes, one is broken, on an open connection: what is not named stays.
    let mut broken = answering("80/b", &["b"], "never");
    broken["routes"][0]["match"] = json!({ "prefix": "/", "cookies": [{ "name": "x" }] });
    let changed = answering("80/a", &["a"], "changed");
    let reason = control.push(VIRTUAL_HOST, &[changed, broken], &["80/c"]).await.expect("a NACK");
    assert!(reason.starts_with("80/b: routes[0].match.cookies: "), "{reason}");
    for (host, answer) in
        [("a", "changed"), ("b", "b"), ("both", "b"), ("c", "unknown"), ("short", "unknown")]
    {
        assert_eq!(get_of(&mut connection, host).await, answer, "{host}");
    }

    // A new stream says which of them are known.
    control.disconnect();
    control.connected().await;
    let request = control.request("VirtualHost").await;
    assert_eq!(request.resource_names_subscribe, ["80"]);
    let known: std::collections::BTreeSet<_> = request.initial_resource_versions.into_keys().collect();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), ["80/a", "80/b"]);
}

#[tokio::test]
async fn a_port_without_virtual_hosts_is_served_once_that_is_known() {
    let (mut control, proxy) = without_virtual_hosts().await;
    assert_eq!(control.push(VIRTUAL_HOST, &[], &["80"]).await, None);
    proxy.ready().await;
    let mut connection = TcpStream::connect(proxy.listener_addresses("outbound")[0]).await.expect("connect");
    assert_eq!(get_of(&mut connection, "a").await, "unknown");
}
