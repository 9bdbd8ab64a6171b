//! What a DestinationRule says of a cluster besides TLS: balancing, limits, ejection.

use std::time::Duration;

use mizzen_api::networking::{ConsistentHash, OutlierDetection, SimpleLoadBalancer};

use crate::{
    envoy::{self as e, cluster as pb, core, types, wkt},
    traffic_policy::ClusterPolicy,
};

/// Asks DNS as often as its answers say; how names are resolved is set on the cluster itself, which both
/// Envoy and older proxies read.
#[allow(deprecated)]
pub(super) fn resolve(cluster: &mut pb::Cluster, failure_refresh: Duration) {
    cluster.dns_lookup_family = pb::cluster::DnsLookupFamily::V4Only as i32;
    cluster.respect_dns_ttl = true;
    cluster.dns_refresh_rate = Some(e::duration(failure_refresh));
}

pub(super) fn balance(cluster: &mut pb::Cluster, policy: &ClusterPolicy) {
    let balancer = policy.load_balancer.clone().unwrap_or_default();
    if let Some(hash) = &balancer.consistent_hash {
        consistent(cluster, hash);
        return;
    }
    let slow_start = balancer
        .warmup
        .as_ref()
        .map(|warmup| (warmup.duration.as_std(), warmup.minimum_percent, warmup.aggression))
        .or_else(|| balancer.warmup_duration_secs.map(|window| (window.as_std(), None, None)))
        .map(|(window, minimum, aggression)| pb::cluster::SlowStartConfig {
            slow_start_window: Some(e::duration(window)),
            aggression: Some(core::RuntimeDouble {
                default_value: aggression.unwrap_or(1.0),
                runtime_key: String::new(),
            }),
            min_weight_percent: Some(types::Percent { value: minimum.unwrap_or(10.0) }),
        });
    let policy = match balancer.simple.unwrap_or_default() {
        SimpleLoadBalancer::RoundRobin => {
            cluster.lb_config = slow_start.map(|slow_start| {
                pb::cluster::LbConfig::RoundRobinLbConfig(pb::cluster::RoundRobinLbConfig {
                    slow_start_config: Some(slow_start),
                })
            });
            pb::cluster::LbPolicy::RoundRobin
        }
        SimpleLoadBalancer::Random => pb::cluster::LbPolicy::Random,
        SimpleLoadBalancer::Unspecified
        | SimpleLoadBalancer::LeastConn
        | SimpleLoadBalancer::LeastRequest
        | SimpleLoadBalancer::Passthrough => {
            cluster.lb_config = slow_start.map(|slow_start| {
                pb::cluster::LbConfig::LeastRequestLbConfig(pb::cluster::LeastRequestLbConfig {
                    slow_start_config: Some(slow_start),
                    ..Default::default()
                })
            });
            pb::cluster::LbPolicy::LeastRequest
        }
    };
    cluster.lb_policy = policy as i32;
    if let Some(setting) = &balancer.locality_lb_setting
        && !setting.distribute.is_empty()
    {
        let config = cluster.common_lb_config.get_or_insert_default();
        config.locality_config_specifier =
            Some(pb::cluster::common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig(
                pb::cluster::common_lb_config::LocalityWeightedLbConfig {},
            ));
    }
}

fn consistent(cluster: &mut pb::Cluster, hash: &ConsistentHash) {
    if let Some(maglev) = &hash.maglev {
        cluster.lb_policy = pb::cluster::LbPolicy::Maglev as i32;
        cluster.lb_config = maglev.table_size.map(|size| {
            pb::cluster::LbConfig::MaglevLbConfig(pb::cluster::MaglevLbConfig {
                table_size: Some(wkt::UInt64Value { value: size }),
            })
        });
        return;
    }
    let minimum = hash.ring_hash.as_ref().and_then(|ring| ring.minimum_ring_size).or(hash.minimum_ring_size);
    cluster.lb_policy = pb::cluster::LbPolicy::RingHash as i32;
    cluster.lb_config = Some(pb::cluster::LbConfig::RingHashLbConfig(pb::cluster::RingHashLbConfig {
        minimum_ring_size: Some(wkt::UInt64Value { value: minimum.unwrap_or(1024) }),
        ..Default::default()
    }));
}

/// Limits of connections and requests. Without a rule there are none: the mesh does not guess.
pub(super) fn limit(cluster: &mut pb::Cluster, policy: &ClusterPolicy) {
    let pool = policy.connection_pool.clone().unwrap_or_default();
    let (tcp, http) = (pool.tcp.unwrap_or_default(), pool.http.unwrap_or_default());
    let or_unlimited =
        |limit: Option<u32>| Some(e::uint32(limit.filter(|limit| *limit > 0).unwrap_or(u32::MAX)));
    let retry_budget =
        policy.retry_budget.as_ref().map(|budget| pb::circuit_breakers::thresholds::RetryBudget {
            budget_percent: Some(types::Percent { value: budget.percent.unwrap_or(20.0) }),
            min_retry_concurrency: Some(e::uint32(budget.min_retry_concurrency.unwrap_or(3))),
            budget_interval: budget.budget_interval.map(|interval| e::duration(interval.as_std())),
        });
    cluster.circuit_breakers = Some(pb::CircuitBreakers {
        thresholds: vec![pb::circuit_breakers::Thresholds {
            max_connections: or_unlimited(tcp.max_connections),
            max_pending_requests: or_unlimited(http.http1_max_pending_requests),
            max_requests: or_unlimited(http.http2_max_requests),
            max_retries: or_unlimited(http.max_retries),
            retry_budget,
            track_remaining: true,
            ..Default::default()
        }],
        ..Default::default()
    });
    if let Some(timeout) = tcp.connect_timeout {
        cluster.connect_timeout = Some(e::duration(timeout.as_std()));
    }
    if let Some(keepalive) = tcp.tcp_keepalive {
        let seconds = |length: mizzen_api::Duration| {
            e::uint32(u32::try_from(length.as_std().as_secs()).unwrap_or(u32::MAX))
        };
        cluster.upstream_connection_options = Some(pb::UpstreamConnectionOptions {
            tcp_keepalive: Some(core::TcpKeepalive {
                keepalive_probes: keepalive.probes.map(e::uint32),
                keepalive_time: keepalive.time.map(seconds),
                keepalive_interval: keepalive.interval.map(seconds),
            }),
            ..Default::default()
        });
    }
}

/// Ejects endpoints that fail. Success rates are not looked at; Istio has no setting for them.
pub(super) fn eject(cluster: &mut pb::Cluster, detection: &OutlierDetection) {
    let length = |length: Option<mizzen_api::Duration>| length.map(|length| e::duration(length.as_std()));
    let legacy = detection.consecutive_errors;
    let gateway = detection.consecutive_gateway_errors.or(legacy);
    let local = detection.consecutive_local_origin_failures;
    let enforce = |limit: Option<u32>| limit.map(|limit| e::uint32(if limit > 0 { 100 } else { 0 }));
    cluster.outlier_detection = Some(pb::OutlierDetection {
        consecutive_5xx: detection.consecutive_5xx_errors.map(e::uint32),
        enforcing_consecutive_5xx: enforce(detection.consecutive_5xx_errors),
        consecutive_gateway_failure: gateway.map(e::uint32),
        enforcing_consecutive_gateway_failure: enforce(gateway),
        interval: length(detection.interval),
        base_ejection_time: length(detection.base_ejection_time),
        max_ejection_percent: detection.max_ejection_percent.map(e::uint32),
        enforcing_success_rate: Some(e::uint32(0)),
        split_external_local_origin_errors: detection.split_external_local_origin_errors,
        consecutive_local_origin_failure: local.map(e::uint32),
        enforcing_consecutive_local_origin_failure: local.map(|_| e::uint32(100)),
        enforcing_local_origin_success_rate: detection
            .split_external_local_origin_errors
            .then(|| e::uint32(0)),
        ..Default::default()
    });
    // Below this share of healthy endpoints all are used again. Zero, unless asked for: ejected stays ejected.
    let minimum = f64::from(detection.min_health_percent.unwrap_or_default());
    cluster.common_lb_config.get_or_insert_default().healthy_panic_threshold =
        Some(types::Percent { value: minimum });
}
