use super::*;

#[test]
fn nothing_said_means_two_more_attempts_on_another_endpoint() {
    let policy = policy(None, None, false).unwrap();
    assert_eq!(policy.num_retries.unwrap().value, 2);
    assert_eq!(
        policy.retry_on,
        "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
    );
    assert_eq!(policy.host_selection_retry_max_attempts, 5);
    assert_eq!(policy.retry_host_predicate[0].name, "envoy.retry_host_predicates.previous_hosts");
    assert!(policy.retriable_status_codes.is_empty());
}

#[test]
fn zero_attempts_switch_retries_off() {
    assert!(policy(Some(&HttpRetry { attempts: 0, ..HttpRetry::default() }), None, false).is_none());
}

#[test]
fn numbers_among_the_conditions_are_status_codes() {
    let own = HttpRetry { attempts: 3, retry_on: Some("reset, 503,504".to_owned()), ..HttpRetry::default() };
    let policy = policy(Some(&own), None, false).unwrap();
    assert_eq!(policy.retry_on, "reset,retriable-status-codes");
    assert_eq!(policy.retriable_status_codes, [503, 504]);
}

#[test]
fn a_hashed_request_is_not_sent_looking_for_another_endpoint() {
    let policy = policy(None, None, true).unwrap();
    assert!(policy.retry_host_predicate.is_empty());
    assert_eq!(policy.host_selection_retry_max_attempts, 0);
}
