use super::*;
use bytes::Bytes;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use prost::Message;

fn response(kind: ResponseKind) -> Response {
    let cluster = Cluster { name: "outbound|80||a".to_owned(), ..Default::default() };
    Response {
        kind,
        type_url: TypeUrl::CLUSTER,
        version: "v".to_owned(),
        nonce: "1-2".to_owned(),
        resources: vec![Resource::encode("outbound|80||a", &cluster), Resource::new("empty", Bytes::new())],
        removed: if kind == ResponseKind::Delta { vec!["gone".into()] } else { Vec::new() },
        control_plane: "istiod".into(),
    }
}

fn bytes(response: &Response) -> Vec<u8> {
    let mut buffer = Vec::new();
    response.encode(&mut buffer);
    assert!(buffer.len() <= response.encoded_len(), "space is reserved for all of it");
    buffer
}

#[test]
fn delta_is_what_envoy_reads() {
    let response = response(ResponseKind::Delta);
    let read = DeltaDiscoveryResponse::decode(bytes(&response).as_slice()).expect("decodes");
    assert_eq!((read.type_url.as_str(), read.nonce.as_str()), (TypeUrl::CLUSTER.as_str(), "1-2"));
    assert_eq!(read.system_version_info, "v");
    assert_eq!(read.removed_resources, ["gone"]);
    assert_eq!(read.control_plane.expect("control plane").identifier, "istiod");
    let names: Vec<_> = read.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["outbound|80||a", "empty"]);
    let any = read.resources[0].resource.as_ref().expect("body");
    assert_eq!(any.type_url, TypeUrl::CLUSTER.as_str());
    assert_eq!(Cluster::decode(any.value.as_slice()).expect("cluster").name, "outbound|80||a");
    assert_eq!(Version::from_wire(&read.resources[0].version), Version::of(response.resources[0].version));
}

#[test]
fn state_of_the_world_is_what_envoy_reads() {
    let read = DiscoveryResponse::decode(bytes(&response(ResponseKind::World)).as_slice()).expect("decodes");
    assert_eq!((read.version_info.as_str(), read.nonce.as_str()), ("v", "1-2"));
    assert_eq!(read.resources.len(), 2);
    assert_eq!(read.control_plane.expect("control plane").identifier, "istiod");
    let cluster = Cluster::decode(read.resources[0].value.as_slice()).expect("cluster");
    assert_eq!(cluster.name, "outbound|80||a");
}
