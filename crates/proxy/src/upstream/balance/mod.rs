//! Load balancing: which host takes the next request.
//!
//! A [`Balance`] is an immutable picture of a cluster's hosts, made again when endpoints or their
//! health change, so that a pick touches only what it needs: a priority by load, a locality by
//! weight, a host by policy. Source: Envoy documentation, "Load balancing".

mod hashing;
mod picture;

pub use hashing::{source_hash, stable_hash};
pub use picture::{Balance, Group, Level, Sharing, priority_loads};

use super::Host;
use rand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Compiled `lb_policy`.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// One after the other, by weight.
    RoundRobin(Option<SlowStart>),
    /// The less busy of some drawn by weight; Istio's default.
    LeastRequest {
        /// How many are drawn.
        choices: u32,
        /// Recently added hosts get less.
        slow_start: Option<SlowStart>,
    },
    /// Drawn by weight.
    Random,
    /// By the request's hash, on a ring.
    RingHash {
        /// Fewest places on the ring.
        minimum: u64,
        /// Most places on the ring.
        maximum: u64,
    },
    /// By the request's hash, in a Maglev table of this (prime) size.
    Maglev {
        /// Places in the table.
        size: u64,
    },
}

impl Policy {
    /// Whether requests with one hash go to one host.
    pub fn is_hashing(&self) -> bool {
        matches!(self, Self::RingHash { .. } | Self::Maglev { .. })
    }

    fn slow_start(&self) -> Option<&SlowStart> {
        match self {
            Self::RoundRobin(slow_start) | Self::LeastRequest { slow_start, .. } => slow_start.as_ref(),
            _ => None,
        }
    }
}

/// A host's share grows while it warms up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// How long.
    pub window: Duration,
    /// Above 1 the share grows fast at first.
    pub aggression: f64,
    /// Share at the beginning, 0 to 1.
    pub minimum: f64,
}

impl SlowStart {
    /// The share of its weight that a host of this age gets, 0 to 1.
    pub fn share(&self, age: Duration) -> f64 {
        if age >= self.window || self.window.is_zero() {
            return 1.0;
        }
        let progress = (age.as_secs_f64() / self.window.as_secs_f64()).max(f64::EPSILON);
        progress.powf(1.0 / self.aggression.max(f64::EPSILON)).max(self.minimum)
    }
}

/// A sequence of points in the unit interval that covers it evenly from the start (multiples of the
/// golden ratio). Choosing by it gives every share its due over any long run, with an error that
/// grows with the logarithm only, and no rhythm that a client's own could fall in with.
#[derive(Debug)]
pub struct EvenSequence(AtomicU64);

impl EvenSequence {
    /// A sequence with a random start.
    pub fn new() -> Self {
        Self(AtomicU64::new(rand::random()))
    }

    /// A sequence with a known start.
    pub fn starting_at(start: u64) -> Self {
        Self(AtomicU64::new(start))
    }

    /// The next point, scaled to `0..total`. Zero when `total` is.
    pub fn next(&self, total: u64) -> u64 {
        let point = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        scale(point, total)
    }
}

impl Default for EvenSequence {
    fn default() -> Self {
        Self::new()
    }
}

/// A 64-bit fraction of `total`.
pub(crate) fn scale(point: u64, total: u64) -> u64 {
    // The product of two 64-bit numbers, shifted down by 64, is below `total`.
    ((u128::from(point) * u128::from(total)) >> 64) as u64
}

/// What a pick may depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickContext<'a> {
    /// The request's hash, where the route has a hash policy.
    pub hash: Option<u64>,
    /// Hosts already tried, to be avoided.
    pub tried: &'a [u64],
    /// How often to pick again when a tried host comes up.
    pub attempts: u32,
}

impl Balance {
    /// The host for one request; `None` when no host may be used.
    pub fn pick(
        &self,
        policy: &Policy,
        cursor: &EvenSequence,
        context: PickContext<'_>,
    ) -> Option<&Arc<Host>> {
        let mut random = rand::rng();
        let mut picked = self.pick_once(policy, cursor, context.hash, &mut random)?;
        for attempt in 0..context.attempts {
            if !context.tried.contains(&picked.state.id) {
                break;
            }
            // A hash would give the same host again, so later picks are spread from it.
            let hash = context.hash.map(|hash| hash.wrapping_add(u64::from(attempt) + 1).rotate_left(17));
            picked = self.pick_once(policy, cursor, hash, &mut random)?;
        }
        Some(picked)
    }

    fn pick_once(
        &self,
        policy: &Policy,
        cursor: &EvenSequence,
        hash: Option<u64>,
        random: &mut impl Rng,
    ) -> Option<&Arc<Host>> {
        let hash = if policy.is_hashing() { Some(hash.unwrap_or_else(|| random.next_u64())) } else { None };
        let level = self.level(|| hash.unwrap_or_else(|| random.next_u64()))?;
        let group = match &*level.groups {
            [only] => only,
            groups => {
                let point = scale(random.next_u64(), level.group_weight);
                groups.iter().find(|group| point < group.up_to).or_else(|| groups.last())?
            }
        };
        let index = match policy {
            Policy::Random => group.by_weight(scale(random.next_u64(), group.weight)),
            Policy::RoundRobin(_) => group.by_weight(cursor.next(group.weight)),
            Policy::LeastRequest { choices, .. } => self.least_busy(group, *choices, random),
            Policy::RingHash { .. } | Policy::Maglev { .. } => group.by_hash(hash.unwrap_or_default()),
        }?;
        let host = self.hosts().get(index)?;
        match policy.slow_start() {
            Some(slow_start) if self.is_still_cold(host, slow_start, random) => {
                // A second draw; a cold host drawn twice takes the request.
                self.hosts().get(group.by_weight(scale(random.next_u64(), group.weight))?)
            }
            _ => Some(host),
        }
    }

    fn least_busy(&self, group: &Group, choices: u32, random: &mut impl Rng) -> Option<usize> {
        let first = group.by_weight(scale(random.next_u64(), group.weight))?;
        if group.len() < 2 {
            return Some(first);
        }
        let busy = |index: usize| self.hosts().get(index).map_or(u64::MAX, |host| host.state.active().into());
        let weight = |index: usize| self.hosts().get(index).map_or(1, |host| u64::from(host.weight));
        let mut best = first;
        for _ in 1..choices.max(2) {
            // One more draw when the same host comes up: two different ones tell more.
            let mut other = group.by_weight(scale(random.next_u64(), group.weight))?;
            if other == best {
                other = group.by_weight(scale(random.next_u64(), group.weight))?;
            }
            // Compared by load over weight, in whole numbers.
            if busy(other) * weight(best) < busy(best) * weight(other) {
                best = other;
            }
        }
        Some(best)
    }

    fn is_still_cold(&self, host: &Host, slow_start: &SlowStart, random: &mut impl Rng) -> bool {
        let share = slow_start.share(host.state.added.elapsed());
        share < 1.0 && (random.next_u64() as f64 / u64::MAX as f64) >= share
    }
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
