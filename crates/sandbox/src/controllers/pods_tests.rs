use super::*;
use serde_json::json;
use std::sync::Arc;

fn pod(value: serde_json::Value) -> Arc<Pod> {
    Arc::new(serde_json::from_value(value).expect("a pod"))
}

fn ready_pod(name: &str, since: &str) -> Arc<Pod> {
    pod(json!({
        "metadata": {"name": name, "creationTimestamp": since},
        "spec": {"nodeName": "node", "containers": []},
        "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": since}]},
    }))
}

#[test]
fn a_pod_is_available_once_it_was_ready_long_enough() {
    let pod = ready_pod("a", "2026-01-01T00:00:00Z");
    let after = |seconds: i64| Timestamp::from_second(1_767_225_600 + seconds).expect("a time");
    assert_eq!(availability(&pod, 10, after(4)), Availability::In(Duration::from_secs(6)));
    assert_eq!(availability(&pod, 10, after(10)), Availability::Available);
    assert_eq!(availability(&pod, 0, after(0)), Availability::Available);
    let pending = self::pod(json!({"metadata": {"name": "b"}}));
    assert_eq!(availability(&pending, 0, after(0)), Availability::NotReady);
}

#[test]
fn pods_that_serve_nobody_are_deleted_first_then_the_youngest() {
    let unplaced = pod(json!({"metadata": {"name": "unplaced"}}));
    let not_ready =
        pod(json!({"metadata": {"name": "not-ready"}, "spec": {"nodeName": "node", "containers": []},
        "status": {"phase": "Running"}}));
    let costly = pod(json!({
        "metadata": {"name": "costly", "annotations": {"controller.kubernetes.io/pod-deletion-cost": "10"}},
        "spec": {"nodeName": "node", "containers": []},
        "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:09Z"}]},
    }));
    let mut pods = [
        ready_pod("old", "2026-01-01T00:00:00Z"),
        costly,
        ready_pod("young", "2026-01-01T00:00:05Z"),
        not_ready,
        unplaced,
    ];
    sort_for_deletion(&mut pods);
    let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    assert_eq!(names, ["unplaced", "not-ready", "young", "old", "costly"]);
}

#[test]
fn an_empty_selector_is_refused_by_name() {
    let refusal = LabelMatch::new(&LabelSelector::default()).err().expect("refused");
    assert!(refusal.contains("spec.selector"), "{refusal}");
}
