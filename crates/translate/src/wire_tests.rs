use envoy_types::pb::{
    envoy::config::{
        core::v3::Metadata,
        endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints},
    },
    google::protobuf::{Struct, Value, value::Kind},
};

use super::*;

fn structure(keys: &[String]) -> Struct {
    let value = |key: &String| (key.clone(), Value { kind: Some(Kind::StringValue(key.clone())) });
    Struct { fields: keys.iter().map(value).collect() }
}

#[test]
fn equal_messages_encode_to_equal_bytes_that_decode_to_the_message() {
    let keys: Vec<String> = (0..20).map(|index| format!("key-{index}")).collect();
    let message = |keys: &[String]| {
        let metadata = Metadata {
            filter_metadata: keys.iter().map(|key| (key.clone(), structure(keys))).collect(),
            ..Metadata::default()
        };
        let endpoint = LbEndpoint { metadata: Some(metadata), health_status: 1, ..LbEndpoint::default() };
        ClusterLoadAssignment {
            cluster_name: "outbound|80||a".to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: vec![endpoint],
                priority: 3,
                ..Default::default()
            }],
            ..ClusterLoadAssignment::default()
        }
    };
    let reversed: Vec<String> = keys.iter().rev().cloned().collect();
    let (one, other) =
        (encode(&message(&keys), &LOAD_ASSIGNMENT), encode(&message(&reversed), &LOAD_ASSIGNMENT));
    assert_eq!(one, other);
    assert_eq!(ClusterLoadAssignment::decode(one.as_slice()).unwrap(), message(&keys));
}
