//! What the HTTP path does when things go wrong, and what it tells others meanwhile: circuit breakers,
//! ejection, dead connections, faults, copies, traces.

use crate::common::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mizzen_proxy::ProxyHandle;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;

fn typed(name: &str, kind: &str) -> Value {
    json!({ "name": name, "typed_config": { "@type": format!("type.googleapis.com/{kind}") } })
}

fn proxy(routes: Value, filters: Value, clusters: Value, more: Value) -> ProxyHandle {
    let mut all = filters.as_array().cloned().unwrap_or_default();
    all.push(typed("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router"));
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "route_config": { "virtual_hosts": [{ "name": "any", "domains": ["*"], "routes": routes }] },
        "http_filters": all
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        manager[key] = value.clone();
    }
    let listener = json!({
        "name": "web", "address": anywhere(),
        "filter_chains": [{ "filters": [
            { "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }
        ] }]
    });
    let bootstrap = json!({
        "node": { "id": "sidecar~10.0.0.1~a.default~default.svc.cluster.local" },
        "admin": { "address": anywhere() },
        "static_resources": { "listeners": [listener], "clusters": clusters }
    });
    start(&bootstrap, None)
}

fn to(cluster: &str) -> Value {
    json!({ "match": { "prefix": "/" }, "route": { "cluster": cluster } })
}

/// A server whose every connection and request the test sees and answers itself.
struct Manual {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Held>,
    sender: mpsc::UnboundedSender<Held>,
}

/// A request that waits for its answer.
struct Held {
    head: String,
    stream: TcpStream,
}

impl Manual {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (sender, requests) = mpsc::unbounded_channel();
        let kept = sender.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(hold(stream, sender.clone()));
            }
        });
        Self { address, requests, sender: kept }
    }

    async fn next(&mut self) -> Held {
        self.requests.recv().await.expect("a request")
    }

    /// Waits for the next request on a connection that has been answered on.
    fn keep(&self, stream: TcpStream) {
        tokio::spawn(hold(stream, self.sender.clone()));
    }
}

/// Reads the head of a request and hands it to the test.
async fn hold(mut stream: TcpStream, sender: mpsc::UnboundedSender<Held>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let _ = sender.send(Held { head, stream });
}

impl Held {
    /// Answers, and gives the connection back.
    async fn answer(mut self, status: u16, body: &str) -> TcpStream {
        let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        self.stream.write_all(text.as_bytes()).await.expect("answer");
        self.stream
    }
}

/// Sends one request and returns all that came until the connection closed.
async fn ask(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("request");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

fn limited(address: SocketAddr, thresholds: Value) -> Value {
    let mut cluster = cluster("application", address);
    cluster["circuit_breakers"] = json!({ "thresholds": [thresholds] });
    cluster
}

#[tokio::test]
async fn a_full_circuit_breaker_answers_at_once_and_waiting_requests_are_served_in_turn() {
    let mut application = Manual::start().await;
    let thresholds = json!({ "max_connections": 1, "max_pending_requests": 1 });
    let clusters = json!([limited(application.address, thresholds)]);
    let proxy = proxy(json!([to("application")]), json!([]), clusters, json!({}));
    let address = proxy.listener_addresses("web")[0];
    // One HTTP/2 connection, so that one worker has all three.
    let stream = TokioIo::new(TcpStream::connect(address).await.expect("connect"));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("handshake");
    tokio::spawn(connection);
    let get = |path: &str| {
        let request =
            http::Request::get(format!("http://shop{path}")).body(Empty::<Bytes>::new()).expect("request");
        let mut sender = sender.clone();
        tokio::spawn(async move {
            let response = sender.send_request(request).await.expect("response");
            let (head, body) = response.into_parts();
            (head, body.collect().await.expect("body").to_bytes())
        })
    };
    let first = get("/first");
    let held = application.next().await;
    let (mut second, mut third) = (get("/second"), get("/third"));
    let (refused, waiting) = tokio::select! {
        answer = &mut second => (answer.expect("task"), third),
        answer = &mut third => (answer.expect("task"), second),
    };
    assert_eq!(refused.0.status, 503);
    assert_eq!(refused.0.headers["x-envoy-overloaded"], "true");
    assert!(String::from_utf8_lossy(&refused.1).ends_with("reset reason: overflow"));
    // The connection is kept: the waiting request takes it over, and one that closed in that very
    // moment would fail it, since nothing could show that the request was not acted on.
    application.keep(held.answer(200, "first").await);
    assert_eq!(first.await.expect("task").1, "first");
    application.next().await.answer(200, "next").await;
    assert_eq!(waiting.await.expect("task").1, "next");
}

#[tokio::test]
async fn a_connection_that_died_while_idle_costs_no_request() {
    let mut application = Manual::start().await;
    let clusters = json!([cluster("application", application.address)]);
    let proxy = proxy(json!([to("application")]), json!([]), clusters, json!({}));
    let address = proxy.listener_addresses("web")[0];
    for _ in 0..20 {
        let asked = tokio::spawn(async move { ask(address, "/", "").await });
        // The connection is closed as soon as the answer is out, and the proxy is not told in words.
        drop(application.next().await.answer(200, "ok").await);
        let answer = asked.await.expect("task");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_host_that_keeps_failing_is_ejected() {
    let mut failing = Manual::start().await;
    let mut sound = Manual::start().await;
    let clusters = json!([{
        "name": "application", "type": "STATIC", "connect_timeout": "1s",
        "common_lb_config": { "healthy_panic_threshold": { "value": 0 } },
        "outlier_detection": {
            "consecutive_5xx": 2, "base_ejection_time": "600s", "max_ejection_percent": 100,
            "enforcing_success_rate": 0
        },
        "load_assignment": { "cluster_name": "application", "endpoints": [{ "lb_endpoints": [
            { "endpoint": { "address": socket(failing.address) } },
            { "endpoint": { "address": socket(sound.address) } }
        ] }] }
    }]);
    let proxy = proxy(json!([to("application")]), json!([]), clusters, json!({}));
    let address = proxy.listener_addresses("web")[0];
    let (mut failures, mut served) = (0, 0);
    while failures < 2 || served < 5 {
        let asked = tokio::spawn(async move { ask(address, "/", "").await });
        tokio::select! {
            held = failing.next() => {
                failures += 1;
                assert!(failures <= 2, "an ejected host was asked");
                held.answer(500, "").await;
            }
            held = sound.next() => {
                served += usize::from(failures == 2);
                held.answer(200, "").await;
            }
        }
        asked.await.expect("task");
    }
    let metrics = proxy.prometheus();
    assert!(
        metrics.contains(
            "envoy_cluster_outlier_detection_ejections_active{envoy_cluster_name=\"application\"} 1"
        ),
        "{metrics}"
    );
}

#[tokio::test]
async fn faults_are_injected_and_slow_requests_end() {
    let application = Manual::start().await;
    let fault = json!({
        "name": "envoy.filters.http.fault",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "abort": { "http_status": 418, "percentage": { "numerator": 100 } },
            "headers": [{ "name": "x-fault", "present_match": true }]
        }
    });
    let clusters = json!([cluster("application", application.address)]);
    let proxy =
        proxy(json!([to("application")]), json!([fault]), clusters, json!({ "request_timeout": "0.2s" }));
    let address = proxy.listener_addresses("web")[0];
    let answer = ask(address, "/", "x-fault: 1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 418") && answer.ends_with("fault filter abort"), "{answer}");
    // A body that is announced and never sent.
    let slow = ask(address, "/", "content-length: 5\r\n").await;
    assert!(slow.starts_with("HTTP/1.1 408") && slow.ends_with("request timeout"), "{slow}");
}

#[tokio::test]
async fn copies_go_to_the_mirror_and_their_answers_nowhere() {
    let (mut application, mut mirror) = (Manual::start().await, Manual::start().await);
    let routes = json!([{
        "match": { "prefix": "/" },
        "route": { "cluster": "application", "request_mirror_policies": [{ "cluster": "mirror" }] }
    }]);
    let clusters = json!([cluster("application", application.address), cluster("mirror", mirror.address)]);
    let proxy = proxy(routes, json!([]), clusters, json!({}));
    let address = proxy.listener_addresses("web")[0];
    let asked = tokio::spawn(async move { ask(address, "/a", "").await });
    let copy = mirror.next().await;
    assert!(
        copy.head.starts_with("GET /a HTTP/1.1") && copy.head.contains("host: shop-shadow"),
        "{}",
        copy.head
    );
    copy.answer(500, "ignored").await;
    application.next().await.answer(200, "kept").await;
    assert!(asked.await.expect("task").ends_with("kept"));
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_upstream() {
    let mut application = Manual::start().await;
    let clusters = json!([cluster("application", application.address)]);
    let proxy = proxy(json!([to("application")]), json!([]), clusters, json!({}));
    let mut client = TcpStream::connect(proxy.listener_addresses("web")[0]).await.expect("connect");
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.expect("request");
    let mut held = application.next().await;
    drop(client);
    let mut rest = Vec::new();
    assert_eq!(held.stream.read_to_end(&mut rest).await.expect("the end"), 0);
}

/// A collector that hands what it gets to the test.
struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let _ = self.0.send(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test]
async fn sampled_requests_become_spans_of_their_callers_trace() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let collector = listener.local_addr().expect("address");
    let (sender, mut received) = mpsc::unbounded_channel();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Collector(sender)))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let mut application = Manual::start().await;
    let mut otel = cluster("otel", collector);
    otel["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} }
        }
    });
    let tracing = json!({ "tracing": {
        "random_sampling": { "value": 0 },
        "custom_tags": [{ "tag": "colour", "literal": { "value": "blue" } }],
        "provider": { "name": "envoy.tracers.opentelemetry", "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
            "service_name": "shop.default",
            "grpc_service": { "envoy_grpc": { "cluster_name": "otel" } }
        } }
    } });
    let routes = json!([{
        "match": { "prefix": "/" }, "route": { "cluster": "application" },
        "decorator": { "operation": "shop.default.svc.cluster.local:80/*" }
    }]);
    let clusters = json!([cluster("application", application.address), otel]);
    let proxy = proxy(routes, json!([]), clusters, tracing);
    let address = proxy.listener_addresses("web")[0];
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let asked = tokio::spawn(async move { ask(address, "/cart", parent).await });
    let held = application.next().await;
    let line =
        held.head.lines().find(|line| line.starts_with("traceparent: ")).expect("a context").to_owned();
    held.answer(200, "").await;
    asked.await.expect("task");
    // Nobody asked for this one to be traced.
    let quiet = tokio::spawn(async move { ask(address, "/", "").await });
    application.next().await.answer(200, "").await;
    quiet.await.expect("task");

    let batch = received.recv().await.expect("a batch");
    let spans: Vec<_> = batch
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .collect();
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(line, format!("traceparent: 00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id)));
    assert_eq!(span.name, "shop.default.svc.cluster.local:80/*");
    let keys: Vec<_> = span.attributes.iter().map(|tag| tag.key.as_str()).collect();
    for key in
        ["colour", "http.status_code", "upstream_cluster", "response_flags", "node_id", "guid:x-request-id"]
    {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
}

#[tokio::test]
async fn names_are_resolved_and_hosts_rewritten() {
    let mut application = Manual::start().await;
    let port = application.address.port();
    let named = json!({
        "name": "named", "type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY", "connect_timeout": "1s",
        "load_assignment": { "cluster_name": "named", "endpoints": [{ "lb_endpoints": [{ "endpoint": {
            "address": { "socket_address": { "address": "localhost", "port_value": port } }
        } }] }] }
    });
    let routes =
        json!([{ "match": { "prefix": "/" }, "route": { "cluster": "named", "auto_host_rewrite": true } }]);
    let proxy = proxy(routes, json!([]), json!([named]), json!({}));
    proxy.ready().await;
    let address = proxy.listener_addresses("web")[0];
    let asked = tokio::spawn(async move { ask(address, "/", "").await });
    let held = application.next().await;
    assert!(held.head.contains("host: localhost\r\n"), "{}", held.head);
    held.answer(200, "resolved").await;
    assert!(asked.await.expect("task").ends_with("resolved"));
}
