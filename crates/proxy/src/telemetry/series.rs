//! Istio's standard metrics: one series for each combination of labels, kept by worker and summed
//! when read. A series is found by a handful of integers; no label text is touched by a request.
//!
//! Source: istio.io "Istio Standard Metrics"; order and values of labels as the `istio.stats` filter
//! gives them.

use super::histogram::{Histogram, Reading};
use super::intern::{Id, Interner};
use super::{PeerMetadata, ResponseFlags};
use ahash::AHashMap;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Who reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reporter {
    /// The client's side: an outbound sidecar or a gateway.
    Source,
    /// The server's side: an inbound sidecar.
    Destination,
}

/// The protocol of a request, as the label names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP other than gRPC.
    Http,
    /// gRPC.
    Grpc,
    /// Anything else.
    Tcp,
}

/// The value of `connection_security_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Security {
    /// The client's side does not report it.
    Unknown,
    /// Plain text, or TLS without a client certificate.
    None,
    /// Both sides proved their identity.
    MutualTls,
}

/// A service as the labels `destination_service*` name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Service {
    /// `destination_service`: the host name.
    pub host: String,
    /// `destination_service_name`.
    pub name: String,
    /// `destination_service_namespace`.
    pub namespace: String,
}

/// What tells one series from another. All fields are numbers into [`Names`] or small values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// Who reports.
    pub reporter: Reporter,
    /// The protocol.
    pub protocol: Protocol,
    /// Whether the connection was mutually authenticated; only the server's side knows.
    pub security: Security,
    /// `grpc-status`, where the call had one.
    pub grpc_status: Option<u8>,
    /// The response code, 0 when there was no response.
    pub response_code: u16,
    /// Response flags.
    pub flags: ResponseFlags,
    /// The workload at the other end.
    pub peer: Id,
    /// The certificate identity of the workload at the other end.
    pub peer_principal: Id,
    /// Our own certificate identity.
    pub local_principal: Id,
    /// The destination service.
    pub service: Id,
    /// Which `istio.stats` configuration shapes the series.
    pub shape: Id,
}

/// How a `istio.stats` configuration changes the standard metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Metrics that are not reported, by their name without prefix and suffix (`requests_total`).
    pub dropped: Vec<String>,
    /// Labels left out: (metric, label); an empty metric means all of them.
    pub removed_labels: Vec<(String, String)>,
}

/// The tables behind a [`SeriesKey`].
#[derive(Debug)]
pub struct Names {
    /// This workload.
    pub local: PeerMetadata,
    /// Workloads at the other end.
    pub peers: Interner<PeerMetadata>,
    /// Certificate identities.
    pub principals: Interner<String>,
    /// Destination services.
    pub services: Interner<Service>,
    /// Configurations of `istio.stats`.
    pub shapes: Interner<Shape>,
}

impl Names {
    /// Empty tables for a proxy of this workload.
    pub fn new(local: PeerMetadata) -> Self {
        Self {
            local,
            peers: Interner::new(16_384),
            principals: Interner::new(16_384),
            services: Interner::new(65_536),
            shapes: Interner::new(256),
        }
    }
}

/// One worker's part of a series of HTTP requests.
#[derive(Debug, Default)]
pub struct HttpSeries {
    requests: AtomicU64,
    request_messages: AtomicU64,
    response_messages: AtomicU64,
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

/// One worker's part of a series of TCP connections.
#[derive(Debug, Default)]
pub struct TcpSeries {
    opened: AtomicU64,
    closed: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// One finished request, as numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// From the first byte of the request to the last of the response, in microseconds.
    pub duration_micros: u64,
    /// Bytes received from the client, headers included.
    pub request_bytes: u64,
    /// Bytes sent to the client, headers included.
    pub response_bytes: u64,
    /// gRPC messages received.
    pub request_messages: u64,
    /// gRPC messages sent.
    pub response_messages: u64,
}

impl HttpSeries {
    /// Counts one finished request.
    pub fn record(&self, protocol: Protocol, measured: &Measured) {
        add(&self.requests, 1);
        self.duration.record(measured.duration_micros);
        self.request_bytes.record(measured.request_bytes.saturating_mul(1000));
        self.response_bytes.record(measured.response_bytes.saturating_mul(1000));
        if protocol == Protocol::Grpc {
            add(&self.request_messages, measured.request_messages);
            add(&self.response_messages, measured.response_messages);
        }
    }
}

impl TcpSeries {
    /// Counts an opened connection.
    pub fn opened(&self) {
        add(&self.opened, 1);
    }

    /// Counts a closed connection.
    pub fn closed(&self) {
        add(&self.closed, 1);
    }

    /// Counts bytes: sent to the downstream and received from it.
    pub fn bytes(&self, sent: u64, received: u64) {
        add(&self.sent, sent);
        add(&self.received, received);
    }
}

/// One writer: a load and a store are enough.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// Series made by one worker, where a reader finds them.
#[derive(Debug, Default)]
pub struct Shard {
    http: Mutex<Vec<(SeriesKey, Arc<HttpSeries>)>>,
    tcp: Mutex<Vec<(SeriesKey, Arc<TcpSeries>)>>,
}

/// One worker's way to its series. The lock of the shard is taken only when a series is new.
#[derive(Debug)]
pub struct Series {
    budget: usize,
    shard: Arc<Shard>,
    http: RefCell<AHashMap<SeriesKey, Arc<HttpSeries>>>,
    tcp: RefCell<AHashMap<SeriesKey, Arc<TcpSeries>>>,
}

impl Series {
    /// A worker's series, at most `budget` of each sort; what comes later is counted under unknown
    /// peers and services.
    pub fn new(budget: usize, shard: Arc<Shard>) -> Self {
        Self { budget, shard, http: RefCell::default(), tcp: RefCell::default() }
    }

    /// The series of finished requests under `key`.
    pub fn http(&self, key: SeriesKey) -> Arc<HttpSeries> {
        find(&self.http, &self.shard.http, self.budget, key)
    }

    /// Counts a finished request.
    pub fn record(&self, key: SeriesKey, measured: &Measured) {
        if let Some(series) = self.http.borrow().get(&key) {
            series.record(key.protocol, measured);
            return;
        }
        self.http(key).record(key.protocol, measured);
    }

    /// The series of connections under `key`; keep it for the life of the connection.
    pub fn tcp(&self, key: SeriesKey) -> Arc<TcpSeries> {
        find(&self.tcp, &self.shard.tcp, self.budget, key)
    }
}

fn find<S: Default>(
    known: &RefCell<AHashMap<SeriesKey, Arc<S>>>,
    shared: &Mutex<Vec<(SeriesKey, Arc<S>)>>,
    budget: usize,
    key: SeriesKey,
) -> Arc<S> {
    let mut known = known.borrow_mut();
    if let Some(series) = known.get(&key) {
        return Arc::clone(series);
    }
    let key = if known.len() < budget { key } else { overflow(key) };
    Arc::clone(known.entry(key).or_insert_with(|| {
        let series = Arc::new(S::default());
        shared.lock().push((key, Arc::clone(&series)));
        series
    }))
}

/// The series that stands for all that exceed the budget: who it was is given up, how it went is
/// kept.
fn overflow(key: SeriesKey) -> SeriesKey {
    SeriesKey {
        peer: Id::UNKNOWN,
        peer_principal: Id::UNKNOWN,
        local_principal: Id::UNKNOWN,
        service: Id::UNKNOWN,
        grpc_status: key.grpc_status.filter(|status| *status <= 16),
        response_code: key.response_code / 100 * 100,
        flags: ResponseFlags::NONE,
        ..key
    }
}

/// The sum over workers of one HTTP series.
#[derive(Clone, Debug, Default)]
pub struct HttpReading {
    /// `istio_requests_total`.
    pub requests: u64,
    /// `istio_request_messages_total`.
    pub request_messages: u64,
    /// `istio_response_messages_total`.
    pub response_messages: u64,
    /// `istio_request_duration_milliseconds`.
    pub duration: Reading,
    /// `istio_request_bytes`.
    pub request_bytes: Reading,
    /// `istio_response_bytes`.
    pub response_bytes: Reading,
}

/// The sum over workers of one TCP series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpReading {
    /// `istio_tcp_connections_opened_total`.
    pub opened: u64,
    /// `istio_tcp_connections_closed_total`.
    pub closed: u64,
    /// `istio_tcp_sent_bytes_total`.
    pub sent: u64,
    /// `istio_tcp_received_bytes_total`.
    pub received: u64,
}

/// All HTTP series, summed over workers.
pub fn read_http<'a>(shards: impl Iterator<Item = &'a Arc<Shard>>) -> BTreeMap<SeriesKey, HttpReading> {
    let mut sums = BTreeMap::<SeriesKey, HttpReading>::new();
    for shard in shards {
        for (key, series) in shard.http.lock().iter() {
            let sum = sums.entry(*key).or_default();
            sum.requests += series.requests.load(Ordering::Relaxed);
            sum.request_messages += series.request_messages.load(Ordering::Relaxed);
            sum.response_messages += series.response_messages.load(Ordering::Relaxed);
            series.duration.read_into(&mut sum.duration);
            series.request_bytes.read_into(&mut sum.request_bytes);
            series.response_bytes.read_into(&mut sum.response_bytes);
        }
    }
    sums
}

/// All TCP series, summed over workers.
pub fn read_tcp<'a>(shards: impl Iterator<Item = &'a Arc<Shard>>) -> BTreeMap<SeriesKey, TcpReading> {
    let mut sums = BTreeMap::<SeriesKey, TcpReading>::new();
    for shard in shards {
        for (key, series) in shard.tcp.lock().iter() {
            let sum = sums.entry(*key).or_default();
            sum.opened += series.opened.load(Ordering::Relaxed);
            sum.closed += series.closed.load(Ordering::Relaxed);
            sum.sent += series.sent.load(Ordering::Relaxed);
            sum.received += series.received.load(Ordering::Relaxed);
        }
    }
    sums
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
