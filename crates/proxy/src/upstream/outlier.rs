//! Outlier detection: hosts that fail are taken out of load balancing for a while.
//!
//! Workers write outcomes into atomics; every decision is a pure function of what they hold.
//! Source: Envoy documentation, "Outlier detection".

use super::{Cluster, Host};
use envoy_types::pb::envoy::config::cluster::v3::OutlierDetection;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Compiled `outlier_detection`. Percentages are 0 to 100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierSettings {
    /// 5xx answers (and failures to answer, unless split) in a row; 0 never.
    pub consecutive_5xx: u32,
    /// Answers 502, 503 and 504 in a row; 0 never.
    pub consecutive_gateway_failure: u32,
    /// Failures to connect or answer in a row, where they are told apart; 0 never.
    pub consecutive_local_origin_failure: u32,
    /// Whether failures of our own making are told apart from bad answers.
    pub split_local_origin: bool,
    /// Time between sweeps for success rate and failure percentage.
    pub interval: Duration,
    /// First ejection lasts this long, the n-th n times as long.
    pub base_ejection_time: Duration,
    /// Longest ejection.
    pub max_ejection_time: Duration,
    /// Largest share of hosts that may be ejected.
    pub max_ejection_percent: u32,
    /// Eject one host whatever the share says.
    pub always_eject_one: bool,
    /// Chances that a detected outlier is ejected, in percent.
    pub enforcing: Enforcing,
    /// Hosts with enough requests that success rate needs.
    pub success_rate_minimum_hosts: u32,
    /// Requests an interval that success rate needs of a host.
    pub success_rate_request_volume: u32,
    /// Factor over the standard deviation, in thousandths.
    pub success_rate_stdev_factor: u32,
    /// Failure percentage that ejects.
    pub failure_percentage_threshold: u32,
    /// Hosts with enough requests that failure percentage needs.
    pub failure_percentage_minimum_hosts: u32,
    /// Requests an interval that failure percentage needs of a host.
    pub failure_percentage_request_volume: u32,
}

/// Chances that a detected outlier is ejected, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforcing {
    /// Consecutive 5xx.
    pub consecutive_5xx: u32,
    /// Consecutive gateway failures.
    pub consecutive_gateway_failure: u32,
    /// Consecutive failures of our own making.
    pub consecutive_local_origin_failure: u32,
    /// Success rate.
    pub success_rate: u32,
    /// Failure percentage.
    pub failure_percentage: u32,
}

impl OutlierSettings {
    /// Compiles the message with Envoy's defaults.
    pub fn compile(message: &OutlierDetection) -> Self {
        let number = |value: &Option<envoy_types::pb::google::protobuf::UInt32Value>, default: u32| {
            value.as_ref().map_or(default, |value| value.value)
        };
        let time = |value: &Option<envoy_types::pb::google::protobuf::Duration>, default: u64| {
            super::duration(value.as_ref()).unwrap_or(Duration::from_secs(default))
        };
        let base = time(&message.base_ejection_time, 30);
        Self {
            consecutive_5xx: number(&message.consecutive_5xx, 5),
            consecutive_gateway_failure: number(&message.consecutive_gateway_failure, 5),
            consecutive_local_origin_failure: number(&message.consecutive_local_origin_failure, 5),
            split_local_origin: message.split_external_local_origin_errors,
            interval: time(&message.interval, 10),
            base_ejection_time: base,
            max_ejection_time: time(&message.max_ejection_time, 300).max(base),
            max_ejection_percent: number(&message.max_ejection_percent, 10).min(100),
            always_eject_one: message.always_eject_one_host.as_ref().is_some_and(|value| value.value),
            enforcing: Enforcing {
                consecutive_5xx: number(&message.enforcing_consecutive_5xx, 100),
                consecutive_gateway_failure: number(&message.enforcing_consecutive_gateway_failure, 0),
                consecutive_local_origin_failure: number(
                    &message.enforcing_consecutive_local_origin_failure,
                    100,
                ),
                success_rate: number(&message.enforcing_success_rate, 100),
                failure_percentage: number(&message.enforcing_failure_percentage, 0),
            },
            success_rate_minimum_hosts: number(&message.success_rate_minimum_hosts, 5),
            success_rate_request_volume: number(&message.success_rate_request_volume, 100),
            success_rate_stdev_factor: number(&message.success_rate_stdev_factor, 1900),
            failure_percentage_threshold: number(&message.failure_percentage_threshold, 85),
            failure_percentage_minimum_hosts: number(&message.failure_percentage_minimum_hosts, 5),
            failure_percentage_request_volume: number(&message.failure_percentage_request_volume, 50),
        }
    }

    /// Whether hosts must be swept every interval.
    fn sweeps(&self) -> bool {
        self.enforcing.success_rate > 0 || self.enforcing.failure_percentage > 0
    }
}

/// What traffic has said of a host.
#[derive(Debug, Default)]
pub struct OutlierState {
    consecutive_5xx: AtomicU32,
    consecutive_gateway: AtomicU32,
    consecutive_local: AtomicU32,
    ejected: AtomicBool,
    /// How many ejections in a row; decides how long the next one lasts.
    ejections: AtomicU32,
    /// Requests and successes in this interval.
    interval_total: AtomicU64,
    interval_success: AtomicU64,
}

impl OutlierState {
    /// Whether it is ejected now.
    pub fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }
}

/// How an attempt at a host ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response with this status; for gRPC, the HTTP status that its `grpc-status` stands for.
    Status(u16),
    /// No response: connecting failed, or the stream was reset.
    NoResponse,
    /// No response in time.
    TimedOut,
    /// A TCP connection was made, which is all there is to know of the host.
    Connected,
    /// A connection was made on which a request will follow: the host answers, but not how.
    Reached,
}

/// Why a host is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// 5xx in a row.
    Consecutive5xx,
    /// 502, 503 and 504 in a row.
    ConsecutiveGatewayFailure,
    /// Failures of our own making in a row.
    ConsecutiveLocalOriginFailure,
}

/// Counts in a row, before or after an outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InARow {
    /// 5xx.
    pub server_errors: u32,
    /// 502, 503, 504.
    pub gateway_errors: u32,
    /// Failures of our own making.
    pub local: u32,
}

/// Counts after an outcome, and the cause for ejection they give.
pub fn judge(before: InARow, outcome: Outcome, settings: &OutlierSettings) -> (InARow, Option<Cause>) {
    let split = settings.split_local_origin;
    let (status, local_failure) = match outcome {
        Outcome::Status(status) => (Some(status), Some(false)),
        Outcome::Connected | Outcome::Reached => (None, Some(false)),
        Outcome::NoResponse => ((!split).then_some(503), Some(true)),
        Outcome::TimedOut => ((!split).then_some(504), Some(true)),
    };
    let mut after = before;
    if let Some(status) = status {
        after.server_errors = if status >= 500 { before.server_errors + 1 } else { 0 };
        after.gateway_errors = if matches!(status, 502..=504) { before.gateway_errors + 1 } else { 0 };
    } else if outcome == Outcome::Connected && !split {
        (after.server_errors, after.gateway_errors) = (0, 0);
    }
    if let Some(failed) = local_failure.filter(|_| split) {
        after.local = if failed { before.local + 1 } else { 0 };
    }
    let reached = |count: u32, limit: u32| limit > 0 && count >= limit;
    let cause =
        if reached(after.server_errors, settings.consecutive_5xx) && settings.enforcing.consecutive_5xx > 0 {
            Some(Cause::Consecutive5xx)
        } else if reached(after.gateway_errors, settings.consecutive_gateway_failure)
            && settings.enforcing.consecutive_gateway_failure > 0
        {
            Some(Cause::ConsecutiveGatewayFailure)
        } else if reached(after.local, settings.consecutive_local_origin_failure)
            && settings.enforcing.consecutive_local_origin_failure > 0
        {
            Some(Cause::ConsecutiveLocalOriginFailure)
        } else {
            None
        };
    (after, cause)
}

/// Whether one more of `total` hosts may be ejected when `ejected` already are.
pub fn may_eject(ejected: usize, total: usize, settings: &OutlierSettings) -> bool {
    if settings.always_eject_one && ejected == 0 {
        return total > 0;
    }
    let limit = u64::from(settings.max_ejection_percent);
    // Envoy compares the share before this ejection, so that at least one host can be ejected
    // unless the limit is zero.
    total > 0 && (ejected as u64) * 100 < limit * (total as u64)
}

/// How long the `count`-th ejection in a row lasts.
pub fn ejection_time(count: u32, settings: &OutlierSettings) -> Duration {
    settings.base_ejection_time.saturating_mul(count.max(1)).min(settings.max_ejection_time)
}

/// Which hosts' success rates are too low: below the mean by more than the factor times the
/// standard deviation. `rates` are in percent.
pub fn below_mean(rates: &[f64], stdev_factor: u32) -> Vec<bool> {
    let count = rates.len() as f64;
    if rates.is_empty() {
        return Vec::new();
    }
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
    let threshold = mean - variance.sqrt() * f64::from(stdev_factor) / 1000.0;
    rates.iter().map(|rate| *rate < threshold).collect()
}

/// Takes the outcome of an attempt at `host`, and ejects the host where that makes it an outlier.
pub fn report(cluster: &Arc<Cluster>, host: &Arc<Host>, outcome: Outcome) {
    let good = matches!(outcome, Outcome::Connected | Outcome::Reached | Outcome::Status(..500));
    if !good {
        host.state.failures.fetch_add(1, Ordering::Relaxed);
    }
    let Some(settings) = &cluster.settings().outlier else { return };
    let state = &host.state.outlier;
    if settings.sweeps() && !matches!(outcome, Outcome::Connected | Outcome::Reached) {
        state.interval_total.fetch_add(1, Ordering::Relaxed);
        state.interval_success.fetch_add(u64::from(good), Ordering::Relaxed);
    }
    let before = InARow {
        server_errors: state.consecutive_5xx.load(Ordering::Relaxed),
        gateway_errors: state.consecutive_gateway.load(Ordering::Relaxed),
        local: state.consecutive_local.load(Ordering::Relaxed),
    };
    let (after, cause) = judge(before, outcome, settings);
    if after != before {
        // Two workers may count the same failure once; a host that keeps failing is found anyway.
        state.consecutive_5xx.store(after.server_errors, Ordering::Relaxed);
        state.consecutive_gateway.store(after.gateway_errors, Ordering::Relaxed);
        state.consecutive_local.store(after.local, Ordering::Relaxed);
    }
    if let Some(cause) = cause {
        let chance = match cause {
            Cause::Consecutive5xx => settings.enforcing.consecutive_5xx,
            Cause::ConsecutiveGatewayFailure => settings.enforcing.consecutive_gateway_failure,
            Cause::ConsecutiveLocalOriginFailure => settings.enforcing.consecutive_local_origin_failure,
        };
        if chance >= 100 || rand::random_range(0..100) < chance {
            eject(cluster, host, settings, &format!("{cause:?}"));
        }
    }
}

/// Ejects a host if the cluster may spare it, and arranges its return.
fn eject(cluster: &Arc<Cluster>, host: &Arc<Host>, settings: &OutlierSettings, cause: &str) {
    let state = &host.state.outlier;
    let hosts = cluster.hosts();
    let ejected = hosts.iter().filter(|host| host.state.outlier.is_ejected()).count();
    if !may_eject(ejected, hosts.len(), settings) || state.ejected.swap(true, Ordering::AcqRel) {
        return;
    }
    for counter in [&state.consecutive_5xx, &state.consecutive_gateway, &state.consecutive_local] {
        counter.store(0, Ordering::Relaxed);
    }
    let count = state.ejections.fetch_add(1, Ordering::AcqRel) + 1;
    let time = ejection_time(count, settings);
    tracing::info!(cluster = %cluster.name(), host = %host.address, "ejected for {time:?} ({cause})");
    cluster.rebalance();
    cluster.ejections_active(1);
    let (back, host, interval) = (Arc::downgrade(cluster), Arc::clone(host), settings.interval);
    cluster.control.spawn(async move {
        tokio::time::sleep(time).await;
        host.state.outlier.ejected.store(false, Ordering::Release);
        if let Some(cluster) = back.upgrade() {
            cluster.ejections_active(-1);
            cluster.rebalance();
            tracing::info!(cluster = %cluster.name(), host = %host.address, "takes traffic again");
        }
        // One interval without a new ejection makes the next one shorter again.
        while host.state.outlier.ejections.load(Ordering::Acquire) > 0 && back.strong_count() > 0 {
            tokio::time::sleep(interval).await;
            if host.state.outlier.is_ejected() {
                return;
            }
            host.state.outlier.ejections.fetch_sub(1, Ordering::AcqRel);
        }
    });
}

/// Sweeps a cluster every interval, where success rate or failure percentage are in use.
pub(super) fn start_sweeps(cluster: &Arc<Cluster>) {
    let Some(settings) = cluster.settings().outlier.clone().filter(OutlierSettings::sweeps) else { return };
    let weak = Arc::downgrade(cluster);
    cluster.control.spawn(async move {
        loop {
            tokio::time::sleep(settings.interval).await;
            let Some(cluster) = Weak::upgrade(&weak) else { return };
            sweep(&cluster, &settings);
        }
    });
}

fn sweep(cluster: &Arc<Cluster>, settings: &OutlierSettings) {
    let read: Vec<_> = cluster
        .hosts()
        .iter()
        .map(|host| {
            let total = host.state.outlier.interval_total.swap(0, Ordering::Relaxed);
            let success = host.state.outlier.interval_success.swap(0, Ordering::Relaxed).min(total);
            (Arc::clone(host), total, success as f64 * 100.0 / total.max(1) as f64)
        })
        .collect();
    let busy = |volume: u32| {
        read.iter().filter(move |(host, total, _)| {
            *total > 0 && *total >= u64::from(volume) && !host.state.outlier.is_ejected()
        })
    };
    let rates: Vec<_> = busy(settings.success_rate_request_volume).collect();
    if settings.enforcing.success_rate > 0 && rates.len() >= settings.success_rate_minimum_hosts as usize {
        let values: Vec<_> = rates.iter().map(|(_, _, rate)| *rate).collect();
        for ((host, ..), low) in rates.iter().zip(below_mean(&values, settings.success_rate_stdev_factor)) {
            if low && rand::random_range(0..100) < settings.enforcing.success_rate {
                eject(cluster, host, settings, "SuccessRate");
            }
        }
    }
    let shares: Vec<_> = busy(settings.failure_percentage_request_volume).collect();
    if settings.enforcing.failure_percentage > 0
        && shares.len() >= settings.failure_percentage_minimum_hosts as usize
    {
        for (host, _, rate) in shares {
            let failed = 100.0 - rate >= f64::from(settings.failure_percentage_threshold);
            if failed && rand::random_range(0..100) < settings.enforcing.failure_percentage {
                eject(cluster, host, settings, "FailurePercentage");
            }
        }
    }
}

#[cfg(test)]
#[path = "outlier_tests.rs"]
mod tests;
