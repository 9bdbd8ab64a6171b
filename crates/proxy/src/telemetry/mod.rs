//! Metrics, access logs and traces: one record a request or connection, taken once at its end.
//!
//! A worker counts and logs into memory that only it writes ([`Recorder`]); readers sum over workers
//! ([`Telemetry`]). Labels are numbers, resolved when a connection, cluster or endpoint is made.

pub mod access_log;
mod connection_record;
pub mod counters;
pub mod entry;
mod flags;
mod histogram;
pub mod intern;
mod peer;
pub mod prometheus;
mod request_record;
pub mod series;
mod sink;
pub mod trace_context;
pub mod tracing;
mod unreadable;

pub use connection_record::{
    ConnectionMeter, ConnectionRecord, TcpStats, record_connection, record_connection_opened,
};
pub use flags::ResponseFlags;
pub use peer::PeerMetadata;
pub use request_record::{CapturedValues, HttpStats, RequestRecord, capture};
pub use unreadable::{Unreadable, log_unreadable};

use crate::compile::CompileError;
use ahash::AHashMap;
use counters::{Kind, ManagerCounts, Registry, Sharded};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::{FileAccessLog, file_access_log};
use http::HeaderValue;
use intern::Id;
use parking_lot::Mutex;
use series::{Names, Series, Shard};
use sink::LogSink;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

/// Series one worker may have of each sort; see [`series::Series::new`].
const SERIES_BUDGET: usize = 20_000;
/// Peer headers a worker remembers before it forgets all of them.
const KNOWN_PEER_HEADERS: usize = 4_096;

/// Process-wide telemetry; recorders of workers report into it.
#[derive(Debug)]
pub struct Telemetry {
    workers: usize,
    names: Names,
    version: String,
    shards: Box<[Arc<Shard>]>,
    registry: Registry,
    managers: Mutex<BTreeMap<Arc<str>, Arc<Sharded<ManagerCounts>>>>,
    sinks: Mutex<AHashMap<String, Weak<LogSink>>>,
    node: Node,
    /// What we say of ourselves in `x-envoy-peer-metadata`.
    local_header: Option<HeaderValue>,
    /// What we say of ourselves in `x-envoy-peer-metadata-id`.
    local_id_header: Option<HeaderValue>,
}

impl Telemetry {
    /// Telemetry of the proxy that is `node`, with this many workers.
    pub fn new(node: &Node, workers: usize) -> Arc<Self> {
        let local = PeerMetadata::from_node(node);
        let workers = workers.max(1);
        let version = node
            .metadata
            .as_ref()
            .and_then(|metadata| peer::text(metadata, "ISTIO_VERSION"))
            .unwrap_or(mizzen_base::version::ISTIO)
            .to_owned();
        Arc::new(Self {
            workers,
            version,
            shards: (0..workers).map(|_| Arc::default()).collect(),
            registry: Registry::default(),
            managers: Mutex::default(),
            sinks: Mutex::default(),
            node: node.clone(),
            local_header: (!local.workload.is_empty())
                .then(|| HeaderValue::from_str(&local.to_header()).ok())
                .flatten(),
            local_id_header: (!node.id.is_empty()).then(|| HeaderValue::from_str(&node.id).ok()).flatten(),
            names: Names::new(local),
        })
    }

    /// The recorder of one worker.
    pub fn recorder(self: &Arc<Self>, worker: usize) -> Recorder {
        let shard = Arc::clone(&self.shards[worker.min(self.workers - 1)]);
        Recorder {
            worker,
            series: Series::new(SERIES_BUDGET, shard),
            telemetry: Arc::clone(self),
            peer_headers: RefCell::default(),
            hosts: RefCell::default(),
            spans: tracing::SpanQueues::default(),
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The node of the bootstrap.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The tables behind metric labels.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The version in `istio_build`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Statistics registered by name.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &Arc<Shard>> {
        self.shards.iter()
    }

    /// Our own values of the metadata exchange headers: `x-envoy-peer-metadata` and `-id`.
    pub fn local_peer_headers(&self) -> (Option<&HeaderValue>, Option<&HeaderValue>) {
        (self.local_header.as_ref(), self.local_id_header.as_ref())
    }

    /// The statistics of HTTP connection managers with this `stat_prefix`.
    pub fn manager_counts(&self, stat_prefix: &str) -> Arc<Sharded<ManagerCounts>> {
        let mut managers = self.managers.lock();
        if let Some(counts) = managers.get(stat_prefix) {
            return Arc::clone(counts);
        }
        let counts = Arc::new(Sharded::new(self.workers));
        managers.insert(stat_prefix.into(), Arc::clone(&counts));
        counts
    }

    /// The log file of this path, opened once however many logs write to it.
    fn sink(&self, path: &str) -> std::io::Result<Arc<LogSink>> {
        let mut sinks = self.sinks.lock();
        if let Some(sink) = sinks.get(path).and_then(Weak::upgrade) {
            return Ok(sink);
        }
        let dropped = self.registry.counter("access_logs.file.write_dropped");
        let sink = LogSink::open(path, self.workers, dropped)?;
        sinks.insert(path.to_owned(), Arc::downgrade(&sink));
        Ok(sink)
    }

    /// Istio's metrics and what is registered here, in Prometheus's text format. Statistics of
    /// clusters are added by [`Telemetry::prometheus_with`].
    pub fn prometheus(&self) -> String {
        self.prometheus_with([])
    }

    /// As [`Telemetry::prometheus`], with the statistics of these clusters.
    pub fn prometheus_with<'a>(
        &self,
        clusters: impl IntoIterator<Item = &'a Arc<crate::upstream::Cluster>>,
    ) -> String {
        let mut out = prometheus::istio_metrics(self);
        let mut entries = Vec::new();
        for cluster in clusters {
            cluster.each_statistic(|name, kind, value| {
                entries.push((
                    format!("cluster_{name}"),
                    "envoy_cluster_name",
                    cluster.name().to_string(),
                    kind,
                    value,
                ));
            });
        }
        for (prefix, counts) in self.managers.lock().iter() {
            counts.each(|name, kind, value| {
                let label = "envoy_http_conn_manager_prefix";
                entries.push((format!("http_{name}"), label, prefix.to_string(), kind, value));
            });
        }
        entries.sort_by(|left, right| (&left.0, &left.2).cmp(&(&right.0, &right.2)));
        let mut text = prometheus::StatsText::default();
        for (name, label, value_of_label, kind, value) in &entries {
            text.add(name, *kind, &[(*label, value_of_label.as_str())], *value);
        }
        self.registry.each(|name, kind, value| text.add(name, kind, &[], value));
        out.push_str(&text.finish());
        out
    }

    /// Each statistic of HTTP connection managers and each registered one, under the names that
    /// `/stats` prints.
    pub fn each_statistic(&self, mut visit: impl FnMut(&str, Kind, u64)) {
        for (prefix, counts) in self.managers.lock().iter() {
            counts.each(|name, kind, value| visit(&format!("http.{prefix}.{name}"), kind, value));
        }
        self.registry.each(visit);
    }

    /// Opens log files again, as after a rotation.
    pub fn reopen_logs(&self) {
        for sink in self.sinks.lock().values().filter_map(Weak::upgrade) {
            sink.reopen();
        }
    }
}

/// One worker's counters and log writers.
pub struct Recorder {
    /// Position among the workers.
    pub worker: usize,
    /// Istio's metrics.
    pub series: Series,
    telemetry: Arc<Telemetry>,
    peer_headers: RefCell<AHashMap<HeaderValue, Id>>,
    hosts: RefCell<AHashMap<String, Id>>,
    /// Finished spans that wait to be sent.
    pub(crate) spans: tracing::SpanQueues,
}

impl Recorder {
    /// The telemetry it reports into.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// The peer that a `x-envoy-peer-metadata` header describes. Decoded once for each value.
    pub fn peer_of_header(&self, value: &HeaderValue) -> Id {
        if let Some(id) = self.peer_headers.borrow().get(value) {
            return *id;
        }
        let Some(peer) = PeerMetadata::of_header(value.as_bytes()) else { return Id::UNKNOWN };
        let id = self.telemetry.names.peers.id(&peer);
        let mut known = self.peer_headers.borrow_mut();
        if known.len() >= KNOWN_PEER_HEADERS {
            known.clear();
        }
        known.insert(value.clone(), id);
        id
    }

    /// The service that stands for a host nobody configured, found by the request's own words.
    pub(crate) fn service_of_host(&self, host: &str, name: &str) -> Id {
        let key = format!("{name} {host}");
        if let Some(id) = self.hosts.borrow().get(&key) {
            return *id;
        }
        let service =
            series::Service { host: host.to_owned(), name: name.to_owned(), namespace: String::new() };
        let id = self.telemetry.names.services.id(&service);
        let mut known = self.hosts.borrow_mut();
        if known.len() >= KNOWN_PEER_HEADERS {
            known.clear();
        }
        known.insert(key, id);
        id
    }
}

/// A compiled access log: where to, and in which format.
pub struct AccessLog {
    format: access_log::Format,
    sink: Arc<LogSink>,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AccessLog").field("format", &self.format).finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Compiles a `FileAccessLog` (called by `compile::access_log`, which knows the wrapper).
    pub fn file(log: &FileAccessLog, telemetry: &Arc<Telemetry>) -> Result<Self, CompileError> {
        use access_log::Format;
        use file_access_log::AccessLogFormat;
        let invalid = |field: &'static str| move |reason: String| CompileError::invalid(field, reason);
        let format = match &log.access_log_format {
            None => Format::text(access_log::DEFAULT_FORMAT).map_err(invalid("format"))?,
            Some(AccessLogFormat::Format(text)) if text.is_empty() => {
                Format::text(access_log::DEFAULT_FORMAT).map_err(invalid("format"))?
            }
            Some(AccessLogFormat::Format(text)) => Format::text(text).map_err(invalid("format"))?,
            Some(AccessLogFormat::JsonFormat(json)) => Format::json(json).map_err(invalid("json_format"))?,
            Some(AccessLogFormat::TypedJsonFormat(json)) => {
                Format::json(json).map_err(invalid("typed_json_format"))?
            }
            Some(AccessLogFormat::LogFormat(format)) => {
                Format::compile(format).map_err(|error| error.at("log_format"))?
            }
        };
        let sink = telemetry.sink(&log.path).map_err(|error| {
            CompileError::invalid("path", format!("'{}' cannot be opened: {error}", log.path))
        })?;
        Ok(Self { format, sink })
    }

    /// Its format.
    pub fn format(&self) -> &access_log::Format {
        &self.format
    }

    /// Writes one entry as `worker`.
    pub fn write(&self, worker: usize, entry: &entry::Entry<'_>) {
        self.sink.write(worker, |out| self.format.render(entry, out));
    }
}
