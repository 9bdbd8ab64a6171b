//! Finding things in the JSON of `/config_dump` (Envoy: `envoy.admin.v3.ConfigDump`).

use serde_json::Value;

/// The section of one type, such as `ClustersConfigDump`.
fn sections<'a>(dump: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    let suffix = format!(".{kind}");
    list(dump, "configs")
        .iter()
        .filter(move |section| section["@type"].as_str().is_some_and(|name| name.ends_with(&suffix)))
}

/// An array field; empty where it is absent.
pub fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A text field; empty where it is absent.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Collects `field` of every entry in `lists` of the sections of `kind`.
fn collect(dump: &Value, kind: &str, lists: &[&str], field: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for section in sections(dump, kind) {
        for name in lists {
            for entry in list(section, name) {
                if let Some(resource) = entry.get(field) {
                    found.push(resource.clone());
                }
            }
        }
    }
    found
}

/// All active clusters.
pub fn clusters(dump: &Value) -> Vec<Value> {
    collect(dump, "ClustersConfigDump", &["static_clusters", "dynamic_active_clusters"], "cluster")
}

/// All active listeners.
pub fn listeners(dump: &Value) -> Vec<Value> {
    let mut found = collect(dump, "ListenersConfigDump", &["static_listeners"], "listener");
    for section in sections(dump, "ListenersConfigDump") {
        let dynamic = list(section, "dynamic_listeners").iter();
        found.extend(dynamic.filter_map(|entry| entry.get("active_state")?.get("listener").cloned()));
    }
    found
}

/// All route configurations.
pub fn routes(dump: &Value) -> Vec<Value> {
    collect(dump, "RoutesConfigDump", &["static_route_configs", "dynamic_route_configs"], "route_config")
}

/// All endpoints by cluster.
pub fn endpoints(dump: &Value) -> Vec<Value> {
    collect(
        dump,
        "EndpointsConfigDump",
        &["static_endpoint_configs", "dynamic_endpoint_configs"],
        "endpoint_config",
    )
}

/// All secrets, each entry whole (`name`, `secret`, and `state` ACTIVE or WARMING added).
pub fn secrets(dump: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    for section in sections(dump, "SecretsConfigDump") {
        for (name, state) in [
            ("static_secrets", "ACTIVE"),
            ("dynamic_active_secrets", "ACTIVE"),
            ("dynamic_warming_secrets", "WARMING"),
        ] {
            for entry in list(section, name) {
                let mut entry = entry.clone();
                if let Some(fields) = entry.as_object_mut() {
                    fields.insert("state".to_owned(), Value::from(state));
                }
                found.push(entry);
            }
        }
    }
    found
}

/// The bootstrap.
pub fn bootstrap(dump: &Value) -> Option<&Value> {
    sections(dump, "BootstrapConfigDump").next()?.get("bootstrap")
}

/// `NAME.NAMESPACE` of the object that a resource was made from: Envoy metadata `istio`, field
/// `config`, a path of eight parts; empty where there is none.
pub fn origin(resource: &Value) -> String {
    let path = resource["metadata"]["filter_metadata"]["istio"]["config"].as_str().unwrap_or_default();
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["", "apis", _group, _version, "namespaces", namespace, _kind, name] => format!("{name}.{namespace}"),
        [""] => String::new(),
        _ => "<unknown>".to_owned(),
    }
}
