use mizzen_model::{Store, testing};

use super::*;
use crate::testing::*;

fn after(store: &mut Store, manifests: &str, proxy: &crate::Proxy) -> [Affected; 5] {
    let before = store.snapshot();
    let applied = testing::apply(store, manifests);
    let context = Context::new(&applied.snapshot, proxy);
    [TypeUrl::CLUSTER, TypeUrl::ENDPOINT, TypeUrl::LISTENER, TypeUrl::ROUTE, TypeUrl::SECRET]
        .map(|kind| affected(&applied.touched, &before, &context, kind))
}

fn hosts(hosts: &[&str]) -> Affected {
    Affected::Hosts(hosts.iter().map(|host| Host::new(host)).collect())
}

const PAYMENTS: &str = "payments.default.svc.cluster.local";

#[test]
fn an_endpoint_concerns_the_endpoints_of_its_host_alone() {
    let mut store = shop_with("");
    let slice = testing::slice("default", "payments", "http", &[("payments-1", "10.244.0.5")]);
    let found = after(&mut store, &slice, &sidecar("cart"));
    assert_eq!(found[0], Affected::Nothing);
    assert_eq!(found[1], hosts(&[PAYMENTS]));
    assert_eq!(found[2], Affected::Nothing);
    assert_eq!(found[3], Affected::Nothing);
}

#[test]
fn a_route_concerns_the_routes_of_its_hosts_ports() {
    let mut store = shop_with("");
    let rules = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart}
spec: {hosts: [cart], http: [{route: [{destination: {host: cart}}]}]}
";
    let found = after(&mut store, rules, &sidecar("payments"));
    assert_eq!(found[0], Affected::Nothing);
    assert_eq!(found[1], Affected::Nothing);
    let names = ["80".to_owned(), "cart.default.svc.cluster.local:80".to_owned()];
    assert_eq!(found[3], Affected::Names(names.into()));
    assert_eq!(found[4], Affected::Nothing);
}

#[test]
fn a_policy_of_another_namespace_concerns_nobody_here() {
    let mut store = shop_with("");
    let policy = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: elsewhere}
spec: {}
";
    assert!(after(&mut store, policy, &sidecar("payments")).iter().all(Affected::is_nothing));
    let own = policy.replace("elsewhere", "default");
    assert_eq!(after(&mut store, &own, &sidecar("payments"))[2], Affected::Everything);
}

#[test]
fn a_rule_that_is_not_exported_concerns_its_own_namespace_alone() {
    let mut store = shop_with("");
    let private = |timeout: &str| {
        format!(
            "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: payments, namespace: elsewhere}}
spec:
  hosts: [{PAYMENTS}]
  exportTo: [.]
  http: [{{timeout: {timeout}, route: [{{destination: {{host: {PAYMENTS}}}}}]}}]
"
        )
    };
    for timeout in ["1s", "2s"] {
        let found = after(&mut store, &private(timeout), &sidecar("cart"));
        assert!(found.iter().all(Affected::is_nothing), "{found:?}");
    }
    let mut there = sidecar("cart");
    there.namespace = "elsewhere".into();
    let found = after(&mut store, &private("3s"), &there);
    assert!(!found[3].is_nothing());
    assert!(found[2].is_nothing(), "routes of HTTP are not in listeners");
}

#[test]
fn a_secret_concerns_gateways_of_its_namespace() {
    let mut store = shop_with("");
    let secret = "---
apiVersion: v1
kind: Secret
metadata: {name: app-tls, namespace: istio-system}
stringData: {tls.crt: chain, tls.key: key}
";
    let before = store.snapshot();
    let applied = testing::apply(&mut store, secret);
    let (sidecar, gateway) = (sidecar("payments"), gateway());
    let context = |proxy| Context::new(&applied.snapshot, proxy);
    let of = |proxy| affected(&applied.touched, &before, &context(proxy), TypeUrl::SECRET);
    assert_eq!(of(&sidecar), Affected::Nothing);
    let names = ["kubernetes://app-tls".to_owned(), "kubernetes://app-tls-cacert".to_owned()];
    assert_eq!(of(&gateway), Affected::Names(names.into()));
}

#[test]
fn what_is_not_affected_is_byte_for_byte_the_same() {
    let changes = [
        testing::slice("default", "payments", "http", &[("payments-2", "10.244.0.6")]),
        testing::service("default", "late", "http", "10.96.0.44"),
        "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec: {host: cart, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}}
"
        .to_owned(),
        "---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
"
        .to_owned(),
        "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db}
spec: {hosts: [db], tcp: [{route: [{destination: {host: cart, port: {number: 80}}}]}]}
"
        .to_owned(),
        "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: below}
spec: {hosts: ['*.below.example.com'], http: [{route: [{destination: {host: late}}]}]}
"
        .to_owned(),
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: below}
spec: {hosts: [a.below.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
"
        .to_owned(),
        testing::pod("default", "payments-1", "payments", "v3", "10.244.0.5"),
    ];
    let mut store = shop_with("");
    for proxy in [sidecar("payments"), sidecar("cart"), discovering_sidecar("cart"), gateway()] {
        for change in &changes {
            let before = store.snapshot();
            let applied = testing::apply(&mut store, change);
            let (old, new) = (Context::new(&before, &proxy), Context::new(&applied.snapshot, &proxy));
            for kind in crate::TYPES {
                let affected = affected(&applied.touched, &before, &new, kind);
                let made = |context: &Context<'_>| -> std::collections::BTreeMap<_, _> {
                    let all = crate::translate(context, kind, None);
                    all.into_iter().map(|resource| (resource.name.to_string(), resource.version)).collect()
                };
                let (old, new) = (made(&old), made(&new));
                let names: BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
                for name in names.into_iter().filter(|name| old.get(name) != new.get(name)) {
                    let told = match &affected {
                        Affected::Nothing => false,
                        Affected::Everything => true,
                        Affected::Names(names) => names.contains(&name),
                        Affected::Hosts(hosts) => host_of(&name).is_none_or(|host| hosts.contains(&host)),
                    };
                    assert!(told, "{name} of {} changed untold by {change}", proxy.id);
                }
            }
        }
        store = shop_with("");
    }
}
