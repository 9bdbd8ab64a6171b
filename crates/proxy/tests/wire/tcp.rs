//! The TCP path end to end, with real sockets and real TLS.

use crate::common::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
const SERVER: &str = "spiffe://cluster.local/ns/default/sa/server";

fn bootstrap(listeners: Value, clusters: Value) -> Value {
    json!({
        "node": { "id": "sidecar~10.0.0.1~a.default~default.svc.cluster.local" },
        "admin": { "address": anywhere() },
        "static_resources": { "listeners": listeners, "clusters": clusters }
    })
}

async fn admin(proxy: &mizzen_proxy::ProxyHandle, method: &str, path: &str) -> String {
    let address = proxy.admin_address().expect("admin port");
    let mut stream = TcpStream::connect(address).await.expect("admin");
    let request = format!("{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answer");
    answer
}

#[tokio::test]
async fn bytes_go_through_both_ways_and_are_counted() {
    let application = echo("hello ").await;
    let listener = json!({
        "name": "plain", "address": anywhere(),
        "filter_chains": [{ "filters": [tcp_proxy("application")] }]
    });
    let proxy = start(&bootstrap(json!([listener]), json!([cluster("application", application)])), None);
    proxy.ready().await;
    let address = proxy.listener_addresses("plain")[0];
    for _ in 0..4 {
        let stream = TcpStream::connect(address).await.expect("connect");
        assert_eq!(talk(stream, "world").await.expect("answer"), "hello world");
    }
    let stats = admin(&proxy, "GET", "/stats").await;
    assert!(stats.contains("downstream_cx_total: 4\n"), "{stats}");
    assert!(admin(&proxy, "GET", "/ready").await.ends_with("LIVE\n"));
    let dump = admin(&proxy, "GET", "/config_dump").await;
    assert!(dump.contains("envoy.admin.v3.ListenersConfigDump"), "{dump}");
    assert!(dump.contains("static_clusters"), "{dump}");
    assert!(admin(&proxy, "GET", "/listeners").await.contains(&format!("plain::{address}\n")));
    assert!(proxy.drain(std::time::Duration::from_secs(5)).await);
    assert!(TcpStream::connect(address).await.is_err(), "still accepting after the drain");
}

#[tokio::test]
async fn a_cluster_that_nobody_knows_closes_the_connection() {
    let listener = json!({
        "name": "plain", "address": anywhere(),
        "filter_chains": [{ "filters": [tcp_proxy("nobody")] }]
    });
    let proxy = start(&bootstrap(json!([listener]), json!([])), None);
    let stream = TcpStream::connect(proxy.listener_addresses("plain")[0]).await.expect("connect");
    assert_eq!(talk(stream, "").await.unwrap_or_default(), "");
}

/// Two proxies as sidecars: plain text in, mutual TLS between, plain text out.
#[tokio::test]
async fn two_sidecars_speak_mutual_tls_with_each_other() {
    let authority = Authority::new();
    let application = echo("hello ").await;
    let inbound = json!({
        "name": "inbound", "address": anywhere(), "traffic_direction": "INBOUND",
        "listener_filters": [listener_filter("tls_inspector", "TlsInspector")],
        "filter_chains": [{
            "filter_chain_match": {
                "transport_protocol": "tls", "application_protocols": ["istio-peer-exchange", "istio"]
            },
            "transport_socket": mutual_tls(&["istio-peer-exchange", "h2", "http/1.1"]),
            "filters": [
                {
                    "name": "istio.metadata_exchange",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange",
                        "protocol": "istio-peer-exchange"
                    }
                },
                tcp_proxy("application")
            ]
        }]
    });
    let (server_secrets, source) = watch::channel(Some(authority.workload(SERVER)));
    let server =
        start(&bootstrap(json!([inbound]), json!([cluster("application", application)])), Some(source));
    let inbound_address = server.listener_addresses("inbound")[0];
    let mut upstream = cluster("server", inbound_address);
    upstream["transport_socket"] = upstream_tls(SERVER, &["istio-peer-exchange", "istio"]);
    let outbound = json!({
        "name": "outbound", "address": anywhere(), "traffic_direction": "OUTBOUND",
        "filter_chains": [{ "filters": [tcp_proxy("server")] }]
    });
    let (_client_secrets, source) = watch::channel(Some(authority.workload(CLIENT)));
    let client = start(&bootstrap(json!([outbound]), json!([upstream])), Some(source));
    let outbound_address: SocketAddr = client.listener_addresses("outbound")[0];

    let ask = || async move {
        let stream = TcpStream::connect(outbound_address).await.expect("connect");
        talk(stream, "world").await.unwrap_or_default()
    };
    assert_eq!(ask().await, "hello world");

    // Plain text has no filter chain, a foreign certificate no trust.
    let plain = TcpStream::connect(inbound_address).await.expect("connect");
    assert_eq!(talk(plain, "GET / HTTP/1.1\r\n\r\n").await.unwrap_or_default(), "");
    let foreign = Authority::new();
    let stranger =
        tls(inbound_address, "a.b", &authority.root, Some(foreign.issue(CLIENT)), &["istio"]).await;
    if let Ok(stream) = stranger {
        assert!(!talk(stream, "x").await.unwrap_or_default().contains("hello"));
    }

    // Under another identity the server is not the one that was asked for.
    server_secrets.send_replace(Some(authority.workload(CLIENT)));
    let certificates = || async { admin(&server, "GET", "/certs").await };
    while !certificates().await.contains(CLIENT) {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask().await, "");
}

#[tokio::test]
async fn filter_chains_are_chosen_by_server_name_and_one_missing_secret_fails_only_its_own() {
    let authority = Authority::new();
    let (chain, key) = authority.issue("one.example.com");
    let (one, two) = (echo("one ").await, echo("two ").await);
    let terminating = |name: &str, secret: &str, cluster: &str| {
        json!({
            "filter_chain_match": { "server_names": [name] },
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                    "common_tls_context": { "tls_certificate_sds_secret_configs": [{ "name": secret }] }
                }
            },
            "filters": [tcp_proxy(cluster)]
        })
    };
    let listener = json!({
        "name": "gateway", "address": anywhere(),
        "listener_filters": [listener_filter("tls_inspector", "TlsInspector")],
        "filter_chains": [
            terminating("one.example.com", "there", "one"), terminating("*.example.com", "missing", "two")
        ]
    });
    let mut bootstrap = bootstrap(json!([listener]), json!([cluster("one", one), cluster("two", two)]));
    bootstrap["static_resources"]["secrets"] = json!([{
        "name": "there",
        "tls_certificate": {
            "certificate_chain": { "inline_string": chain }, "private_key": { "inline_string": key }
        }
    }]);
    let proxy = start(&bootstrap, None);
    proxy.ready().await;
    let address = proxy.listener_addresses("gateway")[0];
    let stream = tls(address, "one.example.com", &authority.root, None, &[]).await.expect("handshake");
    assert_eq!(talk(stream, "x").await.expect("answer"), "one x");
    assert!(tls(address, "two.example.com", &authority.root, None, &[]).await.is_err());
    let dump = admin(&proxy, "GET", "/config_dump").await;
    assert!(dump.contains("dynamic_warming_secrets"), "{dump}");
    let body = key.lines().nth(1).expect("a line of the key");
    assert!(!dump.contains(body), "a private key is in the dump");
}

#[tokio::test]
async fn what_is_not_honoured_is_refused_by_name() {
    let listener = json!({
        "name": "x", "address": anywhere(), "freebind": true,
        "filter_chains": [{ "filters": [tcp_proxy("a")] }]
    });
    let text = bootstrap(json!([listener]), json!([])).to_string();
    let bootstrap = mizzen_proxy::read_bootstrap(&text).expect("bootstrap");
    let config = mizzen_proxy::ProxyConfig { bootstrap, concurrency: 1, ..Default::default() };
    let error = mizzen_proxy::Proxy::start(config).map(drop).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "bootstrap: static_resources.listeners[0] (x).freebind: this setting is not supported by this proxy"
    );
}

/// A listener in front of three servers of which a ring of hashes chooses.
async fn ring(hash_policy: Value) -> mizzen_proxy::ProxyHandle {
    let mut endpoints = Vec::new();
    for name in ["a", "b", "c"] {
        endpoints.push(json!({ "endpoint": { "address": socket(echo(name).await) } }));
    }
    let cluster = json!({
        "name": "ring", "type": "STATIC", "connect_timeout": "1s", "lb_policy": "RING_HASH",
        "load_assignment": { "cluster_name": "ring", "endpoints": [{ "lb_endpoints": endpoints }] }
    });
    let mut filter = tcp_proxy("ring");
    filter["typed_config"]["hash_policy"] = hash_policy;
    let listener =
        json!({ "name": "plain", "address": anywhere(), "filter_chains": [{ "filters": [filter] }] });
    let proxy = start(&bootstrap(json!([listener]), json!([cluster])), None);
    proxy.ready().await;
    proxy
}

/// Which server a client of the loopback's address `127.0.0.NUMBER` gets.
async fn server_of(proxy: &mizzen_proxy::ProxyHandle, number: u8) -> String {
    let client = tokio::net::TcpSocket::new_v4().expect("socket");
    client.bind(SocketAddr::from(([127, 0, 0, number], 0))).expect("an address of the loopback");
    let stream = client.connect(proxy.listener_addresses("plain")[0]).await.expect("connect");
    talk(stream, "").await.expect("answer")
}

#[tokio::test]
async fn a_client_stays_with_its_server_where_connections_are_hashed_by_address() {
    let proxy = ring(json!([{ "source_ip": {} }])).await;
    let mut servers = std::collections::BTreeSet::new();
    for number in 2..34 {
        let first = server_of(&proxy, number).await;
        for _ in 0..4 {
            assert_eq!(server_of(&proxy, number).await, first);
        }
        servers.insert(first);
    }
    assert!(servers.len() > 1, "all clients were sent to {servers:?}");
}

#[tokio::test]
async fn without_a_hash_a_client_gets_any_server() {
    // A header or a cookie cannot be had of a connection: the ring is there, the hash is not.
    let proxy = ring(json!([])).await;
    let mut servers = std::collections::BTreeSet::new();
    for _ in 0..64 {
        servers.insert(server_of(&proxy, 2).await);
    }
    assert!(servers.len() > 1, "the client was always sent to {servers:?}");
}
