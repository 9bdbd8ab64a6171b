use super::*;
use serde_json::json;

fn pod(env: serde_json::Value, env_from: serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "reviews-v1", "namespace": "shop", "uid": "u-1",
            "labels": {"app": "reviews", "version": "v1"}, "annotations": {"note": "say \"hi\""}},
        "spec": {"serviceAccountName": "reviews", "enableServiceLinks": false, "containers": [{
            "name": "app", "env": env, "envFrom": env_from,
            "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}
        }]}
    }))
    .expect("pod")
}

fn sources() -> Sources {
    let map = json!({"data": {"level": "debug", "color": "blue"}});
    let secret = json!({"data": {"password": "aHVudGVyMg=="}});
    Sources {
        config_maps: [("settings".to_owned(), serde_json::from_value(map).expect("map"))].into(),
        secrets: [("login".to_owned(), serde_json::from_value(secret).expect("secret"))].into(),
        services: vec![],
    }
}

fn resolved(
    env: serde_json::Value,
    env_from: serde_json::Value,
    sources: &Sources,
) -> Result<BTreeMap<String, String>, EnvironmentError> {
    let pod = pod(env, env_from);
    let placed = Placed {
        pod_address: "10.244.0.9".to_owned(),
        host_address: "10.244.0.1".to_owned(),
        node_name: "mizzen".to_owned(),
    };
    resolve(&pod, &pod.spec.as_ref().expect("spec").containers[0], &placed, sources)
}

#[test]
fn the_pods_fields_and_resources() {
    let field = |path: &str| json!({"name": path, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let resource = |name: &str, divisor: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": name, "divisor": divisor}}});
    let env = json!([
        field("metadata.name"),
        field("metadata.labels['version']"),
        field("status.podIP"),
        field("status.hostIP"),
        field("spec.nodeName"),
        field("spec.serviceAccountName"),
        resource("limits.cpu", "0"),
        resource("limits.memory", "1Mi"),
        resource("requests.cpu", "1m"),
        resource("requests.memory", "1")
    ]);
    let found = resolved(env, json!([]), &sources()).expect("resolved");
    let values: Vec<(&str, &str)> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(
        values,
        [
            ("limits.cpu", "2"),
            ("limits.memory", "64"),
            ("metadata.labels['version']", "v1"),
            ("metadata.name", "reviews-v1"),
            ("requests.cpu", "100"),
            ("requests.memory", "0"),
            ("spec.nodeName", "mizzen"),
            ("spec.serviceAccountName", "reviews"),
            ("status.hostIP", "10.244.0.1"),
            ("status.podIP", "10.244.0.9"),
        ]
    );
}

#[test]
fn config_maps_and_secrets() {
    let env = json!([
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
        {"name": "MAYBE", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": true}}},
        {"name": "URL", "value": "http://$(C_color):$(PASSWORD)@$(UNKNOWN)/$$(LEVEL)"}
    ]);
    let from = json!([{"prefix": "C_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "no", "optional": true}}]);
    let found = resolved(env, from, &sources()).expect("resolved");
    assert_eq!(found["LEVEL"], "debug");
    assert_eq!(found["C_level"], "debug");
    assert_eq!(found["URL"], "http://blue:hunter2@$(UNKNOWN)/$(LEVEL)");
    assert!(!found.contains_key("MAYBE"));
}

#[test]
fn what_is_missing_is_named() {
    let key = |name: &str, key: &str| json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": name, "key": key}}}]);
    let error = |env| resolved(env, json!([]), &sources()).expect_err("missing").to_string();
    assert_eq!(error(key("other", "x")), "configmap \"other\" not found");
    assert_eq!(error(key("settings", "x")), "couldn't find key x in ConfigMap settings");
    let field = json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.color"}}}]);
    assert_eq!(error(field), "field path \"spec.color\" is not one a pod can be asked for");
}

#[test]
fn services_are_in_the_environment() {
    let service = json!({"metadata": {"name": "my-db"}, "spec": {"clusterIP": "10.96.0.7", "ports": [
        {"name": "sql", "port": 5432}, {"name": "admin-ui", "port": 80}]}});
    let variables: BTreeMap<String, String> =
        service_variables(&serde_json::from_value(service).expect("service")).into_iter().collect();
    assert_eq!(variables["MY_DB_SERVICE_HOST"], "10.96.0.7");
    assert_eq!(variables["MY_DB_SERVICE_PORT"], "5432");
    assert_eq!(variables["MY_DB_SERVICE_PORT_ADMIN_UI"], "80");
    assert_eq!(variables["MY_DB_PORT_80_TCP"], "tcp://10.96.0.7:80");
    let headless = json!({"metadata": {"name": "db"}, "spec": {"clusterIP": "None"}});
    assert!(service_variables(&serde_json::from_value(headless).expect("service")).is_empty());
}

#[test]
fn dollars_that_are_no_variables_stay() {
    let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    for (text, expanded) in
        [("$(A)$(A", "1$(A"), ("$A $", "$A $"), ("$$$(A)", "$1"), ("é$(A)é", "é1é"), ("$()", "$()")]
    {
        assert_eq!(expand(text, &variables), expanded);
    }
}

#[test]
fn maps_are_written_one_pair_a_line() {
    let pod = pod(json!([]), json!([]));
    let placed = Placed::default();
    assert_eq!(
        pod_field(&pod, &placed, "metadata.labels").expect("labels"),
        "app=\"reviews\"\nversion=\"v1\""
    );
    assert_eq!(
        pod_field(&pod, &placed, "metadata.annotations").expect("annotations"),
        "note=\"say \\\"hi\\\"\""
    );
}
