//! What makes the choice of an endpoint valid.

use super::findings::Findings;
use crate::{
    duration::Duration,
    networking::{ConsistentHash, LoadBalancer, LocalityLoadBalancer},
};

/// The most entries Envoy's ring takes.
const LARGEST_RING: u64 = 8 * 1024 * 1024;
/// The most entries Envoy's Maglev table takes.
const LARGEST_TABLE: u64 = 5_000_011;

pub(super) fn check(
    balancer: &LoadBalancer,
    has_outlier_detection: bool,
    path: &str,
    findings: &mut Findings,
) {
    if *balancer == LoadBalancer::default() {
        findings.error(path, "is empty; set simple or consistentHash");
    }
    if let Some(hash) = &balancer.consistent_hash {
        check_consistent_hash(hash, &format!("{path}.consistentHash"), findings);
    }
    if let Some(locality) = &balancer.locality_lb_setting {
        check_locality(locality, has_outlier_detection, &format!("{path}.localityLbSetting"), findings);
    }
    if balancer.locality_lb_setting.is_some() && balancer.zone_aware_lb_setting.is_some() {
        findings.error(path, "has localityLbSetting and zoneAwareLbSetting set; only one of them can be");
    }
    if balancer.warmup.is_some() && balancer.warmup_duration_secs.is_some() {
        findings.error(path, "has warmup and warmupDurationSecs set; use warmup only");
    }
    if let Some(warmup) = &balancer.warmup {
        if warmup.duration < Duration::from_secs(1) {
            findings.error(format!("{path}.warmup.duration"), "must be at least 1s");
        }
        if warmup.aggression.is_some_and(|aggression| aggression < 1.0) {
            findings
                .error(format!("{path}.warmup.aggression"), "must be at least 1, which is a straight line");
        }
    }
}

fn check_consistent_hash(hash: &ConsistentHash, path: &str, findings: &mut Findings) {
    let by_address = hash.use_source_ip == Some(true);
    if !by_address
        && hash.http_header_name.is_none()
        && hash.http_cookie.is_none()
        && hash.http_query_parameter_name.is_none()
    {
        let message = "does not say what is hashed; set httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName";
        findings.error(path, message);
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        findings.error(path, "has ringHash and maglev set; only one of them can be");
    }
    let ring = hash.ring_hash.as_ref().and_then(|ring| ring.minimum_ring_size).or(hash.minimum_ring_size);
    if let Some(size) = ring.filter(|size| *size > LARGEST_RING) {
        findings.error(
            format!("{path}.ringHash.minimumRingSize"),
            format!("{size} is too large; the most is {LARGEST_RING}"),
        );
    }
    if let Some(size) = hash.maglev.as_ref().and_then(|maglev| maglev.table_size)
        && (size > LARGEST_TABLE || !is_prime(size))
    {
        let message = format!("{size} is not a prime of at most {LARGEST_TABLE}; the default is 65537");
        findings.error(format!("{path}.maglev.tableSize"), message);
    }
}

fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

fn check_locality(
    locality: &LocalityLoadBalancer,
    has_outlier_detection: bool,
    path: &str,
    findings: &mut Findings,
) {
    let fails_over = !locality.failover.is_empty() || !locality.failover_priority.is_empty();
    if !locality.distribute.is_empty() && fails_over {
        findings.error(path, "has distribute and failover set; only one of them can be");
    }
    for (index, rule) in locality.distribute.iter().enumerate() {
        let path = format!("{path}.distribute[{index}]");
        check_place(&rule.from, &format!("{path}.from"), findings);
        for place in rule.to.keys() {
            check_place(place, &format!("{path}.to[{place}]"), findings);
        }
        let sum: u64 = rule.to.values().copied().map(u64::from).sum();
        if sum != 100 {
            findings.error(format!("{path}.to"), format!("the shares sum to {sum}; they must sum to 100"));
        }
    }
    findings.unique(
        &locality.distribute,
        |rule| Some(rule.from.clone()),
        |i| format!("{path}.distribute[{i}].from"),
        "the place",
    );
    for (index, rule) in locality.failover.iter().enumerate() {
        let path = format!("{path}.failover[{index}]");
        if rule.from.is_empty() || rule.to.is_empty() || rule.from == rule.to {
            findings.error(&path, "from and to must be two different regions");
        }
        if rule.from.contains('/') || rule.to.contains('/') {
            findings.error(&path, "from and to are regions, without zone");
        }
    }
    if fails_over && !has_outlier_detection {
        let message = "has no effect without outlierDetection, which is what finds out that a place fails";
        findings.warning(path, message);
    }
}

/// A place is `region`, `region/zone` or `region/zone/subzone`; the last part may be `*`.
fn check_place(place: &str, path: &str, findings: &mut Findings) {
    let parts: Vec<_> = place.split('/').collect();
    let last = parts.len().saturating_sub(1);
    let valid = parts.len() <= 3
        && parts.iter().enumerate().all(|(index, part)| {
            !part.is_empty() && (!part.contains('*') || (*part == "*" && index == last))
        });
    if !valid {
        findings.error(
            path,
            format!("{place:?} is not a place; write REGION/ZONE/SUBZONE, with * for all at the end"),
        );
    }
}
