//! What is tried again. Source: Istio, `pilot/pkg/networking/core/route/retry/retry.go`.

use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use mizzen_api::networking::HttpRetry;

use crate::envoy::{self as e, route as pb};

/// What is tried again where nothing is said.
const DEFAULT_CONDITIONS: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
/// How often, besides the first attempt.
const DEFAULT_ATTEMPTS: u32 = 2;
/// How often another endpoint is looked for that was not tried yet.
const HOST_SELECTION_ATTEMPTS: i64 = 5;

/// The retries of a route: its own, else the mesh's, else Istio's. None where they are switched off.
pub(crate) fn policy(
    own: Option<&HttpRetry>,
    of_mesh: Option<&HttpRetry>,
    hashed: bool,
) -> Option<pb::RetryPolicy> {
    let Some(settings) = own.or(of_mesh) else { return Some(default(hashed)) };
    if settings.attempts == 0 {
        return None;
    }
    let mut policy = default(hashed);
    policy.num_retries = Some(e::uint32(settings.attempts));
    if let Some(conditions) = settings.retry_on.as_deref().filter(|conditions| !conditions.is_empty()) {
        let (conditions, codes) = conditions_and_codes(conditions);
        policy.retry_on = conditions;
        policy.retriable_status_codes = codes;
    }
    policy.per_try_timeout = settings.per_try_timeout.map(|timeout| e::duration(timeout.as_std()));
    policy.retry_back_off = settings.backoff.map(|base| pb::retry_policy::RetryBackOff {
        base_interval: Some(e::duration(base.as_std())),
        ..Default::default()
    });
    if settings.retry_ignore_previous_hosts == Some(false) {
        policy.retry_host_predicate.clear();
        policy.host_selection_retry_max_attempts = 0;
    }
    if settings.retry_remote_localities == Some(true) {
        use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
        policy.retry_priority = Some(pb::retry_policy::RetryPriority {
            name: "envoy.retry_priorities.previous_priorities".to_owned(),
            config_type: Some(pb::retry_policy::retry_priority::ConfigType::TypedConfig(e::any(
                &PreviousPrioritiesConfig { update_frequency: 2 },
            ))),
        });
    }
    Some(policy)
}

fn default(hashed: bool) -> pb::RetryPolicy {
    // The same request hashes to the same endpoint, so looking for another one would be in vain.
    let (predicates, attempts) = if hashed {
        (Vec::new(), 0)
    } else {
        let predicate = pb::retry_policy::RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(pb::retry_policy::retry_host_predicate::ConfigType::TypedConfig(e::any(
                &PreviousHostsPredicate {},
            ))),
        };
        (vec![predicate], HOST_SELECTION_ATTEMPTS)
    };
    pb::RetryPolicy {
        retry_on: DEFAULT_CONDITIONS.to_owned(),
        num_retries: Some(e::uint32(DEFAULT_ATTEMPTS)),
        retry_host_predicate: predicates,
        host_selection_retry_max_attempts: attempts,
        ..Default::default()
    }
}

/// Splits status codes from conditions: `503,reset` is `reset,retriable-status-codes` and 503.
fn conditions_and_codes(text: &str) -> (String, Vec<u32>) {
    const BY_CODE: &str = "retriable-status-codes";
    let mut conditions = Vec::new();
    let mut codes = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse::<u32>() {
            Ok(code) => codes.push(code),
            Err(_) => conditions.push(part),
        }
    }
    if !codes.is_empty() && !conditions.contains(&BY_CODE) {
        conditions.push(BY_CODE);
    }
    (conditions.join(","), codes)
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
