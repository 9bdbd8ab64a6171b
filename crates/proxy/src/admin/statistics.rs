//! `/stats` and `/stats/prometheus`.

use super::config_dump::object;
use super::{Holder, Parameters, json};
use crate::proxy::Shared;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) async fn stats(State(shared): Holder, Query(parameters): Parameters) -> Response {
    let filter = match parameters.get("filter").map(|pattern| regex::Regex::new(pattern)).transpose() {
        Ok(filter) => filter,
        Err(error) => {
            return (StatusCode::BAD_REQUEST, format!("Invalid re2 regex: {error}\n")).into_response();
        }
    };
    if parameters.get("format").is_some_and(|format| format == "prometheus") {
        return prometheus_response(&shared);
    }
    let mut all = collect(&shared);
    all.retain(|name, value| {
        filter.as_ref().is_none_or(|filter| filter.is_match(name))
            && (*value > 0 || !parameters.contains_key("usedonly"))
    });
    if parameters.get("format").is_some_and(|format| format == "json") {
        let stats: Vec<_> = all
            .into_iter()
            .map(|(name, value)| object([("name", name.into()), ("value", value.into())]))
            .collect();
        return json(&object([("stats", stats.into())]));
    }
    all.into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>().into_response()
}

pub(super) async fn stats_prometheus(State(shared): Holder) -> Response {
    prometheus_response(&shared)
}

fn prometheus_response(shared: &Shared) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], prometheus(shared)).into_response()
}

/// Everything in Prometheus's text format.
pub(crate) fn prometheus(shared: &Shared) -> String {
    note_state(shared);
    let generation = shared.current.load();
    shared.telemetry.prometheus_with(generation.clusters.values())
}

/// Everything by name.
fn collect(shared: &Shared) -> BTreeMap<String, u64> {
    note_state(shared);
    let mut all = BTreeMap::new();
    shared.telemetry.each_statistic(|name, _, value| {
        all.insert(name.to_owned(), value);
    });
    for cluster in shared.current.load().clusters.values() {
        let cluster: &Arc<crate::upstream::Cluster> = cluster;
        cluster.each_statistic(|name, _, value| {
            all.insert(format!("cluster.{}.{name}", cluster.name()), value);
        });
    }
    all
}

/// Brings the gauges that are only computed when someone looks up to date.
fn note_state(shared: &Shared) {
    let registry = shared.telemetry.registry();
    let set = |name: &str, value: u64| registry.gauge(name).set(value);
    let state = match super::info::state(shared) {
        "LIVE" => 0,
        "DRAINING" => 1,
        _ => 3,
    };
    let manager = shared.manager.lock();
    let generation = manager.generation();
    let (warming_listeners, warming_clusters) = manager.warming();
    set("server.state", state);
    set("server.live", u64::from(*shared.live.borrow()));
    set("server.uptime", shared.started.elapsed().unwrap_or_default().as_secs());
    set("server.concurrency", shared.concurrency as u64);
    set("server.total_connections", shared.current.connections().count());
    set("control_plane.connected_state", u64::from(manager.is_connected()));
    set("listener_manager.total_listeners_active", generation.listeners.len() as u64);
    set("listener_manager.total_listeners_warming", warming_listeners.len() as u64);
    set("listener_manager.workers_started", 1);
    set("cluster_manager.active_clusters", generation.clusters.len() as u64);
    set("cluster_manager.warming_clusters", warming_clusters.len() as u64);
}
