//! State of the proxy: `/ready`, `/server_info`, `/listeners`, `/clusters`, `/memory`.

use super::config_dump::object;
use super::{Holder, Parameters, described, failure, json};
use crate::proxy::Shared;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use envoy_types::pb::envoy::admin::v3::{ClusterStatus, HostStatus};
use envoy_types::pb::envoy::config::core::v3::{address, socket_address};
use serde_json::Value;
use std::fmt::Write;
use std::net::SocketAddr;

pub(super) async fn ready(State(shared): Holder) -> (StatusCode, String) {
    let state = state(&shared);
    let status = if state == "LIVE" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{state}\n"))
}

/// Envoy's `server_info.State`.
pub(super) fn state(shared: &Shared) -> &'static str {
    if shared.manager.lock().is_draining() {
        "DRAINING"
    } else if *shared.live.borrow() {
        "LIVE"
    } else {
        "INITIALIZING"
    }
}

pub(super) async fn server_info(State(shared): Holder) -> Response {
    let node = &shared.node;
    let written = match described(|descriptors| descriptors.write(node)).flatten() {
        Ok(written) => written,
        Err(error) => return failure(error),
    };
    let uptime = format!("{}s", shared.started.elapsed().unwrap_or_default().as_secs());
    let options = object([
        ("concurrency", shared.concurrency.into()),
        ("service_node", node.id.as_str().into()),
        ("service_cluster", node.cluster.as_str().into()),
    ]);
    json(&object([
        ("version", format!("mizzen/{}", mizzen_base::version::MIZZEN).into()),
        ("state", state(&shared).into()),
        ("uptime_current_epoch", uptime.as_str().into()),
        ("uptime_all_epochs", uptime.into()),
        ("hot_restart_version", "disabled".into()),
        ("command_line_options", options),
        ("node", written),
    ]))
}

pub(super) async fn listeners(State(shared): Holder, Query(parameters): Parameters) -> Response {
    let manager = shared.manager.lock();
    let generation = manager.generation();
    let listeners = generation.listeners.values().map(|listener| {
        let mut addresses = manager.listener_addresses(&listener.name);
        if addresses.is_empty() {
            addresses.clone_from(&listener.addresses);
        }
        (&listener.name, addresses)
    });
    if parameters.get("format").is_some_and(|format| format == "json") {
        let statuses: Vec<_> = listeners
            .map(|(name, addresses)| {
                let mut addresses = addresses.into_iter().map(address_value);
                let first = addresses.next().unwrap_or_default();
                let more: Vec<_> = addresses.collect();
                let mut status = object([("name", (&**name).into()), ("local_address", first)]);
                if let (false, Some(fields)) = (more.is_empty(), status.as_object_mut()) {
                    fields.insert("additional_local_addresses".to_owned(), more.into());
                }
                status
            })
            .collect();
        return json(&object([("listener_statuses", statuses.into())]));
    }
    let mut text = String::new();
    for (name, addresses) in listeners {
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        text.push_str(&format!("{name}::{}\n", addresses.join(",")));
    }
    text.into_response()
}

fn address_value(address: SocketAddr) -> Value {
    let socket =
        object([("address", address.ip().to_string().into()), ("port_value", address.port().into())]);
    object([("socket_address", socket)])
}

pub(super) async fn clusters(State(shared): Holder, Query(parameters): Parameters) -> Response {
    let generation = shared.current.load();
    let mut clusters: Vec<_> = generation.clusters.values().collect();
    clusters.sort_by(|left, right| left.name().cmp(right.name()));
    if parameters.get("format").is_none_or(|format| format != "json") {
        return clusters.iter().map(|cluster| lines(&cluster.status())).collect::<String>().into_response();
    }
    let statuses = described(|descriptors| {
        clusters.iter().map(|cluster| descriptors.write(&cluster.status())).collect::<Result<Vec<_>, _>>()
    });
    match statuses.flatten() {
        Ok(statuses) => json(&object([("cluster_statuses", statuses.into())])),
        Err(error) => failure(error),
    }
}

/// Envoy's text form of a cluster's status.
fn lines(cluster: &ClusterStatus) -> String {
    let name = &cluster.name;
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(text, "{name}::added_via_api::{}", cluster.added_via_api);
    if !cluster.eds_service_name.is_empty() {
        let _ = writeln!(text, "{name}::eds_service_name::{}", cluster.eds_service_name);
    }
    for host in &cluster.host_statuses {
        let address = host_address(host);
        for metric in &host.stats {
            let _ = writeln!(text, "{name}::{address}::{}::{}", metric.name, metric.value);
        }
        let _ = writeln!(text, "{name}::{address}::hostname::{}", host.hostname);
        let _ = writeln!(text, "{name}::{address}::health_flags::{}", health(host));
        let _ = writeln!(text, "{name}::{address}::weight::{}", host.weight);
        if let Some(locality) = &host.locality {
            let _ = writeln!(text, "{name}::{address}::region::{}", locality.region);
            let _ = writeln!(text, "{name}::{address}::zone::{}", locality.zone);
            let _ = writeln!(text, "{name}::{address}::sub_zone::{}", locality.sub_zone);
        }
        let _ = writeln!(text, "{name}::{address}::priority::{}", host.priority);
    }
    text
}

fn host_address(host: &HostStatus) -> String {
    let socket = match host.address.as_ref().and_then(|address| address.address.as_ref()) {
        Some(address::Address::SocketAddress(socket)) => socket,
        _ => return String::new(),
    };
    let port = match socket.port_specifier {
        Some(socket_address::PortSpecifier::PortValue(port)) => port,
        _ => 0,
    };
    if socket.address.contains(':') {
        format!("[{}]:{port}", socket.address)
    } else {
        format!("{}:{port}", socket.address)
    }
}

fn health(host: &HostStatus) -> String {
    let Some(status) = &host.health_status else { return "healthy".to_owned() };
    let flags = [
        (status.failed_active_health_check, "/failed_active_hc"),
        (status.failed_outlier_check, "/failed_outlier_check"),
        (status.failed_active_degraded_check, "/degraded_active_hc"),
        (status.pending_dynamic_removal, "/pending_dynamic_removal"),
        (status.pending_active_hc, "/pending_active_hc"),
    ];
    let flags: String = flags.into_iter().filter_map(|(set, name)| set.then_some(name)).collect();
    if flags.is_empty() { "healthy".to_owned() } else { flags }
}

/// `envoy.admin.v3.Memory`, of the whole process, as the kernel counts it.
pub(super) async fn memory() -> Response {
    let status = match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => status,
        Err(error) => return failure(error),
    };
    let bytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes =
            line.and_then(|line| line.trim_start_matches(':').trim().split(' ').next()?.parse().ok());
        (kilobytes.unwrap_or(0u64) * 1024).to_string()
    };
    json(&object([
        ("allocated", bytes("RssAnon").into()),
        ("heap_size", bytes("VmData").into()),
        ("total_physical_bytes", bytes("VmRSS").into()),
    ]))
}
