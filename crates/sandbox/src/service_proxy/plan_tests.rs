use super::*;
use serde_json::json;

fn service(spec: serde_json::Value) -> Arc<Service> {
    Arc::new(
        serde_json::from_value(
            json!({"metadata": {"name": "payments", "namespace": "default"}, "spec": spec}),
        )
        .expect("a service"),
    )
}

fn slice(endpoints: serde_json::Value) -> Arc<EndpointSlice> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": "payments-x", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "payments"}},
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }))
        .expect("a slice"),
    )
}

fn endpoint(address: &str, ready: bool, serving: bool) -> serde_json::Value {
    json!({"addresses": [address], "conditions": {"ready": ready, "serving": serving}})
}

fn backends(forward: &Forward) -> Vec<String> {
    forward.backends.iter().map(ToString::to_string).collect()
}

#[test]
fn a_cluster_address_goes_to_ready_pods_only() {
    let services = [service(json!({"clusterIP": "10.96.0.50", "ports": [{"name": "http", "port": 80}]}))];
    let slices = [slice(json!([endpoint("10.244.0.2", true, true), endpoint("10.244.0.3", false, true)]))];
    let forwards = plan_forwards(&services, &slices);
    assert_eq!(forwards.len(), 1);
    assert_eq!(forwards[0].frontend, Frontend::Address("10.96.0.50:80".parse().expect("an address")));
    assert_eq!(backends(&forwards[0]), ["10.244.0.2:8080"]);
    assert_eq!(forwards[0].comment, "default/payments:80");
}

#[test]
fn when_none_is_ready_those_that_end_but_serve_are_used() {
    let services = [service(json!({"clusterIP": "10.96.0.50", "ports": [{"name": "http", "port": 80}]}))];
    let slices = [slice(json!([endpoint("10.244.0.3", false, true), endpoint("10.244.0.4", false, false)]))];
    assert_eq!(backends(&plan_forwards(&services, &slices)[0]), ["10.244.0.3:8080"]);
}

#[test]
fn a_service_without_endpoints_rejects() {
    let services = [service(json!({"clusterIP": "10.96.0.50", "ports": [{"name": "http", "port": 80}]}))];
    let forwards = plan_forwards(&services, &[]);
    assert_eq!(forwards.len(), 1);
    assert!(forwards[0].backends.is_empty());
}

#[test]
fn node_ports_are_forwarded_too() {
    let services = [service(json!({"type": "NodePort", "clusterIP": "10.96.0.50",
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}))];
    let frontends: Vec<_> =
        plan_forwards(&services, &[]).into_iter().map(|forward| forward.frontend).collect();
    assert!(frontends.contains(&Frontend::NodePort(30080)));
    assert_eq!(frontends.len(), 2);
}

#[test]
fn headless_external_and_self_served_services_are_left_alone() {
    let headless = service(json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}));
    let external = service(json!({"type": "ExternalName", "externalName": "example.com"}));
    let own = service(json!({"clusterIP": "10.96.0.10", "ports": [{"name": "http", "port": 8080}]}));
    let slices = [slice(json!([{"addresses": ["10.96.0.10"]}]))];
    assert!(plan_forwards(&[headless, external, own], &slices).is_empty());
}
