use super::*;

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn the_ingress_gateway_is_the_one_the_sheet_expects() {
    let objects = objects(&InstallOptions::default());
    let service = find(&objects, "Service", "istio-ingressgateway");
    assert_eq!(service["metadata"]["namespace"], "istio-system");
    assert_eq!(service["metadata"]["labels"]["istio"], "ingressgateway");
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    let ports: Vec<_> = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| (port["port"].as_u64(), port["targetPort"].as_u64()))
        .collect();
    assert_eq!(ports, [(Some(80), Some(8080)), (Some(443), Some(8443))]);
    let deployment = find(&objects, "Deployment", "istio-ingressgateway");
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"]["istio"], "ingressgateway");
}

#[test]
fn the_namespace_comes_first_and_webhooks_point_at_istiod() {
    let objects = objects(&InstallOptions::default());
    assert_eq!(objects[0]["kind"], "Namespace");
    let injector = find(&objects, "MutatingWebhookConfiguration", "istio-sidecar-injector");
    for webhook in injector["webhooks"].as_array().into_iter().flatten() {
        assert_eq!(webhook["clientConfig"]["service"]["name"], "istiod");
        assert_eq!(webhook["failurePolicy"], "Fail");
    }
}

#[test]
fn without_the_dashboard_nothing_refers_to_it() {
    let options = InstallOptions { dashboard: false, ..InstallOptions::default() };
    let text = objects(&options).iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains("mizzen-dashboard"));
}
