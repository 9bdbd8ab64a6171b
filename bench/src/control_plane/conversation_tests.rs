use super::*;
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;

const NAME: &str = "outbound|80||a";

fn response(type_url: TypeUrl, body: &impl prost::Message, version: u64) -> Response {
    let resource = Resource {
        version: format!("{version:016x}"),
        body: Some(Body { value: body.encode_to_vec().into() }),
        name: NAME.to_owned(),
    };
    Response { resources: vec![resource], ..empty(type_url) }
}

fn empty(type_url: TypeUrl) -> Response {
    Response { type_url: type_url.as_str().to_owned(), nonce: "n".to_owned(), ..Response::default() }
}

fn cluster() -> Cluster {
    let kind = cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into());
    Cluster { name: NAME.to_owned(), cluster_discovery_type: Some(kind), ..Cluster::default() }
}

#[test]
fn a_proxy_asks_for_what_its_clusters_need_and_resumes_with_what_it_has() {
    let shared = Shared::default();
    let mut proxy = Conversation::new(Node { id: "node".to_owned(), ..Node::default() });
    let first = proxy.open();
    assert_eq!(first.len(), 2, "clusters and listeners");
    assert!(first[0].node.is_some() && first[1].node.is_none());

    let mut receive = |response| proxy.receive(response, &shared, Instant::now()).expect("a usable response");
    let requests = receive(response(TypeUrl::CLUSTER, &cluster(), 7));
    assert_eq!((requests.len(), requests[0].response_nonce.as_str()), (2, "n"));
    assert_eq!(requests[1].resource_names_subscribe, [NAME]);
    assert_eq!(receive(response(TypeUrl::CLUSTER, &cluster(), 7)).len(), 1, "nothing is asked for twice");
    receive(empty(TypeUrl::LISTENER));
    receive(empty(TypeUrl::ROUTE));
    receive(empty(TypeUrl::VIRTUAL_HOST));
    assert!(!proxy.is_complete());
    let endpoints =
        ClusterLoadAssignment { cluster_name: NAME.to_owned(), ..ClusterLoadAssignment::default() };
    proxy.receive(response(TypeUrl::ENDPOINT, &endpoints, 8), &shared, Instant::now()).expect("usable");
    assert!(proxy.is_complete());

    let again = proxy.open();
    let versions: Vec<_> =
        again.iter().filter_map(|request| request.initial_resource_versions.get(NAME)).collect();
    assert_eq!(versions, ["0000000000000007", "0000000000000008"]);
    assert_eq!(again[1].resource_names_subscribe, [NAME]);
}

#[test]
fn routes_that_say_so_want_virtual_hosts() {
    use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, Vhds, VirtualHost};
    let shared = Shared::default();
    let mut proxy = Conversation::new(Node::default());
    let mut receive = |response| proxy.receive(response, &shared, Instant::now()).expect("a usable response");
    let routes =
        RouteConfiguration { name: "80".to_owned(), vhds: Some(Vhds::default()), ..Default::default() };
    let named = |name: &str, mut response: Response| {
        response.resources[0].name = name.to_owned();
        response
    };
    let requests = receive(named("80", response(TypeUrl::ROUTE, &routes, 7)));
    assert_eq!(requests[1].resource_names_subscribe, ["80"]);
    receive(named("80/a", response(TypeUrl::VIRTUAL_HOST, &VirtualHost::default(), 8)));
    for kind in [TypeUrl::CLUSTER, TypeUrl::ENDPOINT, TypeUrl::LISTENER] {
        receive(empty(kind));
    }
    assert!(proxy.is_complete());
    let again = proxy.open();
    let hosts = again.last().expect("virtual hosts are asked for");
    assert_eq!(hosts.resource_names_subscribe, ["80"]);
    assert_eq!(hosts.initial_resource_versions.keys().collect::<Vec<_>>(), ["80/a"]);
}

#[test]
fn what_cannot_be_used_is_told() {
    let shared = Shared::default();
    let mut proxy = Conversation::new(Node::default());
    let mut refuse = |response| proxy.receive(response, &shared, Instant::now()).expect_err("not usable");
    assert!(matches!(refuse(empty(TypeUrl::SECRET)), Unusable::Type(_)));
    let mut unversioned = response(TypeUrl::CLUSTER, &cluster(), 1);
    unversioned.resources[0].version = "v1".to_owned();
    assert!(matches!(refuse(unversioned), Unusable::Version(_)));
}
