use super::*;
use envoy_types::pb::google::protobuf::UInt32Value;

fn breaker(requests: Option<u32>) -> Breaker {
    let max_requests = requests.map(|value| UInt32Value { value });
    let thresholds = Thresholds { max_requests, ..Thresholds::default() };
    Breaker::compile(Some(&CircuitBreakers { thresholds: vec![thresholds], per_host_thresholds: Vec::new() }))
}

#[test]
fn a_full_breaker_refuses_until_a_place_is_given_back() {
    let breaker = breaker(Some(2));
    assert!(breaker.try_take(Resource::Requests));
    assert!(breaker.try_take(Resource::Requests));
    assert!(!breaker.try_take(Resource::Requests));
    assert!(breaker.is_open(Resource::Requests));
    breaker.give_back(Resource::Requests);
    assert!(breaker.try_take(Resource::Requests));
}

#[test]
fn without_a_limit_nothing_is_counted() {
    let breaker = breaker(Some(u32::MAX));
    assert!(breaker.try_take(Resource::Requests));
    assert_eq!(breaker.requests.used.load(Ordering::Relaxed), 0);
}

#[test]
fn defaults_are_those_of_envoy() {
    let breaker = Breaker::compile(None);
    assert_eq!((breaker.connections.limit, breaker.retries.limit), (1024, 3));
}

#[test]
fn a_budget_grows_with_the_traffic() {
    let budget = RetryBudget { percent: 20.0, minimum: 3 };
    assert_eq!((budget.allows(0), budget.allows(15), budget.allows(100)), (3, 3, 20));
}
