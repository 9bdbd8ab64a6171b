use super::*;
use proptest::prelude::*;
use serde_json::json;

fn service(ports: serde_json::Value, more: serde_json::Value) -> Service {
    let mut service = json!({
        "metadata": {"name": "payments", "namespace": "default", "labels": {"team": "money"}},
        "spec": {"clusterIP": "10.96.0.50", "selector": {"app": "payments"}, "ports": ports},
    });
    json_patch::merge(&mut service, &more);
    serde_json::from_value(service).expect("a service")
}

fn pod(number: usize, ready: bool, more: serde_json::Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": format!("payments-{number}"), "namespace": "default", "uid": format!("uid-{number}")},
        "spec": {"nodeName": "node", "containers": [
            {"name": "app", "ports": [{"name": "web", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": format!("10.244.{}.{}", number / 250, number % 250 + 1),
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    });
    json_patch::merge(&mut pod, &more);
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn zones() -> Zones {
    Zones::from([("node".to_owned(), "local".to_owned())])
}

fn owner() -> OwnerReference {
    OwnerReference { name: "payments".into(), ..OwnerReference::default() }
}

fn plan(service: &Service, groups: Vec<Group>, existing: &[Arc<EndpointSlice>]) -> Changes {
    plan_slices(service, &owner(), Source::Selector, groups, existing)
}

fn web() -> Service {
    service(json!([{"name": "http", "port": 80, "targetPort": "web"}]), json!({}))
}

#[test]
fn an_endpoint_tells_readiness_termination_place_and_pod() {
    let leaving = pod(2, true, json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    let groups =
        groups_of_pods(&web(), &[pod(1, true, json!({})), leaving, pod(3, false, json!({}))], &zones());
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].ports[0].port, Some(8080));
    let conditions: Vec<_> = groups[0]
        .endpoints
        .iter()
        .filter_map(|endpoint| endpoint.conditions.as_ref())
        .map(|conditions| (conditions.ready, conditions.serving, conditions.terminating))
        .collect();
    assert_eq!(
        conditions,
        [
            (Some(true), Some(true), Some(false)),
            (Some(false), Some(true), Some(true)),
            (Some(false), Some(false), Some(false)),
        ]
    );
    let first = &groups[0].endpoints[0];
    assert_eq!(first.zone.as_deref(), Some("local"));
    assert_eq!(first.target_ref.as_ref().and_then(|target| target.name.as_deref()), Some("payments-1"));
}

#[test]
fn a_named_port_is_each_pods_own() {
    let other = pod(
        2,
        true,
        json!({"spec": {"containers": [
        {"name": "app", "ports": [{"name": "web", "containerPort": 9090}]}]}}),
    );
    let without = pod(3, true, json!({"spec": {"containers": [{"name": "app"}]}}));
    let groups = groups_of_pods(&web(), &[pod(1, true, json!({})), other, without], &zones());
    let ports: Vec<_> = groups.iter().map(|group| (group.ports[0].port, group.endpoints.len())).collect();
    assert_eq!(ports, [(Some(8080), 1), (Some(9090), 1)]);
}

#[test]
fn not_ready_addresses_are_published_on_request() {
    let service = service(json!([{"port": 80}]), json!({"spec": {"publishNotReadyAddresses": true}}));
    let groups = groups_of_pods(&service, &[pod(1, false, json!({}))], &zones());
    let conditions = groups[0].endpoints[0].conditions.as_ref().expect("conditions");
    assert_eq!((conditions.ready, conditions.serving), (Some(true), Some(false)));
    assert_eq!(groups[0].ports[0].port, Some(80), "without a target port it is the port itself");
}

#[test]
fn pods_that_ended_or_have_no_address_are_no_endpoints() {
    let ended = pod(1, false, json!({"status": {"phase": "Succeeded"}}));
    let starting = pod(2, false, json!({"status": {"podIP": null}}));
    assert!(groups_of_pods(&web(), &[ended, starting], &zones()).is_empty());
}

#[test]
fn a_pod_has_a_host_name_only_under_the_service_of_its_subdomain() {
    let headless = service(json!([]), json!({"spec": {"clusterIP": "None"}}));
    let named = pod(1, true, json!({"spec": {"hostname": "db-0", "subdomain": "payments"}}));
    let stranger = pod(2, true, json!({"spec": {"hostname": "db-0", "subdomain": "other"}}));
    let groups = groups_of_pods(&headless, &[named, stranger], &zones());
    let names: Vec<_> = groups[0].endpoints.iter().map(|endpoint| endpoint.hostname.as_deref()).collect();
    assert_eq!(names, [Some("db-0"), None]);
}

#[test]
fn a_service_without_pods_has_one_empty_slice_and_it_is_reused() {
    let created = plan(&web(), Vec::new(), &[]);
    assert_eq!(created.create.len(), 1);
    assert!(created.create[0].endpoints.is_empty());
    let existing: Vec<_> = created.create.into_iter().map(Arc::new).collect();
    assert_eq!(plan(&web(), Vec::new(), &existing), Changes::default());
}

#[test]
fn a_slice_carries_the_services_labels_and_its_own() {
    let created = plan(&web(), Vec::new(), &[]);
    let labels = created.create[0].metadata.labels.as_ref().expect("labels");
    assert_eq!(labels.get("team").map(String::as_str), Some("money"));
    assert_eq!(labels.get(SERVICE_NAME).map(String::as_str), Some("payments"));
    assert_eq!(labels.get(MANAGED_BY).map(String::as_str), Some("endpointslice-controller.k8s.io"));
}

#[test]
fn one_pod_leaving_touches_one_slice() {
    let pods: Vec<_> = (0..150).map(|number| pod(number, true, json!({}))).collect();
    let created = plan(&web(), groups_of_pods(&web(), &pods, &zones()), &[]);
    let sizes: Vec<_> = created.create.iter().map(|slice| slice.endpoints.len()).collect();
    assert_eq!(sizes, [100, 50]);
    let existing: Vec<_> = created.create.into_iter().map(Arc::new).collect();
    let changes = plan(&web(), groups_of_pods(&web(), &pods[1..], &zones()), &existing);
    assert_eq!((changes.create.len(), changes.update.len(), changes.delete.len()), (0, 1, 0));
}

#[test]
fn endpoints_written_by_hand_are_mirrored() {
    let endpoints: Endpoints = serde_json::from_value(json!({
        "metadata": {"name": "database", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "notReadyAddresses": [{"ip": "192.0.2.2"}],
            "ports": [{"name": "sql", "port": 5432}]}],
    }))
    .expect("endpoints");
    let groups = groups_of_endpoints(&endpoints);
    let ready: Vec<_> = groups[0]
        .endpoints
        .iter()
        .map(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready))
        .collect();
    assert_eq!(ready, [Some(true), Some(false)]);
    let changes = plan_slices(&web(), &owner(), Source::Endpoints, groups, &[]);
    let labels = changes.create[0].metadata.labels.as_ref().expect("labels");
    assert_eq!(labels.get(MANAGED_BY).map(String::as_str), Some("endpointslicemirroring-controller.k8s.io"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn slices_always_hold_exactly_the_wanted_endpoints(steps in proptest::collection::vec(
        proptest::collection::btree_set(0..260_usize, 0..240), 1..4)) {
        let service = web();
        let mut slices: Vec<Arc<EndpointSlice>> = Vec::new();
        for wanted in steps {
            let pods: Vec<_> = wanted.iter().map(|number| pod(*number, true, json!({}))).collect();
            let changes = plan(&service, groups_of_pods(&service, &pods, &zones()), &slices);
            for deleted in &changes.delete {
                slices.retain(|slice| slice.metadata.name != deleted.metadata.name);
            }
            for updated in changes.update {
                slices.retain(|slice| slice.metadata.name != updated.metadata.name);
                slices.push(Arc::new(updated));
            }
            slices.extend(changes.create.into_iter().map(Arc::new));
            let held: Vec<String> = slices.iter().flat_map(|slice| &slice.endpoints).map(identity).collect();
            let distinct: BTreeSet<&String> = held.iter().collect();
            prop_assert_eq!(distinct.len(), held.len(), "no endpoint twice");
            prop_assert_eq!(held.len(), wanted.len());
            prop_assert!(slices.iter().all(|slice| slice.endpoints.len() <= SLICE_SIZE));
        }
    }
}
