use super::*;

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("pod")
}

#[test]
fn pods_without_a_node_and_without_gates_want_one() {
    assert!(wants_node(&pod(json!({"containers": []}))));
    assert!(!wants_node(&pod(json!({"containers": [], "nodeName": "mizzen"}))));
    assert!(!wants_node(&pod(json!({"containers": [], "schedulingGates": [{"name": "wait"}]}))));
    assert!(!wants_node(&pod(json!({"containers": [], "schedulerName": "other"}))));
}

#[test]
fn a_cordoned_or_different_node_is_refused() {
    let node = |spec: serde_json::Value| -> Node {
        let labels = json!({"kubernetes.io/os": "linux"});
        serde_json::from_value(json!({"metadata": {"name": "mizzen", "labels": labels}, "spec": spec}))
            .expect("node")
    };
    let plain = pod(json!({"containers": [], "nodeSelector": {"kubernetes.io/os": "linux"}}));
    assert_eq!(fits(&plain, &node(json!({}))), Ok(()));
    assert!(fits(&plain, &node(json!({"unschedulable": true}))).is_err());
    let picky = pod(json!({"containers": [], "nodeSelector": {"disk": "ssd"}}));
    assert!(fits(&picky, &node(json!({}))).is_err());
}
