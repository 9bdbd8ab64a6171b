use serde_json::json;

use super::*;
use crate::resources::Catalogue;

fn errors(group: &str, plural: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    let catalogue = Catalogue::new(&[], None);
    let mut errors = Vec::new();
    violations(catalogue.find(group, "v1", plural).unwrap(), object, old, &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

fn deployment(selector: Value, labels: Value) -> Value {
    json!({"spec": {
        "replicas": 1,
        "selector": {"matchLabels": selector},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "x"}]}},
    }})
}

#[test]
fn a_deployments_selector_matches_its_template_and_stays() {
    let good = deployment(json!({"app": "a"}), json!({"app": "a"}));
    assert!(errors("apps", "deployments", &good, Some(&good)).is_empty());
    let astray = deployment(json!({"app": "a"}), json!({"app": "b"}));
    assert_eq!(
        errors("apps", "deployments", &astray, None),
        [
            "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`"
        ]
    );
    let moved = deployment(json!({"app": "b"}), json!({"app": "b"}));
    assert_eq!(
        errors("apps", "deployments", &moved, Some(&good)),
        ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable"]
    );
}

#[test]
fn pods_need_containers_with_names_images_and_mounted_volumes() {
    let pod = json!({"spec": {"containers": [
        {"name": "Bad_Name", "ports": [{"containerPort": 0}], "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
    ]}});
    let found = errors("", "pods", &pod, None);
    for start in [
        "spec.containers[0].name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 label",
        "spec.containers[0].image: Required value",
        "spec.containers[0].ports[0].containerPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
    ] {
        assert!(found.iter().any(|error| error.starts_with(start)), "{start}: {found:?}");
    }
    assert_eq!(errors("", "pods", &json!({"spec": {}}), None), ["spec.containers: Required value"]);
}

#[test]
fn a_services_ports_are_numbers_with_names_if_there_are_several() {
    let service = json!({"spec": {"type": "ClusterIP", "ports": [
        {"port": 80, "protocol": "TCP", "targetPort": 70000}, {"port": 80, "protocol": "TCP", "name": "b"},
    ]}});
    assert_eq!(
        errors("", "services", &service, None),
        [
            "spec.ports[0].name: Required value",
            "spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
        ]
    );
}
