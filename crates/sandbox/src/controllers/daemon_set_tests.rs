use super::*;
use serde_json::json;

fn spec(update: serde_json::Value) -> DaemonSetSpec {
    serde_json::from_value(
        json!({"selector": {"matchLabels": {"app": "log"}}, "template": {}, "updateStrategy": update}),
    )
    .expect("a spec")
}

fn pod(name: &str, node: &str, revision: &str) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"controller-revision-hash": revision}},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .expect("a pod"),
    )
}

fn plan(update: serde_json::Value, pods: &[Arc<Pod>]) -> (Vec<String>, Vec<String>) {
    let nodes = ["one".to_owned(), "two".to_owned()];
    let plan = plan_daemon_set(&spec(update), &nodes, pods, "new", Timestamp::UNIX_EPOCH).expect("a plan");
    (plan.create_on, plan.delete.iter().filter_map(|pod| pod.metadata.name.clone()).collect())
}

#[test]
fn every_node_gets_one_pod_and_no_more() {
    let pods = [pod("a", "one", "new"), pod("b", "one", "new"), pod("c", "gone", "new")];
    assert_eq!(plan(json!({}), &pods), (vec!["two".into()], vec!["b".into(), "c".into()]));
}

#[test]
fn outdated_pods_go_one_at_a_time_or_never() {
    let pods = [pod("a", "one", "old"), pod("b", "two", "old")];
    assert_eq!(plan(json!({}), &pods), (vec![], vec!["a".into()]));
    assert_eq!(plan(json!({"type": "OnDelete"}), &pods), (vec![], vec![]));
}

#[test]
fn surge_is_refused_by_name() {
    let update = json!({"rollingUpdate": {"maxSurge": 1}});
    let refusal =
        plan_daemon_set(&spec(update), &["one".to_owned()], &[], "new", Timestamp::UNIX_EPOCH).err();
    assert!(refusal.expect("refused").to_string().contains("maxSurge"));
}
