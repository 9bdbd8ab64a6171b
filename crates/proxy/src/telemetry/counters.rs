//! Statistics in Envoy's names, for `/stats` and `/stats/prometheus`.
//!
//! Hot ones are plain fields of a struct that exists once a worker ([`Sharded`]): a worker counts
//! without touching memory that another worker writes, and a reader sums. They carry no names; the
//! names are made when somebody reads. Cold ones are registered by name ([`Registry`]).

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What a statistic means to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A count written by one thread only, and read by any.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`. Not an atomic addition: there is one writer, and this is several times cheaper.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Takes one away. The sum over workers is right even where one worker's part wraps around.
    pub fn decrement(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
    }

    /// This part of the count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One copy of `T` for each worker, on cache lines of its own. They are made by the first who counts:
/// most clusters of a large mesh are never called by one proxy.
#[derive(Debug)]
pub struct Sharded<T> {
    workers: usize,
    copies: OnceLock<Box<[Line<T>]>>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line<T>(T);

impl<T: Default> Sharded<T> {
    /// Copies for `workers` workers, at least one.
    pub fn new(workers: usize) -> Self {
        Self { workers: workers.max(1), copies: OnceLock::new() }
    }

    /// The copy of one worker. A worker beyond those known at the start shares the last copy.
    pub fn of(&self, worker: usize) -> &T {
        let copies = self.copies.get_or_init(|| (0..self.workers).map(|_| Line::default()).collect());
        &copies[worker.min(copies.len() - 1)].0
    }
}

impl<T> Sharded<T> {
    /// All copies; none as long as nothing was counted.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.copies.get().into_iter().flatten().map(|line| &line.0)
    }
}

/// Declares a struct of counts with the names they are read under.
macro_rules! counts {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $crate::telemetry::counters::Count,)*
        }

        impl $crate::telemetry::counters::Sharded<$name> {
            /// Each statistic's name, kind and sum over all workers.
            pub fn each(&self, mut visit: impl FnMut(&'static str, $crate::telemetry::counters::Kind, u64)) {
                $(visit(
                    stringify!($field),
                    $crate::telemetry::counters::Kind::$kind,
                    self.iter().fold(0u64, |sum, part| sum.wrapping_add(part.$field.get())),
                );)*
            }
        }
    };
}
counts! {
    /// `cluster.NAME.*`, one worker's part.
    pub struct ClusterCounts {
        /// Connections made.
        upstream_cx_total: Counter,
        /// Connections open.
        upstream_cx_active: Gauge,
        /// HTTP/1 connections made.
        upstream_cx_http1_total: Counter,
        /// HTTP/2 connections made.
        upstream_cx_http2_total: Counter,
        /// Connections that could not be made.
        upstream_cx_connect_fail: Counter,
        /// Connections not made within `connect_timeout`.
        upstream_cx_connect_timeout: Counter,
        /// Connections refused by the circuit breaker.
        upstream_cx_overflow: Counter,
        /// Connections closed.
        upstream_cx_destroy: Counter,
        /// Connections closed because of their idle timeout.
        upstream_cx_idle_timeout: Counter,
        /// Connections that served their last permitted request.
        upstream_cx_max_requests: Counter,
        /// Body bytes received from upstreams.
        upstream_cx_rx_bytes_total: Counter,
        /// Body bytes sent to upstreams.
        upstream_cx_tx_bytes_total: Counter,
        /// Requests sent.
        upstream_rq_total: Counter,
        /// Requests in flight.
        upstream_rq_active: Gauge,
        /// Requests that wait for a connection.
        upstream_rq_pending_active: Gauge,
        /// Requests that waited for a connection.
        upstream_rq_pending_total: Counter,
        /// Requests refused by the circuit breaker.
        upstream_rq_pending_overflow: Counter,
        /// Requests whose connection could not be made.
        upstream_rq_pending_failure_eject: Counter,
        /// Requests that ran into the route's timeout.
        upstream_rq_timeout: Counter,
        /// Attempts that ran into `per_try_timeout`.
        upstream_rq_per_try_timeout: Counter,
        /// Attempts after the first.
        upstream_rq_retry: Counter,
        /// Retries that gave a good response.
        upstream_rq_retry_success: Counter,
        /// Retries refused by the circuit breaker or budget.
        upstream_rq_retry_overflow: Counter,
        /// Requests that used up their retries.
        upstream_rq_retry_limit_exceeded: Counter,
        /// Streams reset by the upstream.
        upstream_rq_rx_reset: Counter,
        /// Streams reset by us.
        upstream_rq_tx_reset: Counter,
        /// Requests cancelled before a connection was there.
        upstream_rq_cancelled: Counter,
        /// Responses.
        upstream_rq_completed: Counter,
        /// Responses 1xx.
        upstream_rq_1xx: Counter,
        /// Responses 2xx.
        upstream_rq_2xx: Counter,
        /// Responses 3xx.
        upstream_rq_3xx: Counter,
        /// Responses 4xx.
        upstream_rq_4xx: Counter,
        /// Responses 5xx.
        upstream_rq_5xx: Counter,
        /// Picks made while too few hosts were healthy.
        lb_healthy_panic: Counter,
        /// Requests for which there was no host.
        upstream_cx_none_healthy: Counter,
    }
}

impl ClusterCounts {
    /// Counts a response by its class.
    pub fn response(&self, status: u16) {
        self.upstream_rq_completed.increment();
        match status / 100 {
            1 => self.upstream_rq_1xx.increment(),
            2 => self.upstream_rq_2xx.increment(),
            3 => self.upstream_rq_3xx.increment(),
            4 => self.upstream_rq_4xx.increment(),
            _ => self.upstream_rq_5xx.increment(),
        }
    }
}

counts! {
    /// `http.STAT_PREFIX.*`, one worker's part.
    pub struct ManagerCounts {
        /// Connections accepted.
        downstream_cx_total: Counter,
        /// Connections open.
        downstream_cx_active: Gauge,
        /// HTTP/1 connections accepted.
        downstream_cx_http1_total: Counter,
        /// HTTP/2 connections accepted.
        downstream_cx_http2_total: Counter,
        /// Connections that broke the protocol.
        downstream_cx_protocol_error: Counter,
        /// Connections closed by a drain.
        downstream_cx_drain_close: Counter,
        /// Connections closed because they were idle.
        downstream_cx_idle_timeout: Counter,
        /// Connections that were upgraded.
        downstream_cx_upgrades_total: Counter,
        /// Requests.
        downstream_rq_total: Counter,
        /// Requests in flight.
        downstream_rq_active: Gauge,
        /// HTTP/1 requests.
        downstream_rq_http1_total: Counter,
        /// HTTP/2 requests.
        downstream_rq_http2_total: Counter,
        /// Requests answered.
        downstream_rq_completed: Counter,
        /// Responses 1xx.
        downstream_rq_1xx: Counter,
        /// Responses 2xx.
        downstream_rq_2xx: Counter,
        /// Responses 3xx.
        downstream_rq_3xx: Counter,
        /// Responses 4xx.
        downstream_rq_4xx: Counter,
        /// Responses 5xx.
        downstream_rq_5xx: Counter,
        /// Streams reset by the client.
        downstream_rq_rx_reset: Counter,
        /// Requests whose headers were too large.
        downstream_rq_too_large: Counter,
        /// Streams that were idle for too long.
        downstream_rq_idle_timeout: Counter,
        /// Requests not received within `request_timeout`.
        downstream_rq_timeout: Counter,
        /// Requests whose headers were not received in time.
        downstream_rq_header_timeout: Counter,
        /// Requests for which no route was found.
        no_route: Counter,
        /// Requests whose cluster does not exist.
        no_cluster: Counter,
        /// Requests redirected.
        rq_redirect: Counter,
        /// Requests answered by a direct response.
        rq_direct_response: Counter,
        /// Requests allowed by policy.
        rbac_allowed: Counter,
        /// Requests denied by policy.
        rbac_denied: Counter,
        /// Requests that the shadow policy would have allowed.
        rbac_shadow_allowed: Counter,
        /// Requests that the shadow policy would have denied.
        rbac_shadow_denied: Counter,
        /// Requests delayed on purpose.
        fault_delays_injected: Counter,
        /// Requests aborted on purpose.
        fault_aborts_injected: Counter,
        /// gRPC calls that ended with status 0.
        grpc_success: Counter,
        /// gRPC calls that ended with another status.
        grpc_failure: Counter,
        /// gRPC messages received from clients.
        grpc_request_message_count: Counter,
        /// gRPC messages sent to clients.
        grpc_response_message_count: Counter,
    }
}

impl ManagerCounts {
    /// Counts a response by its class.
    pub fn response(&self, status: u16) {
        self.downstream_rq_completed.increment();
        match status / 100 {
            1 => self.downstream_rq_1xx.increment(),
            2 => self.downstream_rq_2xx.increment(),
            3 => self.downstream_rq_3xx.increment(),
            4 => self.downstream_rq_4xx.increment(),
            _ => self.downstream_rq_5xx.increment(),
        }
    }
}

/// A statistic outside the hot path, shared between threads.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<AtomicU64>);

impl Shared {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Takes `amount` away, for gauges.
    pub fn subtract(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    /// Replaces the value, for gauges.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Statistics registered by their full name, such as `server.uptime`.
#[derive(Debug, Default)]
pub struct Registry {
    entries: Mutex<BTreeMap<String, (Kind, Shared)>>,
}

impl Registry {
    /// The counter of this name, made on first use.
    pub fn counter(&self, name: &str) -> Shared {
        self.get(name, Kind::Counter)
    }

    /// The gauge of this name, made on first use.
    pub fn gauge(&self, name: &str) -> Shared {
        self.get(name, Kind::Gauge)
    }

    fn get(&self, name: &str, kind: Kind) -> Shared {
        let mut entries = self.entries.lock();
        if let Some((_, shared)) = entries.get(name) {
            return shared.clone();
        }
        let shared = Shared::default();
        entries.insert(name.to_owned(), (kind, shared.clone()));
        shared
    }

    /// Takes out every statistic whose name starts with `prefix`, when what it counted is gone.
    pub fn remove(&self, prefix: &str) {
        self.entries.lock().retain(|name, _| !name.starts_with(prefix));
    }

    /// Each statistic in the order of names.
    pub fn each(&self, mut visit: impl FnMut(&str, Kind, u64)) {
        for (name, (kind, shared)) in self.entries.lock().iter() {
            visit(name, *kind, shared.get());
        }
    }
}

#[cfg(test)]
#[path = "counters_tests.rs"]
mod tests;
