use super::*;
use serde_json::json;

fn pod(phase: &str, scrape: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "a", "namespace": "default",
            "annotations": {"prometheus.io/scrape": scrape, "prometheus.io/port": "15020",
                            "prometheus.io/path": "/stats/prometheus"}},
        "status": {"phase": phase, "podIP": "10.244.0.9"}
    }))
    .expect("a pod")
}

#[test]
fn only_running_pods_that_ask_for_it_are_read() {
    let found = target(&pod("Running", "true")).expect("a target");
    assert_eq!((found.address.as_str(), found.path.as_str()), ("10.244.0.9:15020", "/stats/prometheus"));
    assert_eq!(target(&pod("Pending", "true")), None);
    assert_eq!(target(&pod("Running", "false")), None);
}
