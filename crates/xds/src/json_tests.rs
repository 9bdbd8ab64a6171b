use super::*;
use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};
use serde_json::{Value, json};
use std::sync::LazyLock;

fn read(json: &Value) -> Result<Bootstrap, serde_json::Error> {
    let text = json.to_string();
    let encoded = encode::<Bootstrap, _>(&mut serde_json::Deserializer::from_str(&text))?;
    Ok(Bootstrap::decode(encoded.as_slice()).expect("an encoded message"))
}

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut pool = DescriptorPool::decode(crate::descriptors::ENVOY).expect("descriptors");
    let own = prost_types::FileDescriptorSet::decode(mizzen_proto::DESCRIPTORS).expect("descriptors");
    let new: Vec<_> =
        own.file.into_iter().filter(|file| pool.get_file_by_name(file.name()).is_none()).collect();
    pool.add_file_descriptor_protos(new).expect("descriptors");
    pool
});

/// The same by a library that makes a message of it first.
fn reference(json: &Value) -> Result<Bootstrap, serde_json::Error> {
    let descriptor = POOL.get_message_by_name("envoy.config.bootstrap.v3.Bootstrap").expect("a type");
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = DynamicMessage::deserialize_with_options(descriptor, json, &options)?;
    Ok(Bootstrap::decode(message.encode_to_vec().as_slice()).expect("an encoded message"))
}

const NETWORK: &str = "type.googleapis.com/envoy.extensions.filters.network.";

#[test]
fn every_form_of_value_is_read_as_the_reference_reads_it() {
    let filter = json!({
        "@type": format!("{NETWORK}tcp_proxy.v3.TcpProxy"), "cluster": "a", "idle_timeout": "3.000000001s"
    });
    let bootstrap = json!({
        "node": {
            "id": "a", "userAgentName": "camel",
            "metadata": { "text": "t", "number": 1.5, "none": null, "list": [true, {}, [1]], "deep": { "a": {} } },
            "locality": null, "extensions": [], "listening_addresses": null
        },
        "static_resources": {
            "clusters": [{
                "name": "one", "type": "EDS", "lb_policy": 1, "connect_timeout": "-1s",
                "per_connection_buffer_limit_bytes": 32768,
                "common_lb_config": { "healthy_panic_threshold": { "value": 12 } },
                "metadata": { "filter_metadata": { "istio": { "services": [{ "host": "h" }] }, "b": {} } },
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": { "http2_protocol_options": {} }
                    }
                }
            }],
            "secrets": [{ "name": "s", "tls_certificate": {
                "private_key": { "inline_bytes": "aGVsbG8" }, "certificate_chain": { "inlineBytes": "_-8=" } } }],
            "listeners": [{
                "name": "x".repeat(300), "continue_on_listener_filters_timeout": false,
                "address": { "socket_address": { "address": "::", "port_value": 1e3, "protocol": "TCP" } },
                "filter_chains": [{ "filters": [
                    { "name": "a", "typed_config": filter },
                    { "name": "b", "typed_config": { "@type": "type.googleapis.com/google.protobuf.Duration", "value": "2s" } },
                    { "name": "c", "typed_config": { "@type": "type.googleapis.com/google.protobuf.Empty", "value": {} } },
                    { "name": "d", "typed_config": { "@type": "type.googleapis.com/stats.PluginConfig", "tcp_reporting_duration": "5s" } },
                ] }]
            }]
        },
        "layered_runtime": { "layers": [{ "name": "static", "static_layer": { "a.b": 5 } }] },
        "stats_flush_interval": "0.5s", "enable_dispatcher_stats": true
    });
    assert_eq!(read(&bootstrap).expect("read"), reference(&bootstrap).expect("read"));
}

#[test]
fn what_does_not_fit_is_refused_by_both() {
    let endpoint =
        |port: Value| json!({ "admin": { "address": { "socket_address": { "port_value": port } } } });
    for broken in [
        json!({ "nodes": {} }),
        json!({ "node": [] }),
        json!({ "node": { "id": 1 } }),
        json!({ "static_resources": { "clusters": {} } }),
        json!({ "static_resources": { "clusters": [{ "type": "NONE_SUCH" }] } }),
        json!({ "static_resources": { "clusters": [{ "type": "EDS", "cluster_type": {} }] } }),
        json!({ "static_resources": { "clusters": [{ "connect_timeout": "5 apples" }] } }),
        json!({ "static_resources": { "listeners": [{ "filter_chains": [{ "filters": [
            { "typed_config": { "a": "no type" } }] }] }] } }),
        json!({ "static_resources": { "listeners": [{ "filter_chains": [{ "filters": [
            { "typed_config": { "@type": "type.googleapis.com/a.B" } }] }] }] } }),
        json!({ "static_resources": { "listeners": [{ "filter_chains": [{ "filters": [
            { "typed_config": { "@type": "type.googleapis.com/google.protobuf.Duration" } }] }] }] } }),
        endpoint(json!(-1)),
        endpoint(json!(1.5)),
        endpoint(json!(1u64 << 32)),
        endpoint(json!(true)),
    ] {
        assert!(read(&broken).is_err(), "{broken}");
        assert!(reference(&broken).is_err(), "{broken}");
    }
}

#[test]
fn the_type_of_an_any_may_come_last() {
    let text = |filter: String| {
        format!(
            r#"{{ "static_resources": {{ "listeners": [{{ "filter_chains": [{{ "filters":
            [{{ "typed_config": {{ {filter} }} }}] }}] }}] }} }}"#
        )
    };
    let encoded = |filter: String| {
        encode::<Bootstrap, _>(&mut serde_json::Deserializer::from_str(&text(filter))).expect("encoded")
    };
    let url = format!(r#""@type": "{NETWORK}tcp_proxy.v3.TcpProxy""#);
    let rest = r#""cluster": "a", "idle_timeout": "3s", "max_connect_attempts": "7""#;
    assert_eq!(encoded(format!("{rest}, {url}")), encoded(format!("{url}, {rest}")));
}

proptest! {
    #[test]
    fn any_text_is_read_as_the_reference_reads_it(texts in prop::collection::vec(".{0,200}", 0..4)) {
        let bootstrap = json!({ "node": { "id": texts.concat(), "listening_addresses": [],
            "client_features": texts, "metadata": { texts.concat(): texts } } });
        prop_assert_eq!(read(&bootstrap).expect("read"), reference(&bootstrap).expect("read"));
    }
}

#[test]
fn a_field_is_set_once() {
    for text in [r#"{ "node": {}, "node": {} }"#, r#"{ "flags_path": "a", "flagsPath": "b" }"#] {
        let error = encode::<Bootstrap, _>(&mut serde_json::Deserializer::from_str(text)).expect_err("twice");
        assert!(error.to_string().contains("is there twice"), "{error}");
    }
}

#[test]
fn an_unknown_field_is_named_with_its_line() {
    let error = encode::<Bootstrap, _>(&mut serde_json::Deserializer::from_str("{\n \"nodes\": {} }"));
    let error = error.expect_err("unknown field").to_string();
    assert!(error.contains("'nodes'") && error.contains("line 2"), "{error}");
}
