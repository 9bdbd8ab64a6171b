use super::*;
use crate::upstream::balance::{Policy, Sharing};
use crate::upstream::dns::DnsSettings;
use crate::upstream::settings::{HeaderCase, Http2Settings, HttpProtocol, TransportMatch, Transports};
use envoy_types::pb::envoy::config::core::v3::Address;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::endpoint::v3::LocalityLbEndpoints;
use envoy_types::pb::google::protobuf::{Struct, Value};
use std::time::Duration;

fn settings(discovery: Discovery) -> ClusterSettings {
    ClusterSettings {
        name: "outbound|80||shop".into(),
        discovery,
        policy: Policy::RoundRobin(None),
        sharing: Sharing { overprovisioning: 140, panic_threshold: 50.0, by_locality: false },
        protocol: HttpProtocol::Http1,
        header_case: HeaderCase::Lower,
        http2: Http2Settings::default(),
        connect_timeout: Duration::from_secs(1),
        idle_timeout: None,
        max_requests_per_connection: None,
        max_response_headers: 100,
        source: None,
        keepalive: None,
        transports: Transports {
            matches: vec![TransportMatch {
                name: "tlsMode-istio".into(),
                criteria: vec![("tlsMode".to_owned(), text("istio"))],
                connector: None,
            }],
            default: None,
        },
        auto_sni: false,
        outlier: None,
        service: Id::UNKNOWN,
        metadata: None,
        dns: DnsSettings::default(),
    }
}

fn text(text: &str) -> Value {
    Value { kind: Some(value::Kind::StringValue(text.to_owned())) }
}

fn endpoint(address: &str, metadata: &[(&str, &str, &str)]) -> LbEndpoint {
    let socket = SocketAddress {
        address: address.to_owned(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(80)),
        ..SocketAddress::default()
    };
    let mut filters = std::collections::HashMap::<String, Struct>::new();
    for (filter, key, value) in metadata {
        filters.entry((*filter).to_owned()).or_default().fields.insert((*key).to_owned(), text(value));
    }
    LbEndpoint {
        metadata: Some(Metadata { filter_metadata: filters, ..Metadata::default() }),
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(Address { address: Some(address::Address::SocketAddress(socket)) }),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}

fn assignment(endpoints: Vec<LbEndpoint>) -> ClusterLoadAssignment {
    ClusterLoadAssignment {
        endpoints: vec![LocalityLbEndpoints { lb_endpoints: endpoints, ..LocalityLbEndpoints::default() }],
        ..ClusterLoadAssignment::default()
    }
}

fn start(previous: Option<&Arc<Cluster>>) -> Arc<Cluster> {
    let telemetry = Telemetry::new(&Node::default(), 1);
    let discovery = Discovery::Eds("shop".into());
    let control = tokio::runtime::Handle::current();
    let breaker = Breaker::compile(None);
    Cluster::start(settings(discovery), breaker, None, previous, &telemetry, &control).unwrap()
}

#[tokio::test]
async fn a_cluster_is_warm_once_its_endpoints_are_there() {
    let cluster = start(None);
    assert!(!cluster.is_warm());
    cluster.assign(&assignment(vec![endpoint("10.0.0.1", &[])])).unwrap();
    assert!(cluster.is_warm());
    cluster.warmed().await;
    assert_eq!(cluster.pick(0, PickContext::default()).unwrap().address, "10.0.0.1:80".parse().unwrap());
}

#[tokio::test]
async fn hosts_that_stay_keep_their_state_and_others_are_marked() {
    let cluster = start(None);
    cluster.assign(&assignment(vec![endpoint("10.0.0.1", &[]), endpoint("10.0.0.2", &[])])).unwrap();
    let before = cluster.hosts();
    cluster.assign(&assignment(vec![endpoint("10.0.0.1", &[]), endpoint("10.0.0.3", &[])])).unwrap();
    let after = cluster.hosts();
    assert_eq!(before[0].state.id, after[0].state.id);
    assert!(before[1].state.removed.load(Ordering::Relaxed));
    assert!(!before[0].state.removed.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_new_version_of_a_cluster_serves_with_the_endpoints_it_had() {
    let old = start(None);
    old.assign(&assignment(vec![endpoint("10.0.0.1", &[])])).unwrap();
    let new = start(Some(&old));
    assert!(new.is_warm());
    assert_eq!(new.hosts()[0].state.id, old.hosts()[0].state.id);
}

#[tokio::test]
async fn endpoint_metadata_chooses_transport_and_names_the_workload() {
    let cluster = start(None);
    let mesh = endpoint(
        "10.0.0.1",
        &[
            ("envoy.transport_socket_match", "tlsMode", "istio"),
            ("istio", "workload", "shop-v1;default;shop;v1;Kubernetes"),
        ],
    );
    cluster.assign(&assignment(vec![mesh, endpoint("10.0.0.2", &[])])).unwrap();
    let hosts = cluster.hosts();
    assert_eq!((hosts[0].transport, hosts[1].transport), (0, 1));
    assert_ne!(hosts[0].peer, Id::UNKNOWN);
    assert_eq!(hosts[1].peer, Id::UNKNOWN);
}

#[tokio::test]
async fn names_need_dns() {
    let cluster = start(None);
    let error = cluster.assign(&assignment(vec![endpoint("shop.example", &[])])).unwrap_err();
    assert_eq!(error.field, "endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address");
}
