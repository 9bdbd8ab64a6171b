//! The mesh path: two sidecars with all that Istio has them do.

use super::{
    address, bootstrap, cluster, connection_manager, downstream_tls, file, has_istio_filters, router,
    speaks_http2, tcp_proxy, tls_context, typed,
};
use crate::certificates::{CLIENT, Certificates, SERVER};
use crate::peer::Peer;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

/// Services that the calling sidecar knows beside the one that is called.
const OTHERS: usize = 50;

/// Istio's access log line. Source: Istio, `pilot/pkg/model/telemetry_logging.go`.
const LINE: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" \
%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// Where two sidecars are.
#[derive(Clone, Copy, Debug)]
pub struct Sidecars {
    /// The calling one: plain text in, mutual TLS out.
    pub client: SocketAddr,
    /// Its admin port.
    pub client_admin: SocketAddr,
    /// The called one: mutual TLS in, plain text out.
    pub server: SocketAddr,
    /// Its admin port.
    pub server_admin: SocketAddr,
    /// The application behind it.
    pub application: SocketAddr,
}

/// The bootstraps of the calling and the called sidecar.
pub fn mesh(peer: Peer, at: &Sidecars, certificates: &Certificates, logs: &Path) -> [Value; 2] {
    [outbound(peer, at, certificates, logs), inbound(peer, at, certificates, logs)]
}

/// The same two for plain TCP: identities are verified, nothing is understood.
pub fn mesh_tcp(at: &Sidecars, certificates: &Certificates) -> [Value; 2] {
    let mut upstream = cluster("outbound", at.server);
    upstream["transport_socket"] = upstream_tls(certificates, &["istio"]);
    let entry = json!({
        "name": "outbound", "traffic_direction": "OUTBOUND", "address": address(at.client),
        "filter_chains": [{ "filters": [tcp_proxy("outbound")] }]
    });
    let exit = json!({
        "name": "inbound", "traffic_direction": "INBOUND", "address": address(at.server),
        "filter_chains": [{
            "filters": [tcp_proxy("inbound")],
            "transport_socket": server_tls(certificates, &["istio"])
        }]
    });
    [
        bootstrap("client", at.client_admin, entry, vec![upstream]),
        bootstrap("app", at.server_admin, exit, vec![cluster("inbound", at.application)]),
    ]
}

fn outbound(peer: Peer, at: &Sidecars, certificates: &Certificates, logs: &Path) -> Value {
    let called = service("app");
    let others = (0..OTHERS).map(|index| service(&format!("service-{index}")));
    let hosts: Vec<Value> = others.clone().chain([called.clone()]).map(|name| virtual_host(&name)).collect();
    let mut filters = vec![grpc_stats(), fault(), cors()];
    if has_istio_filters(peer) {
        filters.push(standard_metrics(json!({})));
    }
    filters.push(router());
    let manager = connection_manager(json!({
        "stat_prefix": "outbound_0.0.0.0_80",
        "use_remote_address": false,
        "normalize_path": true,
        "route_config": { "name": "80", "virtual_hosts": hosts },
        "access_log": [access_log(&logs.join(format!("{peer}-client.log")))],
        "http_filters": filters
    }));
    let listener = json!({
        "name": "0.0.0.0_80", "traffic_direction": "OUTBOUND", "address": address(at.client),
        "filter_chains": [{ "filters": [manager] }]
    });
    let upstream = |name: &str| {
        let mut cluster = speaks_http2(cluster(&cluster_name(name), at.server));
        cluster["lb_policy"] = "LEAST_REQUEST".into();
        cluster["circuit_breakers"] = json!({ "thresholds": [{
            "max_connections": u32::MAX, "max_pending_requests": u32::MAX,
            "max_requests": u32::MAX, "max_retries": u32::MAX, "track_remaining": true
        }]});
        cluster["transport_socket"] = upstream_tls(certificates, &["h2"]);
        cluster
    };
    let clusters = others.chain([called]).map(|name| upstream(&name)).collect();
    bootstrap("client", at.client_admin, listener, clusters)
}

fn service(name: &str) -> String {
    format!("{name}.default.svc.cluster.local")
}

fn cluster_name(service: &str) -> String {
    format!("outbound|80||{service}")
}

/// A service as Istio makes a virtual host of it, with Istio's default retries.
fn virtual_host(service: &str) -> Value {
    let domains: Vec<String> = ["", ".svc.cluster.local", ".cluster.local", ".default.svc.cluster.local"]
        .iter()
        .filter_map(|tail| service.strip_suffix(tail))
        .flat_map(|name| [name.to_owned(), format!("{name}:80")])
        .collect();
    json!({
        "name": format!("{service}:80"),
        "domains": domains,
        "include_request_attempt_count": true,
        "routes": [{
            "name": "default",
            "match": { "prefix": "/" },
            "decorator": { "operation": format!("{service}:80/*") },
            "route": {
                "cluster": cluster_name(service),
                "timeout": "0s",
                "max_grpc_timeout": "0s",
                "retry_policy": {
                    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                    "num_retries": 2,
                    "retry_host_predicate": [typed(
                        "envoy.retry_host_predicates.previous_hosts",
                        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                        json!({})
                    )],
                    "host_selection_retry_max_attempts": "5"
                }
            }
        }]
    })
}

fn inbound(peer: Peer, at: &Sidecars, certificates: &Certificates, logs: &Path) -> Value {
    let mut filters = vec![rbac("DENY", &denied()), rbac("ALLOW", &allowed()), grpc_stats(), fault(), cors()];
    if has_istio_filters(peer) {
        filters.push(standard_metrics(json!({ "disable_host_header_fallback": true })));
    }
    filters.push(router());
    let manager = connection_manager(json!({
        "stat_prefix": "inbound_0.0.0.0_8080",
        "use_remote_address": false,
        "normalize_path": true,
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": { "subject": true, "dns": true, "uri": true },
        "route_config": {
            "name": "inbound|8080||",
            "virtual_hosts": [{
                "name": "inbound|http|8080", "domains": ["*"],
                "routes": [{
                    "name": "default",
                    "match": { "prefix": "/" },
                    "decorator": { "operation": "app.default.svc.cluster.local:80/*" },
                    "route": { "cluster": "inbound|8080||", "timeout": "0s", "max_grpc_timeout": "0s" }
                }]
            }]
        },
        "access_log": [access_log(&logs.join(format!("{peer}-server.log")))],
        "http_filters": filters
    }));
    let listener = json!({
        "name": "virtualInbound", "traffic_direction": "INBOUND", "address": address(at.server),
        "listener_filters": [typed(
            "envoy.filters.listener.tls_inspector",
            "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
            json!({})
        )],
        "filter_chains": [{
            "filter_chain_match": { "transport_protocol": "tls", "application_protocols": ["h2"] },
            "filters": [manager],
            "transport_socket": server_tls(certificates, &["h2", "http/1.1"])
        }]
    });
    bootstrap("app", at.server_admin, listener, vec![cluster("inbound|8080||", at.application)])
}

/// The server must be the application's service account.
fn upstream_tls(certificates: &Certificates, protocols: &[&str]) -> Value {
    let validation = names(certificates, json!({ "exact": SERVER }));
    typed(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        json!({
            "sni": "outbound_.80_._.app.default.svc.cluster.local",
            "common_tls_context": tls_context(&certificates.client, protocols, validation)
        }),
    )
}

/// The client must be of the trust domain.
fn server_tls(certificates: &Certificates, protocols: &[&str]) -> Value {
    let validation = names(certificates, json!({ "prefix": "spiffe://cluster.local/" }));
    downstream_tls(tls_context(&certificates.server, protocols, validation), true)
}

fn names(certificates: &Certificates, matcher: Value) -> Value {
    json!({
        "trusted_ca": file(&certificates.root),
        "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": matcher }]
    })
}

fn access_log(path: &Path) -> Value {
    typed(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        json!({ "path": path, "log_format": { "text_format_source": { "inline_string": LINE } } }),
    )
}

fn grpc_stats() -> Value {
    typed(
        "envoy.filters.http.grpc_stats",
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        json!({ "emit_filter_state": true, "stats_for_all_methods": false }),
    )
}

fn fault() -> Value {
    typed("envoy.filters.http.fault", "envoy.extensions.filters.http.fault.v3.HTTPFault", json!({}))
}

fn cors() -> Value {
    typed("envoy.filters.http.cors", "envoy.extensions.filters.http.cors.v3.Cors", json!({}))
}

fn standard_metrics(config: Value) -> Value {
    typed("istio.stats", "stats.PluginConfig", config)
}

fn rbac(action: &str, policies: &Value) -> Value {
    typed(
        "envoy.filters.http.rbac",
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        json!({ "rules": { "action": action, "policies": policies } }),
    )
}

fn denied() -> Value {
    json!({ "ns[default]-policy[no-admin]-rule[0]": policy("bad", "/admin", &["GET", "POST"]) })
}

/// Five policies, of which the last in the order of their names lets the client in.
fn allowed() -> Value {
    let mut policies = serde_json::Map::new();
    for account in ["a-orders", "b-payments", "c-search"] {
        let name = format!("ns[default]-policy[allow-{account}]-rule[0]");
        policies.insert(name, policy(account, "/api", &["GET", "POST", "PUT"]));
    }
    policies.insert(
        "ns[default]-policy[allow-d-probes]-rule[0]".to_owned(),
        policy("probes", "/healthz", &["GET"]),
    );
    policies.insert("ns[default]-policy[allow-e-client]-rule[0]".to_owned(), policy("client", "/", &["GET"]));
    Value::Object(policies)
}

/// Some methods below a path, for one service account, as Istio writes it.
fn policy(account: &str, prefix: &str, methods: &[&str]) -> Value {
    let identity = CLIENT.replace("sa/client", &format!("sa/{account}"));
    let methods: Vec<Value> = methods
        .iter()
        .map(|method| json!({ "header": { "name": ":method", "string_match": { "exact": method } } }))
        .collect();
    let path = json!({ "url_path": { "path": { "prefix": prefix } } });
    json!({
        "permissions": [{ "and_rules": { "rules": [
            { "or_rules": { "rules": methods } }, { "or_rules": { "rules": [path] } }
        ]}}],
        "principals": [{ "and_ids": { "ids": [{ "or_ids": { "ids": [
            { "authenticated": { "principal_name": { "exact": identity } } }
        ]}}]}}]
    })
}
