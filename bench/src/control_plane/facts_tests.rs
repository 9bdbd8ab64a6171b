use super::*;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};

fn endpoints(address: &str) -> Bytes {
    use envoy_types::pb::envoy::config::core::v3::{Address as Outer, SocketAddress};
    use envoy_types::pb::envoy::config::endpoint::v3::{Endpoint, LbEndpoint, LocalityLbEndpoints};
    let socket = SocketAddress { address: address.to_owned(), ..SocketAddress::default() };
    let endpoint = Endpoint {
        address: Some(Outer { address: Some(Address::SocketAddress(socket)) }),
        ..Endpoint::default()
    };
    let endpoint =
        LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    let locality = LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() };
    ClusterLoadAssignment { endpoints: vec![locality], ..ClusterLoadAssignment::default() }
        .encode_to_vec()
        .into()
}

#[test]
fn marks_are_found_in_endpoints_and_routes() {
    let book = FactBook::default();
    let mark =
        |type_url, version, body: &Bytes| book.look_up(type_url, "a", version, body).expect("read").mark;
    assert_eq!(mark(TypeUrl::ENDPOINT, 1, &endpoints("100.64.1.2")), 258);
    assert_eq!(mark(TypeUrl::ENDPOINT, 2, &endpoints("10.64.1.2")), 0);
    let host = |name: &str| VirtualHost { name: name.to_owned(), ..VirtualHost::default() };
    let routes = RouteConfiguration {
        virtual_hosts: vec![host("mark-12"), host("mark-345"), host("mark-")],
        ..RouteConfiguration::default()
    };
    assert_eq!(mark(TypeUrl::ROUTE, 3, &routes.encode_to_vec().into()), 345);
}

#[test]
fn a_version_is_looked_into_once() {
    let book = FactBook::default();
    let first = book.look_up(TypeUrl::ENDPOINT, "a", 1, &endpoints("100.64.0.1")).expect("read");
    let again = book.look_up(TypeUrl::ENDPOINT, "a", 1, &Bytes::from_static(b"\xff")).expect("not read");
    assert!(Arc::ptr_eq(&first, &again));
    assert!(book.look_up(TypeUrl::ENDPOINT, "a", 2, &Bytes::from_static(b"\xff")).is_err());
}

#[test]
fn a_cluster_refers_to_its_endpoints_only_if_they_are_asked_for() {
    let refers_to = |kind: cluster::DiscoveryType| {
        let cluster = Cluster {
            name: "outbound|80||a".to_owned(),
            cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(kind.into())),
            ..Cluster::default()
        };
        endpoints_of(&cluster.encode_to_vec().into()).expect("read")
    };
    assert_eq!(refers_to(cluster::DiscoveryType::Eds), ["outbound|80||a".into()]);
    assert!(refers_to(cluster::DiscoveryType::OriginalDst).is_empty());
}
