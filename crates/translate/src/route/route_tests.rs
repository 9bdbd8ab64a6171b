use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{envoy::route as pb, testing::*};

fn rules(spec: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: payments}}
spec:
  hosts: [payments]
{spec}
"
    )
}

fn payments(manifests: &str) -> pb::VirtualHost {
    let snapshot = shop_with(manifests).snapshot();
    assert_eq!(snapshot.quarantined().count(), 0, "{:?}", snapshot.quarantined().collect::<Vec<_>>());
    virtual_host(&routes(&snapshot, &sidecar("payments"), "80"), "payments.default.svc.cluster.local")
}

fn cluster(action: &pb::RouteAction) -> &str {
    match &action.cluster_specifier {
        Some(pb::route_action::ClusterSpecifier::Cluster(cluster)) => cluster,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_service_has_every_name_clients_may_use_and_a_default_route() {
    let host = payments("");
    assert_eq!(host.name, "payments.default.svc.cluster.local:80");
    for name in [
        "payments",
        "payments.default",
        "payments.default.svc",
        "payments.default.svc.cluster.local.",
        "10.96.0.20",
    ] {
        assert!(host.domains.iter().any(|domain| domain == name), "{name} is not in {:?}", host.domains);
    }
    let route = &host.routes[0];
    assert_eq!(route.name, "default");
    let action = action(route);
    assert_eq!(cluster(&action), "outbound|80||payments.default.svc.cluster.local");
    assert_eq!(action.timeout.unwrap().seconds, 0);
    assert_eq!(action.retry_policy.unwrap().num_retries.unwrap().value, 2);
}

#[test]
fn hosts_nobody_knows_pass_or_are_refused() {
    let snapshot = shop_with("").snapshot();
    let open = virtual_host(&routes(&snapshot, &sidecar("payments"), "80"), "*");
    assert_eq!((open.name.as_str(), cluster(&action(&open.routes[0]))), ("allow_any", "PassthroughCluster"));
    let only = "---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec: {egress: [{hosts: ['*/*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
";
    let snapshot = shop_with(only).snapshot();
    let closed = virtual_host(&routes(&snapshot, &sidecar("payments"), "80"), "*");
    assert_eq!(closed.name, "block_all");
    let Some(pb::route::Action::DirectResponse(response)) = &closed.routes[0].action else { panic!() };
    assert_eq!(response.status, 502);
}

fn weights(host: &pb::VirtualHost) -> BTreeMap<String, u32> {
    match action(&host.routes[0]).cluster_specifier {
        Some(pb::route_action::ClusterSpecifier::WeightedClusters(weighted)) => weighted
            .clusters
            .iter()
            .map(|cluster| (cluster.name.clone(), cluster.weight.as_ref().map_or(0, |weight| weight.value)))
            .collect(),
        Some(pb::route_action::ClusterSpecifier::Cluster(cluster)) => [(cluster, 1)].into(),
        other => panic!("{other:?}"),
    }
}

fn canary(v1: u32, v2: u32) -> String {
    rules(&format!(
        "  http: [{{route: [{{destination: {{host: payments, subset: v1}}, weight: {v1}}}, {{destination: {{host: payments, subset: v2}}, weight: {v2}}}]}}]"
    ))
}

#[test]
fn ninety_nine_to_one_is_ninety_nine_to_one() {
    let found = weights(&payments(&canary(99, 1)));
    assert_eq!(found["outbound|80|v1|payments.default.svc.cluster.local"], 99);
    assert_eq!(found["outbound|80|v2|payments.default.svc.cluster.local"], 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Shares are the weights themselves, never rounded; a weight of zero takes its destination out.
    #[test]
    fn weights_are_exact(v1 in 1u32..5000, v2 in 0u32..5000) {
        let found = weights(&payments(&canary(v1, v2)));
        let second = found.get("outbound|80|v2|payments.default.svc.cluster.local");
        if v2 == 0 {
            prop_assert_eq!(found.len(), 1);
            prop_assert!(second.is_none());
        } else {
            prop_assert_eq!(found["outbound|80|v1|payments.default.svc.cluster.local"], v1);
            prop_assert_eq!(second, Some(&v2));
        }
    }
}

#[test]
fn matches_are_taken_over_in_their_order_and_what_catches_all_ends_them() {
    let host = payments(&rules(
        "  http:
  - name: admin
    match: [{name: get, uri: {prefix: /admin}, method: {exact: GET}, headers: {x-team: {regex: 'a.*'}, x-any: {}}, withoutHeaders: {x-old: {exact: '1'}}, queryParams: {v: {exact: '2'}}, ignoreUriCase: true}]
    route: [{destination: {host: cart}}]
  - match: [{uri: {regex: '/items/[0-9]+'}}]
    route: [{destination: {host: payments}}]
  - route: [{destination: {host: payments}}]
  - name: never
    route: [{destination: {host: db}}]",
    ));
    let names: Vec<_> = host.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["admin.get", "default", "default"]);
    let first = host.routes[0].r#match.as_ref().unwrap();
    assert_eq!(first.path_specifier, Some(pb::route_match::PathSpecifier::Prefix("/admin".to_owned())));
    assert!(!first.case_sensitive.as_ref().unwrap().value);
    let headers: Vec<_> =
        first.headers.iter().map(|header| (header.name.as_str(), header.invert_match)).collect();
    assert_eq!(headers, [("x-any", false), ("x-team", false), ("x-old", true), (":method", false)]);
    assert_eq!(first.query_parameters[0].name, "v");
    assert_eq!(cluster(&action(&host.routes[0])), "outbound|80||cart.default.svc.cluster.local");
}

#[test]
fn conditions_on_the_client_are_decided_now() {
    let manifests = rules(
        "  http:
  - match: [{sourceLabels: {app: cart}}]
    route: [{destination: {host: cart}}]
  - match: [{sourceNamespace: elsewhere}]
    route: [{destination: {host: cart}}]
  - match: [{port: 9999}]
    route: [{destination: {host: cart}}]
  - match: [{gateways: [edge]}]
    route: [{destination: {host: cart}}]
  - route: [{destination: {host: payments}}]",
    );
    assert_eq!(payments(&manifests).routes.len(), 1);
    let snapshot = shop_with(&manifests).snapshot();
    let of_cart = virtual_host(&routes(&snapshot, &sidecar("cart"), "80"), "payments");
    assert_eq!(of_cart.routes.len(), 1, "what matches every request of this client ends the list");
    assert_eq!(cluster(&action(&of_cart.routes[0])), "outbound|80||cart.default.svc.cluster.local");
    assert!(snapshot.depends_on_client_labels());
}

#[test]
fn what_a_rule_does_to_requests_is_all_there() {
    let host = payments(&rules(
        "  http:
  - timeout: 3s
    retries: {attempts: 5, perTryTimeout: 1s, retryOn: '5xx'}
    rewrite: {uri: /new, authority: other.example.com}
    fault: {delay: {fixedDelay: 2s, percentage: {value: 0.5}}, abort: {httpStatus: 503, percentage: {value: 10}}}
    mirror: {host: cart}
    mirrorPercentage: {value: 25}
    corsPolicy: {allowOrigins: [{exact: 'https://a.example.com'}], allowMethods: [GET], maxAge: 1h}
    headers: {request: {set: {x-a: '1'}, add: {x-b: '2'}, remove: [x-c]}, response: {set: {x-d: '3'}}}
    match: [{uri: {prefix: /old}}]
    route: [{destination: {host: payments}}]",
    ));
    let route = &host.routes[0];
    let action = action(route);
    assert_eq!(action.timeout.as_ref().unwrap().seconds, 3);
    assert_eq!(action.retry_policy.as_ref().unwrap().num_retries.as_ref().unwrap().value, 5);
    assert_eq!(action.prefix_rewrite, "/new");
    assert_eq!(
        action.host_rewrite_specifier,
        Some(pb::route_action::HostRewriteSpecifier::HostRewriteLiteral("other.example.com".to_owned()))
    );
    let mirror = &action.request_mirror_policies[0];
    assert_eq!(mirror.cluster, "outbound|80||cart.default.svc.cluster.local");
    let share = mirror.runtime_fraction.as_ref().unwrap().default_value.as_ref().unwrap();
    assert_eq!(share.numerator, 250_000);
    let mut filters: Vec<_> = route.typed_per_filter_config.keys().map(String::as_str).collect();
    filters.sort_unstable();
    assert_eq!(filters, ["envoy.filters.http.cors", "envoy.filters.http.fault"]);
    let added: Vec<_> =
        route.request_headers_to_add.iter().map(|h| h.header.as_ref().unwrap().key.as_str()).collect();
    assert_eq!(added, ["x-a", "x-b"]);
    assert_eq!(route.request_headers_to_remove, ["x-c"]);
    let config = &route.metadata.as_ref().unwrap().filter_metadata["istio"].fields["config"];
    assert!(
        format!("{config:?}")
            .contains("/apis/networking.istio.io/v1/namespaces/default/virtual-service/payments")
    );
}

#[test]
fn redirects_and_direct_responses_are_answered_by_the_proxy() {
    let host = payments(&rules(
        "  http:
  - match: [{uri: {prefix: /r}}]
    redirect: {uri: /there, authority: b.example.com, scheme: https, port: 443, redirectCode: 308}
  - match: [{uri: {prefix: /d}}]
    directResponse: {status: 418, body: {string: short}}",
    ));
    let Some(pb::route::Action::Redirect(redirect)) = &host.routes[0].action else { panic!() };
    assert_eq!(redirect.host_redirect, "b.example.com");
    assert_eq!(redirect.port_redirect, 0, "the scheme's own port is not written out");
    assert_eq!(redirect.response_code, pb::redirect_action::RedirectResponseCode::PermanentRedirect as i32);
    let Some(pb::route::Action::DirectResponse(response)) = &host.routes[1].action else { panic!() };
    assert_eq!(response.status, 418);
}

#[test]
fn a_rule_for_a_host_nobody_knows_has_routes_on_port_80() {
    let manifests = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: unknown}
spec: {hosts: [api.example.com], http: [{route: [{destination: {host: payments}}]}]}
";
    let snapshot = shop_with(manifests).snapshot();
    let host = virtual_host(&routes(&snapshot, &sidecar("cart"), "80"), "api.example.com");
    assert_eq!(cluster(&action(&host.routes[0])), "outbound|80||payments.default.svc.cluster.local");
}

#[test]
fn a_sniffed_port_has_routes_of_its_own() {
    let snapshot = shop_with("").snapshot();
    let found = routes(&snapshot, &sidecar("payments"), "cart.default.svc.cluster.local:80");
    assert_eq!(found.virtual_hosts[0].domains, ["*"]);
}

const GATEWAY: &str = "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: my-gateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: app-tls}, hosts: [app.example.com]}
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['default/*.example.com']}
  - {port: {number: 80, name: redirect, protocol: HTTP}, tls: {httpsRedirect: true}, hosts: [secure.example.org]}
";

fn bound(name: &str, namespace: &str, created: &str, host: &str, http: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: '{created}'}}
spec: {{hosts: ['{host}'], gateways: [istio-system/my-gateway], http: [{http}]}}
"
    )
}

#[test]
fn rules_of_several_objects_are_joined_at_a_gateway_the_oldest_first_and_catch_alls_last() {
    let manifests = GATEWAY.to_owned()
        + &bound(
            "a-old",
            "default",
            "2020-01-01T00:00:00Z",
            "app.example.com",
            "{name: all, route: [{destination: {host: payments}}]}",
        )
        + &bound(
            "b-new",
            "default",
            "2024-01-01T00:00:00Z",
            "app.example.com",
            "{name: cart, match: [{uri: {prefix: /cart}}], route: [{destination: {host: cart}}]}",
        );
    let snapshot = shop_with(&manifests).snapshot();
    let found = routes(&snapshot, &gateway(), "https.443.https.my-gateway.istio-system");
    let host = virtual_host(&found, "app.example.com");
    assert_eq!(host.name, "app.example.com:443");
    let names: Vec<_> = host.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["cart", "all"]);
    assert_eq!(cluster(&action(&host.routes[0])), "outbound|80||cart.default.svc.cluster.local");
}

#[test]
fn a_server_serves_only_the_namespaces_it_names_and_a_redirect_needs_no_rule() {
    let manifests = GATEWAY.to_owned()
        + &bound(
            "mine",
            "default",
            "2020-01-01T00:00:00Z",
            "a.example.com",
            "{route: [{destination: {host: payments}}]}",
        )
        + &bound(
            "theirs",
            "other",
            "2020-01-01T00:00:00Z",
            "b.example.com",
            "{route: [{destination: {host: payments}}]}",
        );
    let snapshot = shop_with(&manifests).snapshot();
    let found = routes(&snapshot, &gateway(), "http.8080");
    let domains: Vec<_> = found.virtual_hosts.iter().flat_map(|host| host.domains.clone()).collect();
    assert_eq!(domains, ["a.example.com", "secure.example.org"]);
    let secure = virtual_host(&found, "secure.example.org");
    assert_eq!(secure.require_tls, pb::virtual_host::TlsRequirementType::All as i32);
}

#[test]
fn a_gateway_without_rules_knows_no_host() {
    let snapshot = shop_with(GATEWAY).snapshot();
    let found = routes(&snapshot, &gateway(), "https.443.https.my-gateway.istio-system");
    assert_eq!(found.virtual_hosts[0].name, "blackhole:443");
    assert!(found.virtual_hosts[0].routes.is_empty());
}

#[test]
fn virtual_hosts_that_are_discovered_are_those_of_the_whole() {
    let rules = rules("  http: [{timeout: 1s, route: [{destination: {host: payments}}]}]")
        + "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: outside}
spec: {hosts: ['*.outside.example.com'], http: [{route: [{destination: {host: cart}}]}]}
";
    let snapshot = shop_with(&rules).snapshot();
    let whole = routes(&snapshot, &sidecar("cart"), "80");
    let discovering = discovering_sidecar("cart");
    let part = routes(&snapshot, &discovering, "80");
    assert!(part.vhds.is_some());
    let by_name = |hosts: Vec<pb::VirtualHost>| -> BTreeMap<String, pb::VirtualHost> {
        hosts.into_iter().map(|host| (host.name.clone(), host)).collect()
    };
    let mut hosts = part.virtual_hosts;
    assert_eq!(hosts.len(), 1, "only unknown hosts are fixed");
    hosts.extend(virtual_hosts(&snapshot, &discovering, "80"));
    assert_eq!(by_name(hosts), by_name(whole.virtual_hosts));
    assert!(virtual_hosts(&snapshot, &sidecar("cart"), "80").is_empty(), "who cannot is sent none");
}

#[test]
fn a_host_below_a_wildcard_has_no_virtual_host_of_its_own() {
    let outside = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: outside}
spec: {hosts: ['*.outside.example.com'], http: [{route: [{destination: {host: cart}}]}]}
";
    let snapshot = shop_with(outside).snapshot();
    let proxy = discovering_sidecar("cart");
    let context = crate::Context::new(&snapshot, &proxy);
    let of = |host: &str| {
        let host = mizzen_model::Host::new(host);
        crate::of_hosts(&context, crate::TypeUrl::VIRTUAL_HOST, [&host]).len()
    };
    // One may have had rules until now: only what is asked for as a whole would be there, too.
    assert_eq!(of("once.outside.example.com"), 0);
    assert_eq!(of("*.outside.example.com"), 1);
}
