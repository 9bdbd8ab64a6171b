use super::*;

/// Istio's default conditions.
const ISTIO: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

fn policy(words: &str) -> RetryPolicy {
    let mut policy = RetryPolicy { attempts: 2, ..RetryPolicy::default() };
    policy.add_conditions(words).unwrap();
    policy
}

fn response(status: u16, grpc_status: Option<u8>, headers: &HeaderMap) -> Attempt<'_> {
    Attempt::Response { status: StatusCode::from_u16(status).unwrap(), headers, grpc_status }
}

#[test]
fn istios_default_retries_what_was_not_processed() {
    let policy = policy(ISTIO);
    let none = HeaderMap::new();
    assert!(policy.wants(&Attempt::ConnectFailed));
    assert!(policy.wants(&Attempt::Refused));
    assert!(policy.wants(&response(200, Some(14), &none)));
    assert!(!policy.wants(&response(503, None, &none)), "503 may have had an effect");
    assert!(!policy.wants(&Attempt::Reset { unsent: false }));
    assert!(policy.wants(&Attempt::Reset { unsent: true }));
    assert!(!policy.wants(&Attempt::TimedOut));
}

#[test]
fn words_mean_what_envoy_says() {
    let none = HeaderMap::new();
    for (words, attempt, wanted) in [
        ("5xx", response(500, None, &none), true),
        ("5xx", response(404, None, &none), false),
        ("gateway-error", response(503, None, &none), true),
        ("gateway-error", response(500, None, &none), false),
        ("retriable-4xx", response(409, None, &none), true),
        ("503,429", response(429, None, &none), true),
        ("503", response(502, None, &none), false),
        ("reset", Attempt::Reset { unsent: false }, true),
        ("reset-before-request", Attempt::Reset { unsent: false }, false),
        ("reset-before-request", Attempt::Reset { unsent: true }, true),
        ("deadline-exceeded", response(200, Some(4), &none), true),
        ("5xx", Attempt::TimedOut, true),
        ("connect-failure", Attempt::TimedOut, false),
        ("5xx", Attempt::Overflow, false),
    ] {
        assert_eq!(policy(words).wants(&attempt), wanted, "{words} {attempt:?}");
    }
}

#[test]
fn unknown_words_are_refused() {
    assert!(RetryPolicy::default().add_conditions("5xx,whenever").is_err());
}

#[test]
fn back_off_grows_up_to_its_limit() {
    let policy = policy("5xx");
    assert!(policy.back_off(1, u64::MAX) < Duration::from_millis(25));
    assert!(policy.back_off(1, u64::MAX) > Duration::from_millis(24));
    assert!(policy.back_off(2, u64::MAX) > Duration::from_millis(74));
    assert!(policy.back_off(19, u64::MAX) <= Duration::from_millis(250));
    assert_eq!(policy.back_off(3, 0), Duration::ZERO);
}
