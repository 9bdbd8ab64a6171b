use super::*;
use serde_json::json;

fn of(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    let entries: Vec<Value> =
        pairs.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    statistics(&json!({"stats": entries})).expect("statistics")
}

#[test]
fn envoy_is_ready_when_it_is_live_and_has_clusters_and_listeners() {
    let whole = [
        ("server.state", 0),
        ("listener_manager.workers_started", 1),
        ("cluster_manager.cds.update_success", 2),
        ("listener_manager.lds.update_success", 1),
    ];
    assert!(is_ready(&of(&whole)));
    for (index, _) in whole.iter().enumerate() {
        let mut part = whole.to_vec();
        part.remove(index);
        assert!(!is_ready(&of(&part)), "{part:?}");
    }
    let mut starting = whole;
    starting[0].1 = 2;
    assert!(!is_ready(&of(&starting)));
}

#[test]
fn an_answer_without_statistics_is_an_error() {
    assert!(statistics(&json!({})).is_err());
}
