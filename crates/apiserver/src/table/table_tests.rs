use serde_json::json;

use super::*;
use crate::resources::Catalogue;

fn row(group: &str, plural: &str, object: &Value) -> Vec<String> {
    let catalogue = Catalogue::new(&[], None);
    let table = of_one(catalogue.find(group, "v1", plural).unwrap(), object, false);
    let cells = table["rows"][0]["cells"].as_array().unwrap().iter();
    cells.map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)).collect()
}

fn pod(status: Value) -> Value {
    json!({
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "app"}], "initContainers": [
            {"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"},
        ]},
        "status": status,
    })
}

#[test]
fn a_pods_status_is_the_word_kubectl_prints() {
    for (status, ready, word) in [
        (json!({"phase": "Pending"}), "0/2", "Pending"),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "setup", "state": {"running": {}}}]}),
            "0/2",
            "Init:0/2",
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "setup", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
            "0/2",
            "Init:Error",
        ),
        (
            json!({
                "phase": "Running",
                "initContainerStatuses": [
                    {"name": "setup", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "proxy", "started": true, "ready": true, "state": {"running": {}}},
                ],
                "containerStatuses": [{"name": "app", "ready": true, "state": {"running": {}}}],
            }),
            "2/2",
            "Running",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [
                {"name": "app", "ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            ]}),
            "0/2",
            "CrashLoopBackOff",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [
                {"name": "app", "state": {"terminated": {"exitCode": 137, "signal": 9}}},
            ]}),
            "0/2",
            "Signal:9",
        ),
    ] {
        let row = row("", "pods", &pod(status.clone()));
        assert_eq!((row[1].as_str(), row[2].as_str()), (ready, word), "{status}");
    }
    let mut going = pod(json!({"phase": "Running"}));
    object::set(&mut going, &["metadata", "deletionTimestamp"], "2020-01-01T00:00:00Z");
    assert_eq!(row("", "pods", &going)[2], "Terminating");
}

#[test]
fn services_show_addresses_and_ports() {
    let service = json!({
        "metadata": {"name": "s"},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9", "selector": {"b": "2", "a": "1"},
                 "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}},
    });
    let row = row("", "services", &service);
    assert_eq!(row[1..5], ["LoadBalancer", "10.96.0.9", "127.0.0.1", "80:30080/TCP,53/UDP"]);
    assert_eq!(row[6], "a=1,b=2");
}

#[test]
fn custom_columns_follow_their_paths() {
    let object = json!({
        "spec": {"hosts": ["a", "b"], "n": 3, "deep": {"x.y": "dotted"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
    });
    let found = |path: &str| custom::find(&object, path).into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(found(".spec.hosts"), [json!(["a", "b"])]);
    assert_eq!(found(".spec.hosts[1]"), [json!("b")]);
    assert_eq!(found(".spec.hosts[-1]"), [json!("b")]);
    assert_eq!(found(".spec.hosts[*]"), [json!("a"), json!("b")]);
    assert_eq!(found(".status.conditions[?(@.type=='Ready')].status"), [json!("True")]);
    assert_eq!(found(".status.conditions[?(@.type==\"Other\")].status"), [json!("False")]);
    assert_eq!(found(r".spec.deep.x\.y"), [json!("dotted")]);
    assert_eq!(found(".spec.deep['x.y']"), [json!("dotted")]);
    for broken in ["", "spec", ".spec..x", ".spec[", ".spec[?(x)]"] {
        assert!(found(broken).is_empty() || broken.is_empty(), "{broken}");
    }
}

#[test]
fn every_row_has_as_many_cells_as_there_are_columns() {
    let catalogue = Catalogue::new(&[], None);
    for resource in
        catalogue.groups.iter().flat_map(|group| &group.versions).flat_map(|version| &version.resources)
    {
        let table = of_one(resource, &json!({}), false);
        let columns = table["columnDefinitions"].as_array().unwrap().len();
        assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), columns, "{}", resource.plural);
    }
}
