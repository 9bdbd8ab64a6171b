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

#[test]
fn yaml_is_read_and_its_connection_limit_found() {
    let bootstrap = read(YAML).expect("bootstrap");
    assert_eq!(bootstrap.node.as_ref().expect("node").id, "a");
    assert_eq!(connection_limit(&bootstrap), Ok(Some(500)));
}

#[test]
fn dynamic_resources_need_a_way_to_the_control_plane() {
    let bootstrap = read(YAML).expect("bootstrap");
    assert_eq!(check(&bootstrap).expect_err("no ADS").field, "dynamic_resources.ads_config");
}

#[test]
fn parts_that_are_not_honoured_are_named() {
    let bootstrap = read(r#"{"header_prefix": "x-other"}"#).expect("bootstrap");
    assert_eq!(check(&bootstrap).expect_err("refused").field, "header_prefix");
    let error = read("static_resourcez: {}").expect_err("unknown field");
    assert!(error.to_string().contains("static_resourcez"), "{error}");
    let error = read("{\n  \"static_resourcez\": {}\n}").expect_err("unknown field");
    assert!(error.to_string().contains("line 2"), "{error}");
}
