//! The service graph: who calls whom, how often, how well, and whether under mutual TLS. Pure, from
//! the store's series.

use crate::store::{Series, Store, quantile};
use indexmap::IndexMap;
use serde::Serialize;
use std::collections::BTreeMap;

/// The graph over a window.
#[derive(Debug, Default, Serialize)]
pub struct Graph {
    /// Workloads, and services nobody serves.
    pub nodes: Vec<Node>,
    /// Calls between them.
    pub edges: Vec<Edge>,
}

/// A workload, or a service that no workload answered for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Node {
    /// Namespace; `unknown` for callers outside the mesh.
    pub namespace: String,
    /// Name of the workload or host.
    pub name: String,
    /// Label `app` or the canonical name.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// `workload`, `service` or `outside`.
    pub kind: &'static str,
}

/// Calls from one node to another.
#[derive(Debug, Serialize)]
pub struct Edge {
    /// Index of the caller in `nodes`.
    pub source: usize,
    /// Index of the called.
    pub target: usize,
    /// The service that was called.
    pub service: String,
    /// `http`, `grpc` or `tcp`.
    pub protocol: String,
    /// Requests per second; for TCP, connections.
    pub rate: f64,
    /// Share of requests that failed (5xx, no response, gRPC errors), 0 to 1.
    pub errors: f64,
    /// 95th percentile of duration, milliseconds.
    pub p95: Option<f64>,
    /// Bytes per second, TCP only.
    pub bytes: f64,
    /// Share of the traffic under mutual TLS, 0 to 1, where the receiver says.
    pub mutual_tls: Option<f64>,
    /// Requests by response code and flags, per second.
    pub codes: BTreeMap<String, f64>,
}

type EdgeKey = (Node, Node, String, String);

#[derive(Default)]
struct Totals {
    requests: f64,
    failed: f64,
    bytes: f64,
    secured: f64,
    reported_by_receiver: bool,
    codes: BTreeMap<String, f64>,
    buckets: BTreeMap<String, f64>,
}

/// Builds the graph from growth between two instants (milliseconds).
pub fn build(store: &Store, from: u64, to: u64) -> Graph {
    let mut totals: IndexMap<EdgeKey, Totals> = IndexMap::new();
    // The receiver knows whether it was mutual TLS and sees callers without a proxy; the caller
    // alone knows of calls that nobody received. So the receiver's word goes first.
    for reporter in ["destination", "source"] {
        let mut seen: IndexMap<EdgeKey, Totals> = IndexMap::new();
        for (name, add) in METRICS {
            for series in store.series(name).filter(|series| series.label("reporter") == reporter) {
                let growth = series.increase(from, to);
                if growth > 0.0 {
                    add(seen.entry(key(series)).or_default(), series, growth);
                }
            }
        }
        for (key, mut found) in seen {
            if found.requests == 0.0 && found.bytes == 0.0 {
                continue;
            }
            found.reported_by_receiver = reporter == "destination";
            totals.entry(key).or_insert(found);
        }
    }
    collect(totals, (to.saturating_sub(from)) as f64 / 1000.0)
}

type Add = fn(&mut Totals, &Series, f64);

const METRICS: [(&str, Add); 5] = [
    ("istio_requests_total", add_requests),
    ("istio_request_duration_milliseconds_bucket", add_bucket),
    ("istio_tcp_connections_opened_total", add_connections),
    ("istio_tcp_sent_bytes_total", add_bytes),
    ("istio_tcp_received_bytes_total", add_bytes),
];

fn add_requests(totals: &mut Totals, series: &Series, growth: f64) {
    totals.requests += growth;
    let code = series.label("response_code");
    let grpc = series.label("grpc_response_status");
    if code == "0" || code.starts_with('5') || !(grpc.is_empty() || grpc == "0") {
        totals.failed += growth;
    }
    if series.label("connection_security_policy") == "mutual_tls" {
        totals.secured += growth;
    }
    let flags = series.label("response_flags");
    let name = if flags.is_empty() || flags == "-" { code.to_owned() } else { format!("{code} {flags}") };
    *totals.codes.entry(name).or_default() += growth;
}

fn add_bucket(totals: &mut Totals, series: &Series, growth: f64) {
    *totals.buckets.entry(series.label("le").to_owned()).or_default() += growth;
}

fn add_connections(totals: &mut Totals, series: &Series, growth: f64) {
    totals.requests += growth;
    if series.label("connection_security_policy") == "mutual_tls" {
        totals.secured += growth;
    }
}

fn add_bytes(totals: &mut Totals, _: &Series, growth: f64) {
    totals.bytes += growth;
}

fn key(series: &Series) -> EdgeKey {
    let protocol = match series.label("request_protocol") {
        "" => "tcp".to_owned(),
        protocol => protocol.to_owned(),
    };
    let service = series.label("destination_service_name").to_owned();
    (node(series, "source", &service), node(series, "destination", &service), service, protocol)
}

/// One end of an edge. A called service that no workload answered for is a node of its own.
fn node(series: &Series, side: &str, service: &str) -> Node {
    let label = |name: &str| series.label(&format!("{side}_{name}")).to_owned();
    let workload = label("workload");
    if workload.is_empty() || workload == "unknown" {
        let (name, kind) = match side {
            "destination" => (service.to_owned(), "service"),
            _ => ("outside the mesh".to_owned(), "outside"),
        };
        let namespace = if side == "destination" { label("service_namespace") } else { "unknown".to_owned() };
        return Node { namespace, app: name.clone(), name, version: String::new(), kind };
    }
    let app = match label("canonical_service") {
        name if name.is_empty() || name == "unknown" => workload.clone(),
        name => name,
    };
    let version = label("canonical_revision");
    Node { namespace: label("workload_namespace"), name: workload, app, version, kind: "workload" }
}

fn collect(totals: IndexMap<EdgeKey, Totals>, seconds: f64) -> Graph {
    let mut nodes: IndexMap<Node, ()> = IndexMap::new();
    let mut edges = Vec::new();
    for ((source, target, service, protocol), totals) in totals {
        let mut position = |node: Node| nodes.insert_full(node, ()).0;
        let (source, target) = (position(source), position(target));
        let share = |part: f64| if totals.requests > 0.0 { part / totals.requests } else { 0.0 };
        let bound =
            |text: &String| if text == "+Inf" { f64::INFINITY } else { text.parse().unwrap_or(f64::NAN) };
        let mut buckets: Vec<(f64, f64)> =
            totals.buckets.iter().map(|(upper, count)| (bound(upper), *count)).collect();
        edges.push(Edge {
            source,
            target,
            service,
            protocol,
            rate: totals.requests / seconds,
            errors: share(totals.failed),
            p95: quantile(0.95, &mut buckets),
            bytes: totals.bytes / seconds,
            mutual_tls: totals.reported_by_receiver.then(|| share(totals.secured)),
            codes: totals.codes.into_iter().map(|(code, count)| (code, count / seconds)).collect(),
        });
    }
    Graph { nodes: nodes.into_keys().collect(), edges }
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
