//! A histogram with Envoy's default buckets, written by one worker and read by any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets, in thousandths of the unit; the last bucket has none.
/// Source: Envoy's `HistogramSettingsImpl::defaultBuckets`.
const BOUNDS: [u64; 19] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// The bounds as Prometheus labels, the last included.
pub const LABELS: [&str; 20] = [
    "0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000",
    "60000", "300000", "600000", "1800000", "3600000", "+Inf",
];

/// One worker's part of a histogram.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; 20],
    sum: AtomicU64,
}

/// A histogram as read: counts by bucket (not cumulative) and the sum in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Counts by bucket.
    pub buckets: [u64; 20],
    /// Sum of all values, in thousandths of the unit.
    pub sum: u64,
}

impl Histogram {
    /// Records a value given in thousandths of the unit (microseconds for a histogram of
    /// milliseconds).
    pub fn record(&self, thousandths: u64) {
        let bucket = BOUNDS.iter().position(|bound| thousandths <= *bound).unwrap_or(BOUNDS.len());
        add(&self.buckets[bucket], 1);
        add(&self.sum, thousandths);
    }

    /// Adds this part to what other workers have counted.
    pub fn read_into(&self, reading: &mut Reading) {
        for (total, part) in reading.buckets.iter_mut().zip(&self.buckets) {
            *total += part.load(Ordering::Relaxed);
        }
        reading.sum = reading.sum.wrapping_add(self.sum.load(Ordering::Relaxed));
    }
}

impl Reading {
    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// One writer: a load and a store are enough.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

#[cfg(test)]
#[path = "histogram_tests.rs"]
mod tests;
