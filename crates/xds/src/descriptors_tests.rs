use super::*;
use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter::ConfigType};
use serde_json::json;

fn bootstrap() -> Value {
    json!({
        "node": { "id": "a", "cluster": "b" },
        "static_resources": {
            "listeners": [{
                "name": "tcp",
                "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
                "filter_chains": [{ "filters": [{
                    "name": "envoy.filters.network.tcp_proxy",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                        "stat_prefix": "tcp", "cluster": "somewhere", "idle_timeout": "3s"
                    }
                }] }]
            }]
        }
    })
}

#[test]
fn a_bootstrap_is_read_and_written_with_what_is_inside_any() {
    let descriptors = Descriptors::load().expect("descriptors");
    let message: Bootstrap = crate::json::read(&bootstrap()).expect("bootstrap");
    let listener: &Listener = &message.static_resources.as_ref().expect("static").listeners[0];
    let Some(ConfigType::TypedConfig(any)) = &listener.filter_chains[0].filters[0].config_type else {
        panic!("no typed config")
    };
    assert!(any.type_url.ends_with("TcpProxy"));
    assert_eq!(descriptors.write(&message).expect("JSON"), bootstrap());
}

#[test]
fn own_messages_are_known_too() {
    let descriptors = Descriptors::load().expect("descriptors");
    let value = descriptors.write_any(mizzen_proto::type_url::STATS, &[]);
    assert_eq!(value, json!({ "@type": mizzen_proto::type_url::STATS }));
}

#[test]
fn an_unknown_type_is_said_to_be_one() {
    let descriptors = Descriptors::load().expect("descriptors");
    let value = descriptors.write_any("type.googleapis.com/a.B", &[1]);
    assert!(value["@error"].as_str().expect("error").contains("a.B"));
}
