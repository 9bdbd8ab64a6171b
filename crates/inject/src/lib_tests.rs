use super::*;
use serde_json::json;

fn config() -> InjectionConfig {
    InjectionConfig {
        image: "mizzen/mizzen:test".to_owned(),
        revision: "default".to_owned(),
        ca_address: "istiod.istio-system.svc:15012".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        cluster_id: "Kubernetes".to_owned(),
        proxy_config: json!({"discoveryAddress": "istiod.istio-system.svc:15012", "tracing": {"sampling": 1.0}}),
        merge_prometheus: true,
        cluster_domain: "cluster.local".to_owned(),
    }
}

fn pod(extra: Value) -> Pod {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "payments-v1-5c7f9d-",
            "labels": {"app": "payments", "version": "v1", "pod-template-hash": "5c7f9d"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "payments-v1-5c7f9d",
                                 "uid": "1", "controller": true}]
        },
        "spec": {"containers": [{"name": "payments", "image": "your-registry/payments:v1",
            "ports": [{"name": "web", "containerPort": 8080}]}]}
    });
    json_patch::merge(&mut pod, &extra);
    serde_json::from_value(pod).expect("a pod")
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn decide(pod: &Pod, namespace: &[(&str, &str)]) -> Decision {
    inject(pod, "default", &labels(namespace), &config()).expect("a decision")
}

fn injected(pod: &Pod) -> Injected {
    match decide(pod, &[("istio-injection", "enabled")]) {
        Decision::Inject(injected) => *injected,
        Decision::Skip(reason) => panic!("skipped: {reason}"),
    }
}

#[test]
fn namespace_and_pod_decide_and_the_pod_wins() {
    let wants = |value: &str| pod(json!({"metadata": {"labels": {"sidecar.istio.io/inject": value}}}));
    let plain = pod(json!({}));
    let injects =
        |pod: &Pod, namespace: &[(&str, &str)]| matches!(decide(pod, namespace), Decision::Inject(_));
    assert!(injects(&plain, &[("istio-injection", "enabled")]));
    assert!(!injects(&plain, &[("istio-injection", "disabled")]));
    assert!(!injects(&plain, &[]));
    assert!(injects(&plain, &[("istio.io/rev", "default")]));
    assert!(!injects(&plain, &[("istio.io/rev", "canary")]));
    assert!(!injects(&plain, &[("istio-injection", "disabled"), ("istio.io/rev", "default")]));
    assert!(injects(&wants("true"), &[("istio-injection", "disabled")]));
    assert!(!injects(&wants("false"), &[("istio-injection", "enabled")]));
    assert!(!injects(&pod(json!({"spec": {"hostNetwork": true}})), &[("istio-injection", "enabled")]));
}

#[test]
fn a_pod_is_never_injected_twice() {
    let once = injected(&pod(json!({}))).pod;
    assert!(matches!(decide(&once, &[("istio-injection", "enabled")]), Decision::Skip(_)));
}

#[test]
fn interception_comes_first_and_the_proxy_is_a_native_sidecar() {
    let spec = injected(&pod(json!({"spec": {"initContainers": [{"name": "own"}]}}))).pod.spec.expect("spec");
    let init = spec.init_containers.expect("init containers");
    let names: Vec<&str> = init.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["istio-init", "istio-proxy", "own"]);
    assert_eq!(init[1].restart_policy.as_deref(), Some("Always"));
    assert!(init[1].startup_probe.is_some());
    assert_eq!(spec.containers.len(), 1);
}

#[test]
fn the_owner_is_the_deployment() {
    let owner = Owner::of(&pod(json!({})), "default");
    assert_eq!(owner.name, "payments-v1");
    assert_eq!(owner.path, "kubernetes://apis/apps/v1/namespaces/default/deployments/payments-v1");
}

#[test]
fn probes_go_through_the_agent_and_keep_what_they_asked() {
    let pod = pod(json!({"spec": {"containers": [{"name": "payments",
        "ports": [{"name": "web", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "web"}, "timeoutSeconds": 4},
        "livenessProbe": {"exec": {"command": ["true"]}}}]}}));
    let spec = injected(&pod).pod.spec.expect("spec");
    let probe =
        spec.containers[0].readiness_probe.as_ref().and_then(|probe| probe.http_get.as_ref()).expect("probe");
    assert_eq!(probe.path.as_deref(), Some("/app-health/payments/readyz"));
    assert!(spec.containers[0].liveness_probe.as_ref().is_some_and(|probe| probe.exec.is_some()));
    let proxy = &spec.init_containers.as_ref().expect("init containers")[1];
    let probers = proxy.env.iter().flatten().find(|variable| variable.name == "ISTIO_KUBE_APP_PROBERS");
    let probers: Value =
        serde_json::from_str(probers.and_then(|variable| variable.value.as_deref()).expect("probers"))
            .expect("JSON");
    assert_eq!(probers["/app-health/payments/readyz"]["httpGet"]["port"], 8080);
    assert_eq!(probers["/app-health/payments/readyz"]["timeoutSeconds"], 4);
}

#[test]
fn an_annotation_can_only_be_a_value() {
    let evil = pod(json!({"metadata": {"annotations": {
        "traffic.sidecar.istio.io/excludeOutboundPorts": "80\n- name: extra"}}}));
    let error = inject(&evil, "default", &labels(&[("istio-injection", "enabled")]), &config()).unwrap_err();
    assert!(error.to_string().contains("excludeOutboundPorts"), "{error}");
}

#[test]
fn annotations_that_are_not_honoured_are_named() {
    let pod = pod(json!({"metadata": {"annotations": {"sidecar.istio.io/bootstrapOverride": "x"}}}));
    assert_eq!(injected(&pod).warnings.len(), 1);
}

#[test]
fn scraping_goes_to_the_agent_and_the_application_is_remembered() {
    let pod = pod(json!({"metadata": {"annotations": {
        "prometheus.io/scrape": "true", "prometheus.io/port": "9000"}}}));
    let pod = injected(&pod).pod;
    let annotations = pod.metadata.annotations.expect("annotations");
    assert_eq!(annotations["prometheus.io/port"], "15020");
    let init = pod.spec.and_then(|spec| spec.init_containers).expect("init containers");
    let own = init[1].env.iter().flatten().find(|variable| variable.name == "ISTIO_PROMETHEUS_ANNOTATIONS");
    assert!(own.and_then(|variable| variable.value.as_deref()).is_some_and(|value| value.contains("9000")));
}

#[test]
fn the_patch_makes_the_injected_pod_of_the_original() {
    let before = serde_json::to_value(pod(json!({}))).expect("JSON");
    let after = injected(&pod(json!({}))).pod;
    let mut patched = before.clone();
    json_patch::patch(&mut patched, &patch(&before, &after).expect("a patch")).expect("applies");
    assert_eq!(patched, serde_json::to_value(after).expect("JSON"));
}

#[test]
fn proxy_metadata_is_the_proxys_environment() {
    let with = |config: &str| pod(json!({"metadata": {"annotations": {"proxy.istio.io/config": config}}}));
    let spec = injected(&with("proxyMetadata: {SECRET_TTL: 1h, CA_ADDR: ca.example.com:15012}")).pod.spec;
    let init = spec.and_then(|spec| spec.init_containers).expect("init containers");
    let settings = |name: &str| -> Vec<String> {
        let named = init[1].env.iter().flatten().filter(|variable| variable.name == name);
        named.filter_map(|variable| variable.value.clone()).collect()
    };
    assert_eq!(settings("SECRET_TTL"), ["1h"]);
    assert_eq!(settings("CA_ADDR"), ["ca.example.com:15012"], "the pod's own word counts, once");

    let number = with("proxyMetadata: {SECRET_TTL: 1}");
    let error =
        inject(&number, "default", &labels(&[("istio-injection", "enabled")]), &config()).unwrap_err();
    assert!(error.to_string().contains("proxyMetadata"), "{error}");
}
