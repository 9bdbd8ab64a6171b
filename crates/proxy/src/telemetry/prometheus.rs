//! The text that Prometheus scrapes: Istio's metrics with their exact labels, and Envoy's statistics
//! under `envoy_`.

use super::counters::Kind;
use super::histogram::{LABELS, Reading};
use super::series::{
    HttpReading, Names, Protocol, Reporter, Security, SeriesKey, Shape, TcpReading, read_http, read_tcp,
};
use super::{PeerMetadata, Telemetry};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// Renders all `istio_*` metrics.
pub fn istio_metrics(telemetry: &Telemetry) -> String {
    let names = telemetry.names();
    let http = read_http(telemetry.shards());
    let tcp = read_tcp(telemetry.shards());
    let mut out = String::with_capacity(1024 + http.len() * 16 * 1024);
    build_info(&mut out, telemetry.version());
    http_metrics(&mut out, names, &http);
    tcp_metrics(&mut out, names, &tcp);
    out
}

/// Renders one of Envoy's statistics: `envoy_NAME{labels} value`, with its `# TYPE` line when the
/// name is new. Readers give statistics of one name one after the other.
#[derive(Debug, Default)]
pub struct StatsText {
    out: String,
    last: String,
}

impl StatsText {
    /// Adds one statistic. `name` is without the prefix `envoy_`.
    pub fn add(&mut self, name: &str, kind: Kind, labels: &[(&str, &str)], value: u64) {
        let name = format!("envoy_{}", identifier(name));
        if self.last != name {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            let _ = writeln!(self.out, "# TYPE {name} {kind}");
            self.last.clone_from(&name);
        }
        self.out.push_str(&name);
        self.out.push('{');
        for (index, (label, text)) in labels.iter().enumerate() {
            push_label(&mut self.out, index == 0, label, text);
        }
        let _ = writeln!(self.out, "}} {value}");
    }

    /// The text so far.
    pub fn finish(self) -> String {
        self.out
    }
}

/// A name with everything Prometheus does not allow replaced by `_`.
fn identifier(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '_' })
        .collect()
}

fn build_info(out: &mut String, version: &str) {
    out.push_str("# TYPE istio_build gauge\nistio_build{component=\"proxy\",tag=\"");
    escape(out, version);
    out.push_str("\"} 1\n");
}

fn http_metrics(out: &mut String, names: &Names, series: &BTreeMap<SeriesKey, HttpReading>) {
    let counter = |out: &mut String, metric: &str, only_grpc: bool, value: fn(&HttpReading) -> u64| {
        let chosen = series.iter().filter(|(key, _)| !only_grpc || key.protocol == Protocol::Grpc);
        counters(out, names, metric, chosen.map(|(key, reading)| (key, value(reading))));
    };
    counter(out, "requests_total", false, |reading| reading.requests);
    counter(out, "request_messages_total", true, |reading| reading.request_messages);
    counter(out, "response_messages_total", true, |reading| reading.response_messages);
    let histogram = |out: &mut String, metric: &str, value: fn(&HttpReading) -> &Reading| {
        histograms(out, names, metric, series.iter().map(|(key, reading)| (key, value(reading))));
    };
    histogram(out, "request_duration_milliseconds", |reading| &reading.duration);
    histogram(out, "request_bytes", |reading| &reading.request_bytes);
    histogram(out, "response_bytes", |reading| &reading.response_bytes);
}

fn tcp_metrics(out: &mut String, names: &Names, series: &BTreeMap<SeriesKey, TcpReading>) {
    let counter = |out: &mut String, metric: &str, value: fn(&TcpReading) -> u64| {
        counters(out, names, metric, series.iter().map(|(key, reading)| (key, value(reading))));
    };
    counter(out, "tcp_connections_opened_total", |reading| reading.opened);
    counter(out, "tcp_connections_closed_total", |reading| reading.closed);
    counter(out, "tcp_sent_bytes_total", |reading| reading.sent);
    counter(out, "tcp_received_bytes_total", |reading| reading.received);
}

fn counters<'a>(
    out: &mut String,
    names: &Names,
    metric: &str,
    series: impl Iterator<Item = (&'a SeriesKey, u64)>,
) {
    // Removed labels can make two series one, so they are summed by their text.
    let mut sums = BTreeMap::<String, u64>::new();
    for (key, value) in series {
        if let Some(labels) = labels(names, metric, key) {
            *sums.entry(labels).or_default() += value;
        }
    }
    if sums.is_empty() {
        return;
    }
    let _ = writeln!(out, "# TYPE istio_{metric} counter");
    for (labels, value) in sums {
        let _ = writeln!(out, "istio_{metric}{{{labels}}} {value}");
    }
}

fn histograms<'a>(
    out: &mut String,
    names: &Names,
    metric: &str,
    series: impl Iterator<Item = (&'a SeriesKey, &'a Reading)>,
) {
    let mut sums = BTreeMap::<String, Reading>::new();
    for (key, reading) in series {
        if let Some(labels) = labels(names, metric, key) {
            let sum = sums.entry(labels).or_default();
            for (total, part) in sum.buckets.iter_mut().zip(&reading.buckets) {
                *total += part;
            }
            sum.sum = sum.sum.wrapping_add(reading.sum);
        }
    }
    if sums.is_empty() {
        return;
    }
    let _ = writeln!(out, "# TYPE istio_{metric} histogram");
    for (labels, reading) in sums {
        let separator = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (bound, count) in LABELS.iter().zip(&reading.buckets) {
            total += count;
            let _ = writeln!(out, "istio_{metric}_bucket{{{labels}{separator}le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(out, "istio_{metric}_sum{{{labels}}} {}", Thousandths(reading.sum));
        let _ = writeln!(out, "istio_{metric}_count{{{labels}}} {total}");
    }
}

/// A number of thousandths in decimal, without needless zeros.
struct Thousandths(u64);

impl std::fmt::Display for Thousandths {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0 / 1000, self.0 % 1000) {
            (whole, 0) => write!(formatter, "{whole}"),
            (whole, rest) => write!(formatter, "{whole}.{rest:03}"),
        }
    }
}

/// The labels of one series of one metric, without braces; `None` where the metric is not reported.
fn labels(names: &Names, metric: &str, key: &SeriesKey) -> Option<String> {
    let shape = names.shapes.value(key.shape);
    let short = metric.strip_suffix("_milliseconds").unwrap_or(metric);
    let short = short.strip_suffix("_total").unwrap_or(short);
    let is_metric =
        |name: &str| name == metric || name == short || name.strip_suffix("_total") == Some(short);
    if shape.dropped.iter().any(|name| is_metric(name)) {
        return None;
    }
    let shown = |label: &str| !removed(&shape, &is_metric, label);
    let mut out = String::with_capacity(1024);
    let mut push = |label: &str, value: &str| {
        if shown(label) {
            let first = out.is_empty();
            push_label(&mut out, first, label, value);
        }
    };
    let view = View::new(names, key);
    let (source, destination) = (&view.source, &view.destination);
    push("reporter", view.reporter);
    push("source_workload", known(&source.workload));
    push("source_canonical_service", known(&source.canonical_service));
    push("source_canonical_revision", or(&source.canonical_revision, "latest"));
    push("source_workload_namespace", known(&source.namespace));
    push("source_principal", known(&view.source_principal));
    push("source_app", known(&source.app));
    push("source_version", known(&source.version));
    push("source_cluster", known(&source.cluster));
    push("destination_workload", known(&destination.workload));
    push("destination_workload_namespace", known(&destination.namespace));
    push("destination_principal", known(&view.destination_principal));
    push("destination_app", known(&destination.app));
    push("destination_version", known(&destination.version));
    push("destination_service", known(&view.service_host));
    push("destination_canonical_service", known(&destination.canonical_service));
    push("destination_canonical_revision", or(&destination.canonical_revision, "latest"));
    push("destination_service_name", known(&view.service_name));
    push("destination_service_namespace", known(&view.service_namespace));
    push("destination_cluster", known(&destination.cluster));
    push("request_protocol", view.protocol);
    if key.protocol != Protocol::Tcp {
        push("response_code", &key.response_code.to_string());
        push("grpc_response_status", &key.grpc_status.map(|status| status.to_string()).unwrap_or_default());
    }
    push("response_flags", &key.flags.to_string());
    push("connection_security_policy", view.security);
    Some(out)
}

fn removed(shape: &Shape, is_metric: &dyn Fn(&str) -> bool, label: &str) -> bool {
    let applies = |metric: &str| metric.is_empty() || is_metric(metric);
    shape.removed_labels.iter().any(|(metric, name)| name == label && applies(metric))
}

/// A series seen from outside: who called whom.
struct View {
    reporter: &'static str,
    protocol: &'static str,
    security: &'static str,
    source: Arc<PeerMetadata>,
    destination: Arc<PeerMetadata>,
    source_principal: Arc<String>,
    destination_principal: Arc<String>,
    service_host: String,
    service_name: String,
    service_namespace: String,
}

impl View {
    fn new(names: &Names, key: &SeriesKey) -> Self {
        let local = Arc::new(names.local.clone());
        let peer = names.peers.value(key.peer);
        let local_principal = names.principals.value(key.local_principal);
        let peer_principal = names.principals.value(key.peer_principal);
        let service = names.services.value(key.service);
        let (mut source, mut destination) = (Arc::clone(&local), peer);
        let (mut source_principal, mut destination_principal) = (local_principal, peer_principal);
        if key.reporter == Reporter::Destination {
            std::mem::swap(&mut source, &mut destination);
            std::mem::swap(&mut source_principal, &mut destination_principal);
            // The namespace that a certificate proves beats the one that a header claims.
            if let Some(namespace) = namespace_of(&source_principal).filter(|name| *name != source.namespace)
            {
                let proven = PeerMetadata { namespace: namespace.to_owned(), ..(*source).clone() };
                source = Arc::new(proven);
            }
        }
        let or_destination = |text: &str, fallback: &str| {
            if text.is_empty() { fallback.to_owned() } else { text.to_owned() }
        };
        let inbound = key.reporter == Reporter::Destination;
        let service_host = if inbound {
            or_destination(&service.host, &destination.canonical_service)
        } else {
            service.host.clone()
        };
        let service_name = if inbound {
            or_destination(&service.name, &destination.canonical_service)
        } else {
            service.name.clone()
        };
        Self {
            reporter: match key.reporter {
                Reporter::Source => "source",
                Reporter::Destination => "destination",
            },
            protocol: match key.protocol {
                Protocol::Http => "http",
                Protocol::Grpc => "grpc",
                Protocol::Tcp => "tcp",
            },
            security: match key.security {
                Security::Unknown => "unknown",
                Security::None => "none",
                Security::MutualTls => "mutual_tls",
            },
            service_namespace: or_destination(&service.namespace, &destination.namespace),
            service_host,
            service_name,
            source,
            destination,
            source_principal,
            destination_principal,
        }
    }
}

/// The namespace in `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
fn namespace_of(principal: &str) -> Option<&str> {
    let mut segments = principal.strip_prefix("spiffe://")?.split('/').skip(1);
    (segments.next()? == "ns").then_some(())?;
    segments.next().filter(|namespace| !namespace.is_empty())
}

fn known(value: &str) -> &str {
    or(value, "unknown")
}

fn or<'a>(value: &'a str, fallback: &'a str) -> &'a str {
    if value.is_empty() { fallback } else { value }
}

fn push_label(out: &mut String, first: bool, label: &str, value: &str) {
    if !first {
        out.push(',');
    }
    out.push_str(label);
    out.push_str("=\"");
    escape(out, value);
    out.push('"');
}

/// Escapes a label value: backslash, quote and newline (Prometheus exposition format).
fn escape(out: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
