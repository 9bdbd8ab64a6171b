use super::*;
use std::time::Duration;

fn set() -> ReplicaSet {
    serde_json::from_value(json!({
        "metadata": {"name": "payments-abc", "namespace": "default", "generation": 3},
        "spec": {"replicas": 2, "minReadySeconds": 10, "selector": {"matchLabels": {"app": "payments"}},
            "template": {"metadata": {"labels": {"app": "payments"}}}},
    }))
    .expect("a replica set")
}

fn pod(labels: serde_json::Value, ready_since: Option<&str>) -> Arc<Pod> {
    let conditions = ready_since
        .map_or(json!([]), |since| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]));
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": labels},
            "status": {"phase": "Running", "conditions": conditions},
        }))
        .expect("a pod"),
    )
}

#[test]
fn the_status_counts_and_asks_for_a_look_when_a_ready_pod_becomes_available() {
    let now: Timestamp = "2026-01-01T00:00:12Z".parse().expect("a time");
    let pods = [
        pod(json!({"app": "payments"}), Some("2026-01-01T00:00:00Z")),
        pod(json!({"app": "payments"}), Some("2026-01-01T00:00:05Z")),
        pod(json!({}), None),
    ];
    let (status, next) = status_of(&set(), &pods, None, false, now);
    assert_eq!((status.replicas, status.fully_labeled_replicas), (3, Some(2)));
    assert_eq!((status.ready_replicas, status.available_replicas), (Some(2), Some(1)));
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(next, Next::After(Duration::from_secs(3)));
}

#[test]
fn a_failure_is_told_with_the_time_it_began() {
    let mut set = set();
    let began: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let later: Timestamp = "2026-01-01T00:01:00Z".parse().expect("a time");
    set.status = Some(status_of(&set, &[], Some("webhook down"), false, began).0);
    let (status, _) = status_of(&set, &[], Some("webhook still down"), false, later);
    let condition =
        status.conditions.and_then(|conditions| conditions.into_iter().next()).expect("a condition");
    assert_eq!(condition.reason.as_deref(), Some("FailedCreate"));
    assert_eq!(condition.message.as_deref(), Some("webhook still down"));
    assert_eq!(condition.last_transition_time, Some(Time(began)));
}
