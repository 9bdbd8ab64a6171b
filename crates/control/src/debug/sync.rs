//! Proxies: what they were sent, what they took over, what they should have.

use super::{Debug, Query, not_connected, pod_of};
use crate::push::{ProxySession, node_text, short_name};
use axum::Json;
use axum::extract::{Query as Parameters, State};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use mizzen_xds::TypeUrl;
use mizzen_xds::server::{Connection, ConnectionStatus, TypeStatus};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::SystemTime;

/// Istio's prefix of a type's fields in `syncz`.
const FIELDS: [(TypeUrl, &str); 5] = [
    (TypeUrl::CLUSTER, "cluster"),
    (TypeUrl::LISTENER, "listener"),
    (TypeUrl::ROUTE, "route"),
    (TypeUrl::ENDPOINT, "endpoint"),
    (TypeUrl::EXTENSION_CONFIG, "extensionconfig"),
];

/// `/debug/syncz`: Istio's `SyncStatus`, and for each type its state in words under `types`.
pub(super) async fn synchronization(State(debug): State<Debug>) -> Json<Value> {
    let connections = debug.proxies.hub().connections();
    let mut statuses: Vec<_> = connections.iter().map(status_of).collect();
    statuses.sort_by(|left, right| left["proxy"].as_str().cmp(&right["proxy"].as_str()));
    Json(Value::Array(statuses))
}

fn status_of(connection: &Arc<Connection<ProxySession>>) -> Value {
    let status = connection.status();
    let client = &connection.session().client;
    let mut fields = Map::new();
    fields.insert("cluster_id".to_owned(), json!(node_text(&status.node, "CLUSTER_ID")));
    fields.insert("proxy".to_owned(), json!(format!("{}.{}", client.pod, client.namespace)));
    fields.insert("proxy_type".to_owned(), json!(client.kind));
    fields.insert("istio_version".to_owned(), json!(node_text(&status.node, "ISTIO_VERSION")));
    for (type_url, name) in FIELDS {
        let Some(of_type) = decisive(&status.types, type_url) else { continue };
        let (sent, acknowledged) = match is_held(of_type) {
            true => (HELD, HELD),
            false => (of_type.nonce_sent.as_str(), of_type.nonce_acknowledged.as_str()),
        };
        fields.insert(format!("{name}_sent"), json!(sent));
        fields.insert(format!("{name}_acked"), json!(acknowledged));
    }
    // Virtual hosts are a part of routes to whoever looks: Istio's tools know no type of that name.
    let shown = status.types.iter().filter(|of_type| of_type.type_url != TypeUrl::VIRTUAL_HOST);
    let types: Vec<_> = shown
        .map(|of_type| type_status(of_type, decisive(&status.types, of_type.type_url).unwrap_or(of_type)))
        .collect();
    fields.insert("types".to_owned(), Value::Array(types));
    fields.insert("connected".to_owned(), json!(time(status.connected)));
    fields.insert("live_generation".to_owned(), json!(status.live_generation));
    Value::Object(fields)
}

/// The state of a type. Routes are in step when their virtual hosts are, which come as a type of their own.
fn decisive(types: &[TypeStatus], type_url: TypeUrl) -> Option<&TypeStatus> {
    let of = |wanted: TypeUrl| types.iter().find(|of_type| of_type.type_url == wanted);
    let hosts = of(TypeUrl::VIRTUAL_HOST).filter(|hosts| {
        type_url == TypeUrl::ROUTE && !is_held(hosts) && hosts.nonce_sent != hosts.nonce_acknowledged
    });
    hosts.or_else(|| of(type_url))
}

/// `decisive` is what its state follows from.
fn type_status(status: &TypeStatus, decisive: &TypeStatus) -> Value {
    let updated = decisive.last_acknowledged.or(decisive.last_sent).map(time);
    json!({
        "type": short_name(status.type_url).to_uppercase(),
        "type_url": status.type_url.as_str(),
        "status": state_of(decisive),
        "resources": status.resources,
        "last_updated": updated,
        "error": decisive.error
    })
}

/// In the place of a nonce, for resources that the proxy already held when it connected.
const HELD: &str = "held";

/// Whether the proxy came back with the very versions it would have been sent, so that nothing was:
/// it is as much in step as one that has just acknowledged.
fn is_held(status: &TypeStatus) -> bool {
    status.nonce_sent.is_empty() && status.resources > 0
}

/// Istio's words. Source: `pilot/pkg/xds/statusgen.go`.
fn state_of(status: &TypeStatus) -> &'static str {
    if status.error.is_some() {
        "ERROR"
    } else if is_held(status) {
        "SYNCED"
    } else if status.nonce_sent.is_empty() {
        "NOT_SENT"
    } else if status.nonce_sent == status.nonce_acknowledged {
        "SYNCED"
    } else {
        "STALE"
    }
}

/// `/debug/connections`.
pub(super) async fn connections(State(debug): State<Debug>) -> Json<Value> {
    let connections = debug.proxies.hub().connections();
    let clients: Vec<_> = connections
        .iter()
        .map(|connection| {
            let ConnectionStatus { id, node, connected, types, delta, .. } = connection.status();
            let watches: Map<_, _> = types
                .iter()
                .map(|of_type| (of_type.type_url.to_string(), json!(of_type.resources)))
                .collect();
            json!({
                "connectionId": format!("{}-{id}", node.id),
                "connectedAt": time(connected),
                "address": connection.session().client.address,
                "delta": delta,
                "watches": watches
            })
        })
        .collect();
    Json(json!({"totalClients": clients.len(), "clients": clients}))
}

/// `/debug/push_status`.
pub(super) async fn push_status(State(debug): State<Debug>) -> Json<Value> {
    let generation = debug.mesh.snapshot().revision();
    let connections = debug.proxies.hub().connections();
    let behind: Vec<_> = connections
        .iter()
        .filter(|connection| !connection.is_current(generation))
        .map(|connection| {
            let client = &connection.session().client;
            format!("{}.{}", client.pod, client.namespace)
        })
        .collect();
    Json(json!({"generation": generation, "proxies": connections.len(), "behind": behind}))
}

/// `/debug/config_dump?proxyID=`: what the proxy should have, as Envoy would show it.
pub(super) async fn config_dump(
    State(debug): State<Debug>,
    Parameters(query): Parameters<Query>,
) -> Response {
    let found = pod_of(&query.proxy).and_then(|(pod, namespace)| debug.proxies.find(pod, namespace));
    let Some(connection) = found else { return not_connected(&query.proxy) };
    Json(super::dump::config_dump(&connection)).into_response()
}

fn time(time: SystemTime) -> String {
    Timestamp::try_from(time).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
