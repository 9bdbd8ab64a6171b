//! Live telemetry in memory: the last minutes of every series of interest, and rates over them.
//! Bounded in series and in samples; what is over the bound is counted and said, not kept.

use crate::exposition::samples;
use ahash::{AHashMap, RandomState};
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// How far back samples are kept.
pub const RETENTION: Duration = Duration::from_secs(15 * 60);
/// The most series kept; beyond it new ones are dropped and counted.
const MOST_SERIES: usize = 100_000;

/// Series worth keeping.
const KEPT: [&str; 6] = [
    "istio_requests_total",
    "istio_request_duration_milliseconds_bucket",
    "istio_tcp_connections_opened_total",
    "istio_tcp_sent_bytes_total",
    "istio_tcp_received_bytes_total",
    "cert_expiry_seconds",
];

/// Labels of a series, shared.
pub type Labels = Arc<[(Arc<str>, Arc<str>)]>;

/// One time series.
#[derive(Clone, Debug)]
pub struct Series {
    /// The metric's name.
    pub name: &'static str,
    /// Its labels, `pod` and `namespace` of the scraped pod among them (as `scraped_pod`, `scraped_namespace`).
    pub labels: Labels,
    samples: VecDeque<(u64, f64)>,
}

impl Series {
    /// The value of a label; empty where it is absent.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(key, _)| &**key == name).map_or("", |(_, value)| value)
    }

    fn is<'a>(&self, name: &str, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> bool {
        self.name == name
            && self.labels.len() == labels.clone().count()
            && self.pairs().zip(labels).all(|(own, other)| own.0 == other.0 && own.1 == other.1)
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(label, value)| (&**label, &**value))
    }

    /// The newest value.
    pub fn last(&self) -> Option<f64> {
        self.samples.back().map(|(_, value)| *value)
    }

    /// Growth of a counter between two instants (milliseconds), resets taken into account: after a
    /// restart the counter begins at zero, so its whole new value is growth.
    pub fn increase(&self, from: u64, to: u64) -> f64 {
        let mut grown = 0.0;
        let mut previous: Option<f64> = None;
        for (time, value) in &self.samples {
            if *time > to {
                break;
            }
            if *time >= from {
                grown += match previous {
                    Some(before) if *value >= before => value - before,
                    Some(_) => *value,
                    None => 0.0,
                };
            }
            previous = Some(*value);
        }
        grown
    }
}

/// All series.
#[derive(Debug, Default)]
pub struct Store {
    /// Found by name and labels as they come, without a key being built for each sample.
    series: HashTable<Series>,
    hasher: RandomState,
    strings: AHashMap<Box<str>, Arc<str>>,
    dropped: u64,
}

impl Store {
    /// Takes what a pod exposes, as of `now` (milliseconds).
    pub fn ingest(&mut self, pod: &str, namespace: &str, text: &str, now: u64) {
        for sample in samples(text) {
            let Some(name) = KEPT.iter().find(|kept| **kept == sample.name) else { continue };
            let labels = sample.labels.iter().map(|(label, value)| (*label, value.as_str()));
            let labels = labels.chain([("scraped_pod", pod), ("scraped_namespace", namespace)]);
            let hash = hash(&self.hasher, name, labels.clone());
            if let Some(series) = self.series.find_mut(hash, |series| series.is(name, labels.clone())) {
                series.samples.push_back((now, sample.value));
                continue;
            }
            if self.series.len() >= MOST_SERIES {
                self.dropped += 1;
                continue;
            }
            let labels = labels.map(|(label, value)| (self.intern(label), self.intern(value))).collect();
            // A counter that appears while we watch grew from zero; the first scrape of all must
            // not count a proxy's whole past as if it had happened now.
            let samples = VecDeque::from([(now, sample.value)]);
            let hasher = &self.hasher;
            let rehash = |series: &Series| self::hash(hasher, series.name, series.pairs());
            self.series.insert_unique(hash, Series { name, labels, samples }, rehash);
        }
    }

    fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.strings.get(text) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = text.into();
        self.strings.insert(text.into(), Arc::clone(&shared));
        shared
    }

    /// Forgets samples older than the retention, and series that have none left.
    pub fn expire(&mut self, now: u64) {
        let oldest = now.saturating_sub(u64::try_from(RETENTION.as_millis()).unwrap_or(u64::MAX));
        self.series.retain(|series| {
            while series.samples.front().is_some_and(|(time, _)| *time < oldest) {
                series.samples.pop_front();
            }
            !series.samples.is_empty()
        });
        self.strings.retain(|_, text| Arc::strong_count(text) > 1);
    }

    /// All series of a metric.
    pub fn series(&self, name: &str) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(move |series| series.name == name)
    }

    /// Samples not kept because there were too many series.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// The hash of a series by its name and labels in their order.
fn hash<'a>(hasher: &RandomState, name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let mut state = hasher.build_hasher();
    name.hash(&mut state);
    labels.for_each(|pair| pair.hash(&mut state));
    state.finish()
}

/// The value below which `share` of the observations lie, from cumulative `(upper bound, count)`
/// pairs; linear within a bucket, as Prometheus's `histogram_quantile`. `None` without observations.
pub fn quantile(share: f64, buckets: &mut [(f64, f64)]) -> Option<f64> {
    buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
    let total = buckets.last()?.1;
    if total <= 0.0 {
        return None;
    }
    let wanted = share * total;
    let (mut lower, mut below) = (0.0, 0.0);
    for (upper, count) in buckets.iter() {
        if *count >= wanted {
            if upper.is_infinite() {
                return Some(lower);
            }
            let inside = count - below;
            let part = if inside > 0.0 { (wanted - below) / inside } else { 1.0 };
            return Some(lower + (upper - lower) * part);
        }
        (lower, below) = (*upper, *count);
    }
    Some(lower)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
