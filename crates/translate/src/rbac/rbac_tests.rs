use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac as HttpRbac;
use prost::Message;

use super::*;
use crate::testing::*;

fn policy(name: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}}}
spec: {spec}
"
    )
}

fn http(manifests: &str) -> Vec<pb::Rbac> {
    let snapshot = shop_with(manifests).snapshot();
    assert_eq!(snapshot.quarantined().count(), 0, "{:?}", snapshot.quarantined().collect::<Vec<_>>());
    let proxy = sidecar("payments");
    let context = crate::Context::new(&snapshot, &proxy);
    http_filters(&context)
        .iter()
        .map(|filter| match &filter.config_type {
            Some(hcm::http_filter::ConfigType::TypedConfig(any)) => {
                HttpRbac::decode(any.value.as_slice()).unwrap().rules.unwrap()
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

fn tcp(manifests: &str) -> Vec<pb::Rbac> {
    let snapshot = shop_with(manifests).snapshot();
    let proxy = sidecar("payments");
    let context = crate::Context::new(&snapshot, &proxy);
    network_filters(&context)
        .iter()
        .map(|filter| match &filter.config_type {
            Some(listener::filter::ConfigType::TypedConfig(any)) => {
                NetworkRbac::decode(any.value.as_slice()).unwrap().rules.unwrap()
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn no_policy_is_no_filter_and_an_empty_one_refuses_all() {
    assert!(http("").is_empty());
    let rules = http(&policy("nothing", "{}"));
    assert_eq!(rules[0].action, pb::rbac::Action::Allow as i32);
    assert!(rules[0].policies.is_empty());
}

#[test]
fn deny_comes_before_allow() {
    let both = policy("may", "{rules: [{}]}")
        + &policy("never", "{action: DENY, rules: [{to: [{operation: {methods: [DELETE]}}]}]}");
    let actions: Vec<_> = http(&both).iter().map(|rules| rules.action).collect();
    assert_eq!(actions, [pb::rbac::Action::Deny as i32, pb::rbac::Action::Allow as i32]);
}

#[test]
fn an_exact_principal_is_matched_exactly() {
    let rules = http(&policy(
        "cart",
        "{rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/cart]}}], to: [{operation: {methods: [GET], paths: ['/api/*'], ports: ['8080']}}]}]}",
    ));
    let compiled = &rules[0].policies["ns[default]-policy[cart]-rule[0]"];
    let text = format!("{compiled:?}");
    assert!(text.contains("Exact(\"spiffe://cluster.local/ns/default/sa/cart\")"), "{text}");
    assert!(text.contains("Prefix(\"/api/\")") && text.contains("DestinationPort(8080)"), "{text}");
}

#[test]
fn wildcards_are_escaped_but_for_the_star() {
    let rules = http(&policy("ns", "{rules: [{from: [{source: {namespaces: ['team.a*']}}]}]}"));
    let text = format!("{rules:?}");
    assert!(text.contains(r#"spiffe://[^/]+/ns/team\\.a[^/]*/sa/[^/]+"#), "{text}");
}

#[test]
fn on_a_plain_connection_http_never_allows_and_always_denies() {
    let allow = policy("get", "{rules: [{to: [{operation: {methods: [GET]}}]}]}");
    assert!(tcp(&allow)[0].policies.is_empty(), "nothing is allowed");
    let deny =
        policy("get", "{action: DENY, rules: [{to: [{operation: {methods: [GET], ports: ['8080']}}]}]}");
    let rules = tcp(&deny);
    let text = format!("{:?}", rules[0].policies);
    assert!(text.contains("DestinationPort(8080)") && !text.contains(":method"), "{text}");
}

#[test]
fn a_policy_for_others_does_not_concern_the_workload() {
    assert!(http(&policy("cart", "{selector: {matchLabels: {app: cart}}}")).is_empty());
}

#[test]
fn a_dry_run_is_only_counted() {
    let dry = policy("dry", "{action: DENY, rules: [{}]}")
        .replace("{name: dry}", "{name: dry, annotations: {istio.io/dry-run: 'true'}}");
    let snapshot = shop_with(&dry).snapshot();
    let proxy = sidecar("payments");
    let context = crate::Context::new(&snapshot, &proxy);
    let filters = http_filters(&context);
    let Some(hcm::http_filter::ConfigType::TypedConfig(any)) = &filters[0].config_type else { panic!() };
    let config = HttpRbac::decode(any.value.as_slice()).unwrap();
    assert!(config.rules.is_none() && config.shadow_rules.is_some());
}
