//! Circuit breaking: limits on what a cluster may have in flight, counted over all workers.
//!
//! A limit that is not set costs nothing: no counter is touched. Source: Envoy documentation,
//! "Circuit breaking"; limits absent from the message are Envoy's defaults.

use super::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, circuit_breakers::Thresholds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;

/// Envoy's default for connections, pending requests and requests.
const DEFAULT_LIMIT: u32 = 1024;
/// Envoy's default for concurrent retries.
const DEFAULT_RETRIES: u32 = 3;
/// Istio's way to say "no limit".
const UNLIMITED: u32 = u32::MAX;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Connections open.
    Connections,
    /// Requests that wait for a connection.
    Pending,
    /// Requests in flight.
    Requests,
    /// Retries in flight.
    Retries,
}

/// A limit with its count.
#[derive(Debug)]
struct Limit {
    limit: u32,
    used: AtomicU32,
}

impl Limit {
    fn new(limit: u32) -> Self {
        Self { limit, used: AtomicU32::new(0) }
    }

    fn try_take(&self) -> bool {
        if self.limit == UNLIMITED {
            return true;
        }
        let taken = self.used.fetch_add(1, Ordering::AcqRel);
        if taken >= self.limit {
            self.used.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        true
    }

    fn give_back(&self) {
        if self.limit != UNLIMITED {
            self.used.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn is_full(&self) -> bool {
        self.limit != UNLIMITED && self.used.load(Ordering::Acquire) >= self.limit
    }
}

/// Retries as a share of what is in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Share in percent.
    pub percent: f64,
    /// Retries that are always allowed.
    pub minimum: u32,
}

impl RetryBudget {
    /// How many retries may run while `active` requests are in flight.
    pub fn allows(&self, active: u32) -> u32 {
        let share = (f64::from(active) * self.percent / 100.0).floor();
        // The cast saturates.
        self.minimum.max(share as u32)
    }
}

/// The circuit breaker of a cluster.
#[derive(Debug)]
pub struct Breaker {
    connections: Limit,
    pending: Limit,
    requests: Limit,
    retries: Limit,
    budget: Option<RetryBudget>,
    /// Requests in flight, counted only for a budget.
    active: AtomicU32,
    /// Told when a connection closes.
    freed: Notify,
}

impl Breaker {
    /// Compiles the thresholds of the default priority.
    pub fn compile(message: Option<&CircuitBreakers>) -> Self {
        let thresholds =
            message.and_then(|message| message.thresholds.iter().find(|thresholds| thresholds.priority == 0));
        let limit = |pick: fn(&Thresholds) -> &Option<envoy_types::pb::google::protobuf::UInt32Value>,
                     default| {
            Limit::new(thresholds.and_then(|all| pick(all).as_ref()).map_or(default, |value| value.value))
        };
        let budget =
            thresholds.and_then(|thresholds| thresholds.retry_budget.as_ref()).map(|budget| RetryBudget {
                percent: budget.budget_percent.as_ref().map_or(20.0, |percent| percent.value),
                minimum: budget.min_retry_concurrency.as_ref().map_or(3, |minimum| minimum.value),
            });
        Self {
            connections: limit(|all| &all.max_connections, DEFAULT_LIMIT),
            pending: limit(|all| &all.max_pending_requests, DEFAULT_LIMIT),
            requests: limit(|all| &all.max_requests, DEFAULT_LIMIT),
            retries: limit(|all| &all.max_retries, DEFAULT_RETRIES),
            budget,
            active: AtomicU32::new(0),
            freed: Notify::new(),
        }
    }

    fn limit(&self, resource: Resource) -> &Limit {
        match resource {
            Resource::Connections => &self.connections,
            Resource::Pending => &self.pending,
            Resource::Requests => &self.requests,
            Resource::Retries => &self.retries,
        }
    }

    fn try_take(&self, resource: Resource) -> bool {
        match (resource, self.budget) {
            (Resource::Retries, Some(budget)) => {
                let allowed = budget.allows(self.active.load(Ordering::Acquire));
                let taken = self.retries.used.fetch_add(1, Ordering::AcqRel);
                let fits = taken < allowed;
                if !fits {
                    self.retries.used.fetch_sub(1, Ordering::AcqRel);
                }
                fits
            }
            (Resource::Requests, budget) => {
                let fits = self.requests.try_take();
                if fits && budget.is_some() {
                    self.active.fetch_add(1, Ordering::AcqRel);
                }
                fits
            }
            _ => self.limit(resource).try_take(),
        }
    }

    fn give_back(&self, resource: Resource) {
        match (resource, self.budget) {
            (Resource::Retries, Some(_)) => {
                self.retries.used.fetch_sub(1, Ordering::AcqRel);
            }
            (Resource::Requests, budget) => {
                self.requests.give_back();
                if budget.is_some() {
                    self.active.fetch_sub(1, Ordering::AcqRel);
                }
            }
            _ => self.limit(resource).give_back(),
        }
        if resource == Resource::Connections {
            self.freed.notify_waiters();
        }
    }

    /// Whether no more of this may be had now, for `/stats`.
    pub fn is_open(&self, resource: Resource) -> bool {
        self.limit(resource).is_full()
    }

    /// Resolves when a connection of the cluster has closed since the call.
    pub(super) async fn connection_freed(&self) {
        self.freed.notified().await;
    }
}

/// A place in the circuit breaker. Dropping it gives the place back.
#[derive(Debug)]
pub struct Permit {
    cluster: Arc<Cluster>,
    resource: Resource,
}

impl Permit {
    /// Takes a place; `None` when the breaker is open.
    pub fn take(cluster: &Arc<Cluster>, resource: Resource) -> Option<Self> {
        cluster.breaker.try_take(resource).then(|| Self { cluster: Arc::clone(cluster), resource })
    }

    /// Takes a place even when the breaker is open: a host without any connection always gets one,
    /// or a full cluster could never serve from it.
    pub(super) fn force(cluster: &Arc<Cluster>, resource: Resource) -> Self {
        let limit = cluster.breaker.limit(resource);
        if limit.limit != UNLIMITED {
            limit.used.fetch_add(1, Ordering::AcqRel);
        }
        Self { cluster: Arc::clone(cluster), resource }
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.cluster.breaker.give_back(self.resource);
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
