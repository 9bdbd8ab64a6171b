//! One proxy between client and application.

use super::{
    address, bootstrap, cluster, connection_manager, downstream_tls, router, speaks_http2, tcp_proxy,
    tls_context,
};
use crate::certificates::Certificates;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// HTTP in, HTTP out; what the client speaks, HTTP/1.1 or HTTP/2, is seen from its first bytes. One route,
/// request ids and statistics as they are by default, no access log.
pub fn hop(
    admin: SocketAddr,
    entry: SocketAddr,
    application: SocketAddr,
    http2_out: bool,
    tls: Option<&Certificates>,
) -> Value {
    let mut chain = json!({
        "filters": [connection_manager(json!({
            "codec_type": "AUTO",
            "route_config": {
                "name": "local",
                "virtual_hosts": [{
                    "name": "app", "domains": ["*"],
                    "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "app", "timeout": "0s" } }]
                }]
            },
            "http_filters": [router()]
        }))]
    });
    if let Some(certificates) = tls {
        let common = tls_context(&certificates.host, &["h2", "http/1.1"], Value::Null);
        let mut socket = downstream_tls(common, false);
        socket["typed_config"]["disable_stateless_session_resumption"] = true.into();
        socket["typed_config"]["disable_stateful_session_resumption"] = true.into();
        chain["transport_socket"] = socket;
    }
    let app = cluster("app", application);
    let app = if http2_out { speaks_http2(app) } else { app };
    bootstrap(
        "hop",
        admin,
        json!({ "name": "entry", "address": address(entry), "filter_chains": [chain] }),
        vec![app],
    )
}

/// Bytes in, bytes out.
pub fn tcp(admin: SocketAddr, entry: SocketAddr, application: SocketAddr) -> Value {
    let chain = json!({ "filters": [tcp_proxy("app")] });
    let listener = json!({ "name": "entry", "address": address(entry), "filter_chains": [chain] });
    bootstrap("hop", admin, listener, vec![cluster("app", application)])
}
