//! The functions that every request goes through, with what a sidecar of a middling mesh would call them on.

use crate::compile::{Context, listener, route};
use crate::connection::Downstream;
use crate::http::filter::Filters;
use crate::http::filter::rbac::{Rbac, Request, Subject};
use crate::http::matcher::HeaderView;
use crate::http::plan::{Ground, plan};
use crate::http::routes::RequestView;
use crate::http::{headers, normalize};
use crate::telemetry::access_log::Format;
use crate::telemetry::entry::{Entry, HttpEntry};
use crate::telemetry::intern::Id;
use crate::telemetry::series::{Measured, Protocol, Reporter, Security, Series, SeriesKey};
use crate::telemetry::{ResponseFlags, Telemetry};
use crate::worker::{Current, Worker};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use serde_json::{Value, json};
use std::cell::OnceCell;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

#[path = "../../../bench/instructions/harness.rs"]
mod harness;

const LINE: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
\"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% \
%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

fn message<M: prost::Message + prost::Name + Default>(value: &Value) -> M {
    mizzen_xds::json::read(value).expect("message")
}

/// Fifty services, each with a route for a header, one for a path and one for the rest.
fn routes() -> Value {
    let host = |index: usize| {
        let name = format!("service-{index}.shop.svc.cluster.local");
        let to = |cluster: &str| json!({ "cluster": format!("outbound|80|{cluster}|{name}") });
        let tester = json!({ "name": "x-tester", "string_match": { "exact": "yes" } });
        json!({
            "name": format!("{name}:80"), "domains": [name, format!("service-{index}.shop")],
            "routes": [
                { "match": { "prefix": "/", "headers": [tester] }, "route": to("v2") },
                { "match": { "path_separated_prefix": "/admin" }, "route": to("v3") },
                { "name": "default", "match": { "prefix": "/" }, "route": to("v1") }
            ]
        })
    };
    json!({ "ignore_port_in_host_matching": true, "virtual_hosts": (0..50).map(host).collect::<Vec<_>>() })
}

/// One policy that denies and five that allow, the last of which does.
fn policies() -> [Value; 2] {
    let policy = |path: &str, principal: &str| {
        json!({
            "permissions": [{ "and_rules": { "rules": [
                { "url_path": { "path": { "prefix": path } } },
                { "header": { "name": ":method", "string_match": { "exact": "GET" } } }
            ] } }],
            "principals": [{ "authenticated": { "principal_name": { "exact": principal } } }]
        })
    };
    let any = json!({ "permissions": [{ "url_path": { "path": { "prefix": "/cart" } } }], "principals": [{ "any": true }] });
    let mut allow: serde_json::Map<String, Value> = (0..4)
        .map(|index| {
            let path = format!("/path-{index}");
            (format!("policy-{index}"), policy(&path, "spiffe://cluster.local/ns/a/sa/a"))
        })
        .collect();
    allow.insert("policy-9".to_owned(), any);
    let deny = json!({ "no": policy("/admin", "spiffe://cluster.local/ns/b/sa/b") });
    [json!({ "rules": { "action": "DENY", "policies": deny } }), json!({ "rules": { "policies": allow } })]
}

fn request_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("user-agent", "curl/8.5.0"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip, deflate, br"),
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "27f28493-65f6-4940-9839-7869e4e7cd3c"),
        ("x-envoy-attempt-count", "1"),
        ("cookie", "session=0123456789abcdef"),
        ("connection", "keep-alive"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn instructions_of_a_request_do_not_grow() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let node = Node::default();
    let telemetry = Telemetry::new(&node, 1);
    let context = Context {
        telemetry: telemetry.clone(),
        node: Arc::new(node),
        secrets: Arc::default(),
        control: runtime.handle().clone(),
    };
    let routes = mizzen_xds::json::encode::<RouteConfiguration, _>(&routes()).expect("routes");
    let table = route::compile(&routes, None, &[], &context).expect("routes");
    let rbac = policies().map(|policy| {
        let message = message(&policy);
        Rbac::compile_http(&message).expect("policy")
    });
    let filters = Filters {
        rbac: policies()
            .map(|policy| {
                let message = message(&policy);
                Rbac::compile_http(&message).expect("policy").into()
            })
            .into(),
        ..Filters::default()
    };

    let address: SocketAddr = "10.0.0.1:80".parse().expect("address");
    let headers = request_headers();
    let authority = "service-33.shop.svc.cluster.local:80";
    let view = RequestView {
        header: HeaderView {
            method: "GET",
            path: "/cart/items?id=1",
            authority,
            scheme: "http",
            headers: &headers,
        },
        host: "service-33.shop.svc.cluster.local",
        path: "/cart/items",
        query: "id=1",
        grpc: false,
        connect: false,
        random: 1,
        client_certificate: true,
    };
    let subject = Subject {
        local: address,
        peer: address,
        direct_peer: address,
        remote: address,
        server_name: None,
        certificate: None,
        request: Some(Request { header: &view.header, path: view.path }),
    };
    let ground = Ground { subject, secure: false, internal: true };

    let chain = json!({ "filters": [{
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "a", "cluster": "a"
        }
    }] });
    let listener = json!({
        "name": "a", "address": { "socket_address": { "address": "127.0.0.1", "port_value": 1 } },
        "filter_chains": [chain]
    });
    let listener = listener::compile(&message(&listener), None, &context);
    let listener = Arc::new(listener.expect("listener"));
    let worker = runtime.block_on(async { Worker::new(0, Arc::<Current>::default(), &telemetry) });
    let chain = Arc::clone(&listener.unmatched);
    let downstream = Downstream {
        id: 1,
        direct_peer: address,
        peer: address,
        local: address,
        original_destination: None,
        server_name: None,
        tls: None,
        drain: chain.drain.watch(),
        listener,
        chain,
        peer_metadata: OnceCell::new(),
        worker,
        started: Instant::now(),
        started_at: UNIX_EPOCH,
    };
    let format = Format::text(LINE).expect("format");
    let names = format.request_headers();
    let values: Vec<_> = names.iter().map(|name| headers.get(name).cloned()).collect();
    let entry = Entry {
        downstream: &downstream,
        remote: address,
        started_at: UNIX_EPOCH + Duration::from_millis(1_795_473_057_999),
        duration: Duration::from_millis(7),
        received: 0,
        sent: 1024,
        flags: ResponseFlags::NONE,
        details: "via_upstream",
        termination: None,
        upstream_failure: None,
        cluster: Some("outbound|80|v1|service-33.shop.svc.cluster.local"),
        upstream: Some(address),
        upstream_local: Some(address),
        upstream_principal: None,
        attempts: 1,
        route: "default",
        http: Some(HttpEntry {
            method: Some(&Method::GET),
            path: "/cart/items?id=1",
            authority,
            scheme: "http",
            version: Version::HTTP_11,
            request_names: &names,
            request_values: &values,
            response_names: &[],
            response_values: &[],
            live: None,
            trailers: None,
            status: Some(StatusCode::OK),
            grpc_status: None,
            virtual_host: "",
            trace: None,
            request_read: None,
            response_began: None,
        }),
    };
    let series = Series::new(1000, Arc::default());
    let key = SeriesKey {
        reporter: Reporter::Source,
        protocol: Protocol::Http,
        security: Security::Unknown,
        grpc_status: None,
        response_code: 200,
        flags: ResponseFlags::NONE,
        peer: Id(7),
        peer_principal: Id::UNKNOWN,
        local_principal: Id::UNKNOWN,
        service: Id(1),
        shape: Id::UNKNOWN,
    };
    let measured =
        Measured { duration_micros: 700, request_bytes: 300, response_bytes: 1024, ..Measured::default() };

    let rules = normalize::PathRules::default();
    let mut line = String::new();
    let functions: Vec<harness::Function<'_>> = vec![
        (
            "header-parse",
            Box::new(|| {
                black_box(normalize::path("/cart/items?id=1", rules).is_ok());
                black_box(normalize::host(authority, true));
                black_box(headers::survey(black_box(&headers)));
            }),
        ),
        (
            "route-match",
            Box::new(|| {
                let host = table.virtual_host(black_box(view.host)).expect("host");
                black_box(host.route(&view, false));
            }),
        ),
        ("plan", Box::new(|| drop(black_box(plan(&table, &filters, black_box(&view), &ground))))),
        (
            "policy",
            Box::new(|| {
                for rbac in &rbac {
                    black_box(rbac.check(black_box(&ground.subject)));
                }
            }),
        ),
        (
            "log-line",
            Box::new(|| {
                line.clear();
                format.render(black_box(&entry), &mut line);
            }),
        ),
        ("metric-record", Box::new(|| series.record(black_box(key), &measured))),
    ];
    harness::check("proxy", "instructions::instructions_of_a_request_do_not_grow", functions);
}
