use std::collections::BTreeSet;

use mizzen_api::Kind;

use crate::{Host, ObjectName, ServerTls, Side, testing};

fn host(text: &str) -> Host {
    Host::new(text)
}

fn names(hosts: &BTreeSet<Host>) -> Vec<&str> {
    hosts.iter().map(Host::as_str).collect()
}

const PAYMENTS: &str = "payments.default.svc.cluster.local";

fn shop() -> String {
    [
        testing::service("default", "payments", "http", "10.96.0.20"),
        testing::service("default", "cart", "http", "10.96.0.21"),
        testing::pod("default", "payments-1", "payments", "v1", "10.244.0.5"),
        testing::slice("default", "payments", "http", &[("payments-1", "10.244.0.5")]),
    ]
    .concat()
}

#[test]
fn an_endpoint_touches_its_service_and_nothing_else() {
    let mut store = testing::store(&shop());
    let more = [
        testing::pod("default", "payments-2", "payments", "v1", "10.244.0.6"),
        testing::slice(
            "default",
            "payments",
            "http",
            &[("payments-1", "10.244.0.5"), ("payments-2", "10.244.0.6")],
        ),
    ];
    let applied = testing::apply(&mut store, &more.concat());
    assert_eq!(names(&applied.touched.endpoints), [PAYMENTS]);
    assert!(applied.touched.services.is_empty(), "the identities behind the service are the same");
    let key = applied.snapshot.service(&host(PAYMENTS), "default").unwrap().key();
    let endpoints = applied.snapshot.endpoints(&key).unwrap();
    assert_eq!(endpoints.of_port(80).len(), 2);
    assert_eq!(endpoints.of_port(80)[1].port, 8080);
}

#[test]
fn a_new_identity_behind_a_service_touches_its_clusters() {
    let mut store = testing::store(&shop());
    let other = [
        testing::pod("default", "guest-1", "guest", "v1", "10.244.0.9"),
        testing::slice(
            "default",
            "payments",
            "http",
            &[("payments-1", "10.244.0.5"), ("guest-1", "10.244.0.9")],
        ),
    ];
    let applied = testing::apply(&mut store, &other.concat());
    assert_eq!(names(&applied.touched.services), [PAYMENTS]);
}

#[test]
fn the_same_object_again_touches_nothing() {
    let mut store = testing::store(&shop());
    let before = store.snapshot();
    let applied = testing::apply(&mut store, &shop());
    assert!(applied.touched.is_empty(), "{:?}", applied.touched);
    assert_eq!(before.revision(), applied.snapshot.revision());
}

#[test]
fn a_pod_that_comes_after_its_endpoints_lends_them_its_labels() {
    let slice = testing::slice("default", "payments", "http", &[("payments-1", "10.244.0.5")]);
    let mut store = testing::store(&(testing::service("default", "payments", "http", "10.96.0.20") + &slice));
    let key = store.snapshot().service(&host(PAYMENTS), "default").unwrap().key();
    assert!(!store.snapshot().is_meshed(&key));
    testing::apply(&mut store, &testing::pod("default", "payments-1", "payments", "v2", "10.244.0.5"));
    let snapshot = store.snapshot();
    let endpoints = snapshot.endpoints(&key).unwrap();
    assert_eq!(endpoints.of_port(80)[0].workload.labels["version"], "v2");
    assert!(snapshot.is_meshed(&key));
    assert_eq!(snapshot.workload_at("10.244.0.5".parse().unwrap()).unwrap().name.as_ref(), "payments-1");
}

#[test]
fn a_snapshot_taken_before_a_change_stays_as_it_was() {
    let mut store = testing::store(&shop());
    let before = store.snapshot();
    testing::apply(&mut store, &testing::service("default", "late", "http", "10.96.0.30"));
    assert!(before.service(&host("late.default.svc.cluster.local"), "default").is_none());
    assert!(store.snapshot().service(&host("late.default.svc.cluster.local"), "default").is_some());
}

const EXTERNAL: &str = "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext}
spec:
  hosts: [ext-svc.example.com]
  ports: [{number: 443, name: https, protocol: HTTPS}]
  location: MESH_EXTERNAL
  resolution: DNS
";

#[test]
fn a_service_entry_becomes_a_service_that_dns_resolves_at_an_allocated_address() {
    let mut store = testing::store(EXTERNAL);
    let snapshot = store.snapshot();
    let service = snapshot.service(&host("ext-svc.example.com"), "other").unwrap();
    assert_eq!(service.location, crate::Location::External);
    assert_eq!(service.resolution, crate::Resolution::Dns);
    assert!(service.allocated.unwrap().to_string().starts_with("240.240."));
    let endpoints = snapshot.endpoints(&service.key()).unwrap();
    assert_eq!(endpoints.of_port(443)[0].address.to_string(), "ext-svc.example.com");

    let applied = testing::delete(&mut store, Kind::ServiceEntry, "default", "ext");
    assert_eq!(names(&applied.touched.services), ["ext-svc.example.com"]);
    assert!(applied.snapshot.service(&host("ext-svc.example.com"), "other").is_none());
}

#[test]
fn two_entries_for_one_host_share_their_ports_until_one_goes() {
    let second = EXTERNAL
        .replace("name: ext}", "name: plain}")
        .replace("443", "80")
        .replace("https", "http")
        .replace("HTTPS", "HTTP");
    let mut store = testing::store(&(EXTERNAL.to_owned() + &second));
    let ports = |store: &crate::Store| -> Vec<u16> {
        let snapshot = store.snapshot();
        let service = snapshot.service(&host("ext-svc.example.com"), "default").unwrap();
        let mut ports: Vec<u16> = service.ports.iter().map(|port| port.number).collect();
        ports.sort_unstable();
        ports
    };
    assert_eq!(ports(&store), [80, 443]);
    testing::delete(&mut store, Kind::ServiceEntry, "default", "ext");
    assert_eq!(ports(&store), [80]);
}

#[test]
fn an_object_that_is_not_valid_is_left_out_and_named_until_it_is_mended() {
    let broken = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: broken}
spec: {hosts: [payments]}
";
    let mut store = testing::store(broken);
    let snapshot = store.snapshot();
    let (object, violations) = snapshot.quarantined().next().unwrap();
    assert_eq!(object.to_string(), "VirtualService default/broken");
    assert!(!violations.is_empty());
    assert_eq!(snapshot.virtual_services().count(), 0);

    let applied = testing::apply(
        &mut store,
        &broken.replace(
            "spec: {hosts: [payments]}",
            "spec: {hosts: [payments], http: [{route: [{destination: {host: payments}}]}]}",
        ),
    );
    assert!(applied.touched.quarantine);
    assert_eq!(applied.snapshot.quarantined().count(), 0);
    assert_eq!(applied.snapshot.virtual_services().count(), 1);
}

#[test]
fn a_broken_authorization_policy_fails_closed() {
    let store = testing::store(
        "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: tokens}
spec:
  action: DENY
  rules: [{from: [{source: {requestPrincipals: ['*']}}]}]
",
    );
    let snapshot = store.snapshot();
    assert_eq!(snapshot.quarantined().count(), 1);
    let policies = snapshot.authorization_policies("default", &Default::default());
    assert_eq!(policies[0].spec.rules, [Default::default()], "it denies everything");
}

fn peer(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
"
    )
}

#[test]
fn the_narrowest_peer_authentication_decides_and_unset_inherits() {
    let policies = [
        peer("mesh", "istio-system", "{mtls: {mode: STRICT}}"),
        peer("open", "legacy", "{mtls: {mode: DISABLE}}"),
        peer("silent", "default", "{mtls: {mode: UNSET}}"),
        peer(
            "ports",
            "default",
            "{selector: {matchLabels: {app: db}}, portLevelMtls: {9000: {mode: DISABLE}}}",
        ),
    ];
    let snapshot = testing::store(&policies.concat()).snapshot();
    let labels = |app: &str| [("app".to_owned(), app.to_owned())].into();
    assert_eq!(snapshot.peer_policy("default", &labels("web")).mode(), ServerTls::Strict);
    assert_eq!(snapshot.peer_policy("legacy", &labels("web")).mode(), ServerTls::Disable);
    let database = snapshot.peer_policy("default", &labels("db"));
    assert_eq!(database.of_port(9000), ServerTls::Disable);
    assert_eq!(database.of_port(5432), ServerTls::Strict);
    assert_eq!(testing::store("").snapshot().peer_policy("a", &labels("b")).mode(), ServerTls::Permissive);
}

fn rule(name: &str, namespace: &str, host: &str, more: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{host: {host}{more}}}
"
    )
}

#[test]
fn a_destination_rule_is_looked_for_at_the_client_then_the_service_then_the_root() {
    let service = testing::service("default", "payments", "http", "10.96.0.20");
    let rules = [
        rule("root", "istio-system", "'*.local'", ""),
        rule("own", "default", PAYMENTS, ""),
        rule("client", "web", PAYMENTS, ""),
        rule("hidden", "default", "'*.cluster.local'", ", exportTo: ['.']"),
    ];
    let snapshot = testing::store(&(service + &rules.concat())).snapshot();
    let service = snapshot.service(&host(PAYMENTS), "web").unwrap();
    let found =
        |client: &str| snapshot.destination_rule(service, client, &Default::default()).unwrap().object_name();
    assert_eq!(found("web"), ObjectName::new("web", "client"));
    assert_eq!(found("elsewhere"), ObjectName::new("default", "own"));
    assert_eq!(found("default"), ObjectName::new("default", "own"), "an exact host beats a wildcard");
    let without =
        testing::store(&(testing::service("default", "payments", "http", "10.96.0.20") + &rules[0]))
            .snapshot();
    let service = without.service(&host(PAYMENTS), "web").unwrap();
    assert_eq!(
        without.destination_rule(service, "web", &Default::default()).unwrap().object_name(),
        ObjectName::new("istio-system", "root")
    );
}

#[test]
fn several_rules_for_one_host_are_joined_the_oldest_first() {
    let first = rule("a", "default", "payments", ", subsets: [{name: v1, labels: {version: v1}}]");
    let second = rule(
        "b",
        "default",
        PAYMENTS,
        ", trafficPolicy: {tls: {mode: SIMPLE}}, subsets: [{name: v1, labels: {version: x}}, {name: v2, labels: {version: v2}}]",
    );
    let store =
        testing::store(&(testing::service("default", "payments", "http", "10.96.0.20") + &first + &second));
    let snapshot = store.snapshot();
    let service = snapshot.service(&host(PAYMENTS), "default").unwrap();
    let joined = snapshot.destination_rule(service, "default", &Default::default()).unwrap();
    assert_eq!(joined.subset("v1").unwrap().labels["version"], "v1");
    assert!(joined.subset("v2").is_some());
    assert!(joined.policy.is_some());
}

#[test]
fn a_rule_for_a_host_is_found_by_the_most_specific_name_and_the_oldest_wins() {
    let rules = |name: &str, created: &str, hosts: &str| {
        format!(
            "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, creationTimestamp: '{created}'}}
spec: {{hosts: {hosts}, http: [{{name: {name}, route: [{{destination: {{host: payments}}}}]}}]}}
"
        )
    };
    let store = testing::store(
        &[
            rules("wild", "2020-01-01T00:00:00Z", "['*.svc.cluster.local']"),
            rules("young", "2024-01-01T00:00:00Z", "[payments]"),
            rules("old", "2023-01-01T00:00:00Z", "[payments]"),
        ]
        .concat(),
    );
    let found: Vec<_> = store
        .snapshot()
        .mesh_routes(&host(PAYMENTS), "default")
        .iter()
        .map(|(_, r)| r.name.to_string())
        .collect();
    assert_eq!(found, ["old", "young", "wild"]);
    let route = store.snapshot().virtual_service("default", "old").unwrap().http[0].clone();
    assert_eq!(route.route[0].destination.host, PAYMENTS, "short names are completed");
}

#[test]
fn a_sidecar_narrows_what_is_seen_and_rules_lead_on() {
    let store = testing::store(
        &[
            testing::service("default", "payments", "http", "10.96.0.20"),
            testing::service("bank", "ledger", "http", "10.96.0.21"),
            testing::service("bank", "vault", "http", "10.96.0.22"),
            "---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec: {egress: [{hosts: ['./*']}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: payments}
spec: {hosts: [payments], http: [{route: [{destination: {host: ledger.bank.svc.cluster.local}}]}]}
"
            .to_owned(),
        ]
        .concat(),
    );
    let scope = crate::Scope::of_sidecar(&store.snapshot(), "default", &Default::default());
    let seen: Vec<_> = scope.services().map(|service| service.host.as_str().to_owned()).collect();
    assert_eq!(seen, ["ledger.bank.svc.cluster.local", PAYMENTS]);
    let elsewhere = crate::Scope::of_sidecar(&store.snapshot(), "bank", &Default::default());
    assert_eq!(elsewhere.services().count(), 3);
}

#[test]
fn export_to_hides_a_service_from_other_namespaces() {
    let hidden = testing::service("bank", "vault", "http", "10.96.0.22")
        .replace("namespace: bank}", "namespace: bank, annotations: {networking.istio.io/exportTo: '.'}}");
    let snapshot = testing::store(&hidden).snapshot();
    let vault = host("vault.bank.svc.cluster.local");
    assert!(snapshot.service(&vault, "bank").is_some());
    assert!(snapshot.service(&vault, "default").is_none());
}

#[test]
fn access_logs_follow_the_narrowest_telemetry() {
    let telemetry = |name: &str, namespace: &str, spec: &str| {
        format!(
            "---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
"
        )
    };
    let all = telemetry("mesh", "istio-system", "{accessLogging: [{providers: [{name: envoy}]}]}");
    let quiet = telemetry(
        "quiet",
        "default",
        "{selector: {matchLabels: {app: noisy}}, accessLogging: [{disabled: true}]}",
    );
    let snapshot = testing::store(&(all + &quiet)).snapshot();
    let labels = |app: &str| [("app".to_owned(), app.to_owned())].into();
    assert_eq!(snapshot.access_log_providers("default", &labels("web"), Side::Server), ["envoy"]);
    assert!(snapshot.access_log_providers("default", &labels("noisy"), Side::Server).is_empty());
}

#[test]
fn a_gateway_listens_where_its_service_leads() {
    let store = testing::store(
        "---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  ports: [{name: http2, port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: 8443}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: my-gateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: app-tls}, hosts: [app.example.com]}
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
",
    );
    let labels = [("istio".to_owned(), "ingressgateway".to_owned())].into();
    let servers = store.snapshot().gateway_servers("istio-system", "gw-1", &labels);
    let found: Vec<_> =
        servers.iter().map(|server| (server.port, server.listen_port, server.route_name())).collect();
    assert_eq!(
        found,
        [
            (443, 8443, "https.443.https.my-gateway.istio-system".to_owned()),
            (80, 8080, "http.8080".to_owned())
        ]
    );
}

#[test]
fn a_node_gives_its_place_to_its_pods() {
    let mut store = testing::store(&shop());
    testing::apply(
        &mut store,
        "---
apiVersion: v1
kind: Node
metadata: {name: node-1, labels: {topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z1}}
",
    );
    let snapshot = store.snapshot();
    let key = snapshot.service(&host(PAYMENTS), "default").unwrap().key();
    let endpoint = &snapshot.endpoints(&key).unwrap().of_port(80)[0];
    assert_eq!(
        (endpoint.workload.locality.region.as_str(), endpoint.workload.locality.zone.as_str()),
        ("r1", "z1")
    );
}
