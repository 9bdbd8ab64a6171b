use super::*;

const YAML: &str = "
node: { id: a, cluster: b }
layered_runtime:
  layers:
  - name: static
    static_layer: { overload: { global_downstream_max_connections: 500 } }
dynamic_resources:
  lds_config: { ads: {} }
";

fn message(text: &str) -> Bootstrap {
    open(&read(text).expect("bootstrap"), |_| {}).expect("parts").message
}

#[test]
fn yaml_is_read_and_its_connection_limit_found() {
    let bootstrap = message(YAML);
    assert_eq!(bootstrap.node.as_ref().expect("node").id, "a");
    assert_eq!(connection_limit(&bootstrap), Ok(Some(500)));
}

#[test]
fn dynamic_resources_need_a_way_to_the_control_plane() {
    let bootstrap = message(YAML);
    assert_eq!(check(&bootstrap).expect_err("no ADS").field, "dynamic_resources.ads_config");
}

#[test]
fn parts_that_are_not_honoured_are_named() {
    let bootstrap = message(r#"{"header_prefix": "x-other"}"#);
    assert_eq!(check(&bootstrap).expect_err("refused").field, "header_prefix");
    let error = read("static_resourcez: {}").expect_err("unknown field");
    assert!(error.to_string().contains("static_resourcez"), "{error}");
    let error = read("{\n  \"static_resourcez\": {}\n}").expect_err("unknown field");
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[test]
fn static_resources_are_parts_of_the_whole() {
    let text = r#"{
        "node": { "id": "a" },
        "static_resources": { "clusters": [{ "name": "one" }, { "name": "two", "type": "EDS" }],
                              "listeners": [{ "name": "three" }], "secrets": [{ "name": "four" }] }
    }"#;
    let given = read(text).expect("bootstrap");
    let opened = open(&given, |bootstrap| bootstrap.header_prefix = "x".to_owned()).expect("parts");
    assert_eq!((opened.clusters.len(), opened.listeners.len(), opened.secrets.len()), (2, 1, 1));
    assert_eq!(opened.cluster("two").expect("a cluster").expect("there").name, "two");
    assert_eq!(opened.cluster("three"), Ok(None));
    let mut whole = Bootstrap::decode(given).expect("bootstrap");
    whole.header_prefix = "x".to_owned();
    assert_eq!(Bootstrap::decode(opened.encoded), Ok(whole));
}
