//! How long changes take from the API to the proxies.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Latencies are counted in steps of a tenth of a millisecond, up to two minutes.
const STEP: Duration = Duration::from_micros(100);
const STEPS: usize = 1_200_000;

/// Latencies in milliseconds over all receivers of all changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Latency {
    /// How many there are.
    pub count: u64,
    /// Half are lower.
    pub p50: f64,
    /// Nine of ten are lower.
    pub p90: f64,
    /// 99 of 100 are lower.
    pub p99: f64,
    /// None is higher.
    pub max: f64,
}

/// The changes that were made, and their arrival at the proxies. A change carries its mark, a number
/// that grows, within the resource that it alters: a later mark implies the earlier ones, as a
/// burst may be merged.
pub struct Changes {
    made: RwLock<Made>,
    steps: Box<[AtomicU32]>,
    arrived: AtomicU64,
}

#[derive(Default)]
struct Made {
    last: u32,
    of_resource: HashMap<Arc<str>, Vec<(u32, Instant)>>,
}

impl Default for Changes {
    fn default() -> Self {
        let steps = std::iter::repeat_with(AtomicU32::default).take(STEPS).collect();
        Self { made: RwLock::default(), steps, arrived: AtomicU64::new(0) }
    }
}

impl Changes {
    /// A change of this resource is about to be written; gives its mark.
    pub fn begin(&self, resource: &str) -> u32 {
        let mut made = self.made.write();
        made.last += 1;
        let change = (made.last, Instant::now());
        made.of_resource.entry(resource.into()).or_default().push(change);
        made.last
    }

    /// A proxy has received this resource with this mark, and had it with mark `seen` before.
    pub fn arrive(&self, resource: &str, seen: u32, mark: u32, at: Instant) {
        let made = self.made.read();
        let Some(changes) = made.of_resource.get(resource) else { return };
        let first = changes.partition_point(|(earlier, _)| *earlier <= seen);
        for (_, written) in changes[first..].iter().take_while(|(change, _)| *change <= mark) {
            let step = at.duration_since(*written).as_micros() / STEP.as_micros();
            let step = usize::try_from(step).unwrap_or(STEPS).min(STEPS - 1);
            self.steps[step].fetch_add(1, Ordering::Relaxed);
            self.arrived.fetch_add(1, Ordering::Release);
        }
    }

    /// How many arrivals there were since the last [`Changes::take`].
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// Expects no more arrivals of the changes so far.
    pub fn forget(&self) {
        self.made.write().of_resource.clear();
    }

    /// The latencies so far; starts over.
    pub fn take(&self) -> Latency {
        self.forget();
        self.arrived.store(0, Ordering::Release);
        let counts: Vec<u64> =
            self.steps.iter().map(|step| u64::from(step.swap(0, Ordering::Relaxed))).collect();
        let count = counts.iter().sum();
        let at = |share: f64| {
            let rank = ((count as f64 * share).ceil() as u64).max(1);
            let mut below = 0;
            let step = counts.iter().position(|count| {
                below += count;
                below >= rank
            });
            step.map_or(0.0, |step| step as f64 * STEP.as_secs_f64() * 1000.0)
        };
        Latency { count, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

#[cfg(test)]
#[path = "latency_tests.rs"]
mod tests;
