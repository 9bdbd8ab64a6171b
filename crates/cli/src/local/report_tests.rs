use super::*;
use serde_json::json;

#[test]
fn a_service_shows_the_ports_that_were_published() {
    let service = json!({
        "metadata": {"name": "istio-ingressgateway", "namespace": "istio-system"},
        "spec": {"ports": [{"port": 80}, {"port": 443}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1", "ports": [
            {"port": 8080, "protocol": "TCP"}, {"port": 443, "protocol": "TCP", "error": "example.com/PortNotFree"}]}]}}
    });
    let shown = published_ports(&serde_json::from_value(service).expect("service"));
    let expected = Published {
        service: "istio-system/istio-ingressgateway".to_owned(),
        service_port: 80,
        address: "127.0.0.1:8080".to_owned(),
    };
    assert_eq!(shown, [expected]);
    assert!(published_ports(&Service::default()).is_empty());
}
