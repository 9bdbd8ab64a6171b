//! The whole control plane against an embedded API, spoken to as proxies, the API and operators do:
//! over real TLS with real tokens.

mod world;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use mizzen_identity::{PeerCertificate, SpiffeId, ca};
use mizzen_xds::TypeUrl;
use prost::Message;
use serde_json::json;
use tonic::Code;
use world::{World, eventually};

fn identity() -> SpiffeId {
    SpiffeId::of_service_account("cluster.local", "default", "payments").expect("id")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_gets_a_certificate_for_who_it_is_and_configuration_with_either_credential() {
    let world = World::start().await;
    let token = world.token("default", "payments").await;
    let (key, request) =
        ca::csr::generate(&SpiffeId::parse("spiffe://cluster.local/ns/bank/sa/vault").expect("id"))
            .expect("request");

    let refused = world.certificate(&request, None).await.expect_err("nobody");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = world.certificate(&request, Some("nonsense")).await.expect_err("a stranger");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let chain = world.certificate(&request, Some(&token)).await.expect("issued");
    let leaf =
        mizzen_identity::credential::certificates_from_pem(chain[0].as_bytes()).expect("PEM").remove(0);
    let leaf = PeerCertificate::parse(leaf).expect("a certificate");
    assert_eq!(leaf.spiffe_id(), Some(&identity()), "the caller's name, not the one asked for");
    assert_eq!(chain.last(), Some(&world.root));

    // By token.
    let mut stream =
        world.discover(Some(&token), None, world::node("default", "payments-1", "payments")).await;
    let clusters = stream.next().await.expect("clusters");
    assert_eq!(clusters.type_url, TypeUrl::CLUSTER.as_str());
    assert!(clusters.control_plane.expect("who serves").identifier.contains("istiod"));
    // By certificate.
    let credential = Some((chain.concat(), key));
    let mut stream =
        world.discover(None, credential.clone(), world::node("default", "payments-1", "payments")).await;
    stream.next().await.expect("clusters");

    // Claims that are not true.
    for lie in [world::node("bank", "vault-1", "vault"), world::node("default", "payments-1", "admin")] {
        let mut stream = world.discover(None, credential.clone(), lie).await;
        assert_eq!(stream.next().await.expect_err("refused").code(), Code::PermissionDenied);
    }
    let mut stream = world.discover(None, None, world::node("default", "payments-1", "payments")).await;
    assert_eq!(stream.next().await.expect_err("refused").code(), Code::Unauthenticated);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_a_proxy_as_just_what_differs() {
    let world = World::start().await;
    let token = world.token("default", "payments").await;
    let node = world::node("default", "payments-1", "payments");
    let mut stream = world.discover(Some(&token), None, node.clone()).await;
    let clusters = stream.next().await.expect("clusters");
    assert!(names(&clusters).contains(&"PassthroughCluster".to_owned()), "{:?}", names(&clusters));
    stream.acknowledge(&clusters).await;

    // A new service is one cluster.
    world.create(service()).await;
    let clusters = stream.next().await.expect("the new cluster");
    assert_eq!(names(&clusters), [ORDERS]);
    stream.acknowledge(&clusters).await;
    stream.subscribe(TypeUrl::ENDPOINT, ORDERS).await;
    let endpoints = stream.next().await.expect("its endpoints");
    assert_eq!((names(&endpoints), addresses(&endpoints)), (vec![ORDERS.to_owned()], vec![]));
    stream.acknowledge(&endpoints).await;

    // New endpoints are endpoints, and nothing else.
    world.create(endpoint_slice("10.244.0.9")).await;
    let endpoints = stream.next().await.expect("an endpoint");
    assert_eq!(endpoints.type_url, TypeUrl::ENDPOINT.as_str());
    assert_eq!(addresses(&endpoints), ["10.244.0.9"]);
    stream.acknowledge(&endpoints).await;

    // A proxy that comes back with what it has is sent what is new to it, here nothing, so that the
    // first it hears is the next change.
    let kept = clusters_with_versions(&world, &token, &node).await;
    let mut again = world.resume(&token, node, kept).await;
    world.delete_service("orders").await;
    let clusters = again.next().await.expect("the removal");
    assert_eq!((names(&clusters), clusters.removed_resources), (vec![], vec![ORDERS.to_owned()]));
    world.stop().await;
}

const ORDERS: &str = "outbound|80||orders.default.svc.cluster.local";

fn service() -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders", "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    })
}

fn endpoint_slice(address: &str) -> serde_json::Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "orders-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "orders"}
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]
    })
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<String> {
    response.resources.iter().map(|resource| resource.name.clone()).collect()
}

/// The addresses in a response of endpoints.
fn addresses(response: &DeltaDiscoveryResponse) -> Vec<String> {
    let bodies = response.resources.iter().filter_map(|resource| resource.resource.as_ref());
    let assignments =
        bodies.map(|any| ClusterLoadAssignment::decode(any.value.as_slice()).expect("endpoints"));
    let endpoints =
        assignments.flat_map(|assignment| assignment.endpoints).flat_map(|group| group.lb_endpoints);
    endpoints.map(|endpoint| world::address_of(&endpoint)).collect()
}

/// What a proxy that has connected and acknowledged would say that it has.
async fn clusters_with_versions(world: &World, token: &str, node: &Node) -> Vec<(String, String)> {
    let mut stream = world.discover(Some(token), None, node.clone()).await;
    let clusters = stream.next().await.expect("clusters");
    clusters.resources.into_iter().map(|resource| (resource.name, resource.version)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_who_is_connected_and_what_they_have() {
    let world = World::start().await;
    let token = world.token("default", "payments").await;
    let mut stream =
        world.discover(Some(&token), None, world::node("default", "payments-1", "payments")).await;
    let clusters = stream.next().await.expect("clusters");
    stream.acknowledge(&clusters).await;
    let proxies = eventually("the acknowledgement is seen", || async {
        let proxies = world.get_json("/debug/syncz").await;
        (proxies[0]["cluster_acked"] == json!(clusters.nonce)).then_some(proxies)
    })
    .await;
    assert_eq!(proxies[0]["proxy"], "payments-1.default");
    assert_eq!(proxies[0]["cluster_sent"], json!(clusters.nonce));
    assert_eq!(proxies[0]["types"][0]["status"], "SYNCED");

    let metrics = world.get("/metrics").await;
    assert!(metrics.contains("pilot_xds{version=\"1.30.0\"} 1"), "{metrics}");
    assert!(metrics.contains("pilot_xds_pushes{type=\"cds\"} 1"), "{metrics}");
    assert!(world.get("/version").await.starts_with("1.30.0-"));
    let connections = world.get_json("/debug/connections").await;
    assert_eq!(connections["totalClients"], 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_namespace_gets_the_roots_and_keeps_them() {
    let world = World::start().await;
    let namespaces = Api::<Namespace>::all(world.client.clone());
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "late"}})).expect("a namespace");
    namespaces.create(&PostParams::default(), &namespace).await.expect("created");
    let maps = Api::<ConfigMap>::namespaced(world.client.clone(), "late");
    let has_root = || async {
        let map = maps.get_opt("istio-ca-root-cert").await.expect("the API answers")?;
        (map.data?.get("root-cert.pem")? == &world.root).then_some(())
    };
    eventually("the new namespace has the roots", has_root).await;

    let spoiled = Patch::Merge(json!({"data": {"root-cert.pem": "spoiled"}}));
    maps.patch("istio-ca-root-cert", &PatchParams::default(), &spoiled).await.expect("patched");
    eventually("the roots are back", has_root).await;
    maps.delete("istio-ca-root-cert", &Default::default()).await.expect("deleted");
    eventually("the roots are back", has_root).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admission_refuses_with_the_field_and_injects_where_asked() {
    let world = World::start().await;
    world.register_webhooks().await;
    let resource = ApiResource {
        group: "security.istio.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "security.istio.io/v1".to_owned(),
        kind: "PeerAuthentication".to_owned(),
        plural: "peerauthentications".to_owned(),
    };
    let policies = Api::<DynamicObject>::namespaced_with(world.client.clone(), "default", &resource);
    let policy = |spec| -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
            "metadata": {"name": "strict"}, "spec": spec
        }))
        .expect("an object")
    };
    // Ports of single workloads need a selector: no schema says so, the webhook does.
    let bad = policy(json!({"portLevelMtls": {"8080": {"mode": "STRICT"}}}));
    let refused = policies.create(&PostParams::default(), &bad).await.expect_err("refused").to_string();
    assert!(refused.contains("portLevelMtls"), "{refused}");
    let good = policy(json!({"mtls": {"mode": "STRICT"}}));
    policies.create(&PostParams::default(), &good).await.expect("accepted");
    eventually("the status says that it is accepted", || async {
        let object = policies.get("strict").await.expect("the object");
        let conditions = object.data["status"]["conditions"].as_array()?.clone();
        conditions.iter().any(|condition| condition["message"] == "live on 0/0 proxies").then_some(())
    })
    .await;

    let pods = Api::<Pod>::namespaced(world.client.clone(), "default");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "payments", "labels": {"app": "payments"}},
        "spec": {"containers": [{"name": "app", "image": "shop/payments"}]}
    }))
    .expect("a pod");
    let label = Patch::Merge(json!({"metadata": {"labels": {"istio-injection": "enabled"}}}));
    let namespaces = Api::<Namespace>::all(world.client.clone());
    namespaces.patch("default", &PatchParams::default(), &label).await.expect("labelled");
    // At once, before the control plane can have heard of the label.
    let pod = pods.create(&PostParams::default(), &pod).await.expect("created");
    let containers = pod.spec.expect("a spec").init_containers.expect("init containers");
    let names: Vec<_> = containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["istio-init", "istio-proxy"]);
    world.stop().await;
}
