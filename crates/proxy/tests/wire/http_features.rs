//! The HTTP path end to end, with real sockets.

use crate::common::*;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mizzen_proxy::ProxyHandle;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// An application that answers by path and says what it received.
struct Application {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

type Answer = http_body_util::combinators::BoxBody<Bytes, Infallible>;

impl Application {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("application");
        let address = listener.local_addr().expect("address");
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                let service = hyper::service::service_fn(move |request| {
                    let number = counted.fetch_add(1, Ordering::SeqCst);
                    async move { Ok::<_, Infallible>(answer(request, number).await) }
                });
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn text(text: impl Into<Bytes>) -> Answer {
    Full::new(text.into()).boxed()
}

async fn answer(mut request: Request<Incoming>, number: usize) -> Response<Answer> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/echo" => Response::new(request.into_body().map_err(|_| unreachable!("a whole body")).boxed()),
        "/never" => std::future::pending().await,
        "/flaky" if number == 0 => {
            let mut response = Response::new(text("not yet"));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
        "/upgrade" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.expect("upgrade"));
                let mut word = [0; 4];
                stream.read_exact(&mut word).await.expect("word");
                stream.write_all(&word).await.expect("echo");
            });
            let mut response = Response::new(text(""));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("connection", "upgrade".parse().expect("value"));
            response.headers_mut().insert("upgrade", "websocket".parse().expect("value"));
            response
        }
        "/grpc.Service/Method" => {
            let trailers = http::HeaderMap::from_iter([(
                "grpc-status".parse().expect("name"),
                "0".parse().expect("value"),
            )]);
            let frames =
                [Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\x02hi"))), Ok(Frame::trailers(trailers))];
            let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)).boxed());
            response.headers_mut().insert("content-type", "application/grpc".parse().expect("value"));
            response
        }
        _ => {
            let mut lines = vec![format!("{} {} {:?}", request.method(), request.uri(), request.version())];
            for (name, value) in request.headers() {
                lines.push(format!("{name}: {}", value.to_str().unwrap_or("?")));
            }
            Response::new(text(lines.join("\n")))
        }
    }
}

fn typed(name: &str, kind: &str) -> Value {
    json!({ "name": name, "typed_config": { "@type": format!("type.googleapis.com/{kind}") } })
}

fn router() -> Value {
    typed("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")
}

fn to(cluster: &str) -> Value {
    json!({ "name": "all", "match": { "prefix": "/" }, "route": { "cluster": cluster } })
}

/// A connection manager whose virtual host takes `shop.example` and has these routes.
fn manager(routes: Value, filters: Value, more: Value) -> Value {
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "route_config": {
            "name": "routes", "ignore_port_in_host_matching": true,
            "virtual_hosts": [{ "name": "shop", "domains": ["shop.example"], "routes": routes }]
        },
        "http_filters": filters
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        manager[key] = value.clone();
    }
    json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager })
}

fn listener(name: &str, manager: Value) -> Value {
    json!({ "name": name, "address": anywhere(), "filter_chains": [{ "filters": [manager] }] })
}

fn http2(mut cluster: Value) -> Value {
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} }
        }
    });
    cluster
}

fn bootstrap(listeners: Value, clusters: Value) -> Value {
    json!({
        "node": {
            "id": "sidecar~10.0.0.1~client.default~default.svc.cluster.local",
            "metadata": { "WORKLOAD_NAME": "client-v1", "NAMESPACE": "default", "CLUSTER_ID": "Kubernetes",
                          "LABELS": { "app": "client" } }
        },
        "admin": { "address": anywhere() },
        "static_resources": { "listeners": listeners, "clusters": clusters }
    })
}

fn plain(routes: Value, clusters: Value, more: Value) -> ProxyHandle {
    let filters = json!([router()]);
    start(&bootstrap(json!([listener("web", manager(routes, filters, more))]), clusters), None)
}

/// What came back.
#[derive(Debug)]
struct Seen {
    status: u16,
    headers: http::HeaderMap,
    body: String,
    trailers: http::HeaderMap,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// One request on a connection of its own.
async fn send(address: SocketAddr, version: Version, request: http::request::Builder, body: &[u8]) -> Seen {
    let stream = TokioIo::new(TcpStream::connect(address).await.expect("connect"));
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("request");
    let response = if version == Version::HTTP_2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("handshake");
        tokio::spawn(connection);
        sender.send_request(request).await.expect("response")
    } else {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.expect("handshake");
        tokio::spawn(connection);
        sender.send_request(request).await.expect("response")
    };
    let (head, body) = response.into_parts();
    let collected = body.collect().await.expect("body");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let body = String::from_utf8_lossy(&collected.to_bytes()).into_owned();
    Seen { status: head.status.as_u16(), headers: head.headers, body, trailers }
}

async fn get(address: SocketAddr, path: &str) -> Seen {
    send(address, Version::HTTP_11, Request::get(path).header("host", "shop.example"), b"").await
}

#[tokio::test]
async fn a_request_reaches_its_application_and_is_recorded() {
    let application = Application::start().await;
    let folder = tempfile::tempdir().expect("folder");
    let log = folder.path().join("access.log");
    let stats = json!({
        "name": "istio.stats", "typed_config": { "@type": "type.googleapis.com/stats.PluginConfig" }
    });
    let more = json!({
        "access_log": [{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": log.to_str(),
                "log_format": { "text_format_source": { "inline_string":
                    "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_SENT% %UPSTREAM_HOST% %UPSTREAM_CLUSTER_RAW% %ROUTE_NAME%\n" } }
            }
        }],
        "use_remote_address": true
    });
    let manager = manager(json!([to("application")]), json!([stats, router()]), more);
    let mut outbound = listener("web", manager);
    outbound["traffic_direction"] = json!("OUTBOUND");
    let proxy =
        start(&bootstrap(json!([outbound]), json!([cluster("application", application.address)])), None);
    let address = proxy.listener_addresses("web")[0];

    let seen = get(address, "/hello?a=b").await;
    assert_eq!(seen.status, 200, "{seen:?}");
    assert!(seen.body.starts_with("GET /hello?a=b HTTP/1.1"), "{}", seen.body);
    for part in
        ["host: shop.example", "x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "x-request-id: "]
    {
        assert!(seen.body.contains(part), "{part} in {}", seen.body);
    }
    assert_eq!(seen.header("server"), "envoy");
    assert!(!seen.header("x-envoy-upstream-service-time").is_empty());

    let unknown = send(address, Version::HTTP_11, Request::get("/").header("host", "other"), b"").await;
    assert_eq!((unknown.status, unknown.body.as_str()), (404, ""));

    let metrics = proxy.prometheus();
    let requests: Vec<_> = metrics.lines().filter(|line| line.starts_with("istio_requests_total{")).collect();
    assert_eq!(requests.len(), 2, "{requests:?}");
    let good = requests.iter().find(|line| line.contains("response_code=\"200\"")).expect("a good one");
    for part in [
        "reporter=\"source\"",
        "source_workload=\"client-v1\"",
        "source_app=\"client\"",
        "response_flags=\"-\"",
    ] {
        assert!(good.contains(part), "{part} in {good}");
    }
    assert!(
        requests
            .iter()
            .any(|line| line.contains("response_code=\"404\"") && line.contains("response_flags=\"NR\""))
    );

    proxy.shutdown();
    let text = std::fs::read_to_string(log).expect("log");
    let upstream = application.address;
    let sent = seen.body.len();
    // The two connections may be served by different workers, whose lines are gathered apart.
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "GET / HTTP/1.1 404 NR route_not_found 0 - - -",
            &format!("GET /hello?a=b HTTP/1.1 200 - via_upstream {sent} {upstream} application all"),
        ]
    );
}

#[tokio::test]
async fn http2_goes_in_and_out_and_bodies_and_trailers_pass() {
    let application = Application::start().await;
    let routes = json!([
        { "match": { "path": "/one/echo" }, "route": { "cluster": "one", "prefix_rewrite": "/echo" } },
        { "match": { "path": "/two/echo" }, "route": { "cluster": "two", "prefix_rewrite": "/echo" } },
        to("two")
    ]);
    let clusters = json!([cluster("one", application.address), http2(cluster("two", application.address))]);
    let proxy = plain(routes, clusters, json!({}));
    let address = proxy.listener_addresses("web")[0];
    let large = vec![b'x'; 1 << 20];
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for path in ["/one/echo", "/two/echo"] {
            let request = match version {
                Version::HTTP_2 => Request::post(format!("http://shop.example{path}")),
                _ => Request::post(path).header("host", "shop.example"),
            };
            let seen = send(address, version, request, &large).await;
            assert_eq!((seen.status, seen.body.len()), (200, large.len()), "{version:?} {path}");
        }
    }
    let call = Request::post("http://shop.example/grpc.Service/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let seen = send(address, Version::HTTP_2, call, b"\0\0\0\0\0").await;
    assert_eq!((seen.status, seen.trailers["grpc-status"].to_str().expect("status")), (200, "0"));
}

#[tokio::test]
async fn failures_speak_envoys_words() {
    let application = Application::start().await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        listener.local_addr().expect("address")
    };
    let routes = json!([
        { "match": { "prefix": "/closed" }, "route": { "cluster": "closed" } },
        { "match": { "prefix": "/empty" }, "route": { "cluster": "empty" } },
        { "match": { "prefix": "/nobody" }, "route": { "cluster": "nobody" } },
        { "match": { "prefix": "/never" }, "route": { "cluster": "application", "timeout": "0.2s" } },
        { "match": { "prefix": "/moved" }, "redirect": { "host_redirect": "new.example" } },
        { "match": { "prefix": "/direct" }, "direct_response": { "status": 418, "body": { "inline_string": "tea" } } }
    ]);
    let empty = json!({ "name": "empty", "type": "STATIC", "connect_timeout": "1s" });
    let proxy = plain(
        routes,
        json!([cluster("closed", closed), empty, cluster("application", application.address)]),
        json!({}),
    );
    let address = proxy.listener_addresses("web")[0];
    let refused = get(address, "/closed").await;
    assert_eq!(refused.status, 503);
    assert!(
        refused.body.starts_with("upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"),
        "{}",
        refused.body
    );
    let none = get(address, "/empty").await;
    assert_eq!((none.status, none.body.as_str()), (503, "no healthy upstream"));
    assert_eq!(get(address, "/nobody").await.status, 503);
    let late = get(address, "/never").await;
    assert_eq!((late.status, late.body.as_str()), (504, "upstream request timeout"));
    let moved = get(address, "/moved").await;
    assert_eq!((moved.status, moved.header("location")), (301, "http://new.example/moved"));
    let direct = get(address, "/direct").await;
    assert_eq!((direct.status, direct.body.as_str()), (418, "tea"));
}

#[tokio::test]
async fn what_may_be_retried_is() {
    let application = Application::start().await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        listener.local_addr().expect("address")
    };
    let two = json!({
        "name": "two", "type": "STATIC", "connect_timeout": "1s", "lb_policy": "ROUND_ROBIN",
        "load_assignment": { "cluster_name": "two", "endpoints": [{ "lb_endpoints": [
            { "endpoint": { "address": socket(closed) } },
            { "endpoint": { "address": socket(application.address) } }
        ] }] }
    });
    let policy = |words: &str| {
        json!({
            "retry_on": words, "num_retries": 3, "host_selection_retry_max_attempts": 5,
            "retry_host_predicate": [{ "name": "envoy.retry_host_predicates.previous_hosts" }],
            "retry_back_off": { "base_interval": "0.001s" }
        })
    };
    let routes = json!([
        { "match": { "prefix": "/flaky" }, "route": { "cluster": "one", "retry_policy": policy("5xx") } },
        { "match": { "prefix": "/" }, "route": { "cluster": "two", "retry_policy": policy("connect-failure") } }
    ]);
    let proxy = plain(routes, json!([two, cluster("one", application.address)]), json!({}));
    let address = proxy.listener_addresses("web")[0];
    let seen =
        send(address, Version::HTTP_11, Request::post("/flaky").header("host", "shop.example"), b"body")
            .await;
    assert_eq!((seen.status, application.requests()), (200, 2), "{seen:?}");
    for _ in 0..10 {
        assert_eq!(get(address, "/").await.status, 200);
    }
}

#[tokio::test]
async fn weights_are_kept_exactly() {
    let application = Application::start().await;
    let weighted = json!({ "clusters": [
        { "name": "one", "weight": 90, "response_headers_to_add": [{ "header": { "key": "x-version", "value": "v1" } }] },
        { "name": "two", "weight": 10, "response_headers_to_add": [{ "header": { "key": "x-version", "value": "v2" } }] }
    ] });
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "weighted_clusters": weighted } }]);
    let clusters = json!([cluster("one", application.address), cluster("two", application.address)]);
    let proxy = plain(routes, clusters, json!({}));
    let address = proxy.listener_addresses("web")[0];
    let mut second = 0usize;
    for _ in 0..200 {
        second += usize::from(get(address, "/").await.header("x-version") == "v2");
    }
    assert!(second.abs_diff(20) <= 3, "{second} of 200");
}

#[tokio::test]
async fn a_websocket_is_passed_through_where_allowed() {
    let application = Application::start().await;
    let upgrades = json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] });
    let proxy =
        plain(json!([to("application")]), json!([cluster("application", application.address)]), upgrades);
    let address = proxy.listener_addresses("web")[0];
    let mut stream = TcpStream::connect(address).await.expect("connect");
    let request = "GET /upgrade HTTP/1.1\r\nhost: shop.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nping";
    stream.write_all(request.as_bytes()).await.expect("request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answer");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nping"), "{answer}");

    let refused = "GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: Upgrade\r\nupgrade: other\r\n\r\nGET /stolen HTTP/1.1\r\n\r\n";
    let answer = raw(address, refused).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
}

/// Everything that comes back for these bytes until the proxy closes.
async fn raw(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    stream.write_all(bytes.as_bytes()).await.expect("request");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_never_smuggled() {
    let application = Application::start().await;
    let more = json!({ "normalize_path": true, "merge_slashes": true });
    let proxy = plain(json!([to("application")]), json!([cluster("application", application.address)]), more);
    let address = proxy.listener_addresses("web")[0];
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", "400"),
        ("GET /../../etc HTTP/1.1\r\nhost: shop.example\r\n\r\n", "400"),
        ("GET /%zz HTTP/1.1\r\nhost: shop.example\r\n\r\n", "400"),
        ("GET / HTTP/1.0\r\nhost: shop.example\r\n\r\n", "426"),
        ("CONNECT shop.example:443 HTTP/1.1\r\nhost: shop.example\r\n\r\n", "404"),
        ("POST / HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: gzip\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: +3\r\n\r\nabc", "400"),
    ] {
        let request = request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let answer = raw(address, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}"))
                || answer.starts_with(&format!("HTTP/1.0 {status}")),
            "{request:?} gave {answer:?}"
        );
    }
    let before = application.requests();
    let smuggling = "POST /a HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /stolen HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    let answer = raw(address, smuggling).await;
    assert!(!answer.contains("/stolen"), "{answer}");
    assert!(application.requests() <= before + 1);
    let normal = get(address, "/a/./b//%61?x=/../").await;
    assert!(normal.body.starts_with("GET /a/b/a?x=/../ HTTP/1.1"), "{}", normal.body);
}

#[tokio::test]
async fn a_drain_lets_requests_finish_and_closes_connections() {
    let application = Application::start().await;
    let proxy =
        plain(json!([to("application")]), json!([cluster("application", application.address)]), json!({}));
    let address = proxy.listener_addresses("web")[0];
    let stream = TokioIo::new(TcpStream::connect(address).await.expect("connect"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.expect("handshake");
    let ended = tokio::spawn(connection);
    let request =
        || Request::get("/").header("host", "shop.example").body(Full::new(Bytes::new())).expect("request");
    let response = sender.send_request(request()).await.expect("response");
    response.into_body().collect().await.expect("body");
    assert!(proxy.drain(std::time::Duration::from_secs(10)).await);
    ended.await.expect("task").expect("a clean end");
}

const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
const SERVER: &str = "spiffe://cluster.local/ns/default/sa/server";

fn exchange(direction: &str) -> Value {
    let headers = json!([{ "istio_headers": {} }]);
    json!({
        "name": "istio.metadata_exchange",
        "typed_config": {
            "@type": "type.googleapis.com/io.istio.http.peer_metadata.Config",
            (format!("{direction}_discovery")): headers,
            (format!("{direction}_propagation")): headers
        }
    })
}

/// Two proxies as sidecars: plain text in, mutual TLS with HTTP/2 between, plain text out, with
/// policy and metrics on both sides.
#[tokio::test]
async fn two_sidecars_with_policy_and_metrics() {
    let authority = Authority::new();
    let application = Application::start().await;
    let allow = json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": { "action": "ALLOW", "policies": { "ns[default]-policy[clients]-rule[0]": {
                "principals": [{ "authenticated": { "principal_name": { "exact": CLIENT } } }],
                "permissions": [{ "not_rule": { "url_path": { "path": { "prefix": "/admin" } } } }]
            } } }
        }
    });
    let stats = json!({
        "name": "istio.stats",
        "typed_config": { "@type": "type.googleapis.com/stats.PluginConfig", "disable_host_header_fallback": true }
    });
    let more = json!({
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": { "subject": true, "dns": true, "uri": true },
        "normalize_path": true
    });
    let inbound_manager =
        manager(json!([to("application")]), json!([exchange("downstream"), allow, stats, router()]), more);
    let inbound = json!({
        "name": "inbound", "address": anywhere(), "traffic_direction": "INBOUND",
        "listener_filters": [listener_filter("tls_inspector", "TlsInspector")],
        "filter_chains": [{
            "filter_chain_match": { "transport_protocol": "tls" },
            "transport_socket": mutual_tls(&["h2", "http/1.1"]),
            "filters": [inbound_manager]
        }]
    });
    let (_server_secrets, source) = watch::channel(Some(authority.workload(SERVER)));
    let mut server_bootstrap =
        bootstrap(json!([inbound]), json!([cluster("application", application.address)]));
    server_bootstrap["node"]["metadata"]["WORKLOAD_NAME"] = json!("server-v1");
    let server = start(&server_bootstrap, Some(source));

    let mut upstream = http2(cluster("outbound|80||server", server.listener_addresses("inbound")[0]));
    upstream["transport_socket"] = upstream_tls(SERVER, &["h2"]);
    upstream["metadata"] = json!({ "filter_metadata": { "istio": { "services": [
        { "host": "server.default.svc.cluster.local", "name": "server", "namespace": "default" }
    ] } } });
    let outbound_manager = manager(
        json!([to("outbound|80||server")]),
        json!([exchange("upstream"), { "name": "istio.stats", "typed_config": { "@type": "type.googleapis.com/stats.PluginConfig" } }, router()]),
        json!({}),
    );
    let mut outbound = listener("outbound", outbound_manager);
    outbound["traffic_direction"] = json!("OUTBOUND");
    let (_client_secrets, source) = watch::channel(Some(authority.workload(CLIENT)));
    let client = start(&bootstrap(json!([outbound]), json!([upstream])), Some(source));
    let address = client.listener_addresses("outbound")[0];

    let seen = get(address, "/hello").await;
    assert_eq!(seen.status, 200, "{seen:?}");
    assert!(seen.body.contains(&format!("URI={CLIENT}")), "{}", seen.body);
    assert!(seen.body.contains(&format!("x-forwarded-client-cert: By={SERVER};Hash=")), "{}", seen.body);
    assert!(!seen.body.contains("x-envoy-peer-metadata"), "{}", seen.body);
    assert!(!seen.headers.contains_key("x-envoy-peer-metadata"));
    let denied = get(address, "/%61dmin").await;
    assert_eq!((denied.status, denied.body.as_str()), (403, "RBAC: access denied"));

    let of = |metrics: &str, code: &str| -> String {
        let wanted = format!("response_code=\"{code}\"");
        metrics
            .lines()
            .find(|line| line.starts_with("istio_requests_total{") && line.contains(&wanted))
            .unwrap_or_default()
            .to_owned()
    };
    let on_server = of(&server.prometheus(), "200");
    for part in [
        "reporter=\"destination\"",
        "source_workload=\"client-v1\"",
        "destination_workload=\"server-v1\"",
        &format!("source_principal=\"{CLIENT}\""),
        &format!("destination_principal=\"{SERVER}\""),
        "connection_security_policy=\"mutual_tls\"",
    ] {
        assert!(on_server.contains(part), "{part} in {on_server}");
    }
    let on_client = of(&client.prometheus(), "200");
    for part in [
        "reporter=\"source\"",
        "source_workload=\"client-v1\"",
        "destination_workload=\"server-v1\"",
        "destination_service=\"server.default.svc.cluster.local\"",
        "destination_service_name=\"server\"",
        &format!("destination_principal=\"{SERVER}\""),
        "connection_security_policy=\"unknown\"",
    ] {
        assert!(on_client.contains(part), "{part} in {on_client}");
    }
    assert!(of(&server.prometheus(), "403").ends_with(" 1"));
}
