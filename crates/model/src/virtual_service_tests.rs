use super::*;
use crate::testing;

#[test]
fn gateway_references_are_read_in_every_form() {
    let named = |namespace: &str, name: &str| GatewayRef::Named(ObjectName::new(namespace, name));
    assert_eq!(GatewayRef::parse("mesh", "shop"), GatewayRef::Mesh);
    assert_eq!(GatewayRef::parse("gw", "shop"), named("shop", "gw"));
    assert_eq!(GatewayRef::parse("./gw", "shop"), named("shop", "gw"));
    assert_eq!(GatewayRef::parse("edge/gw", "shop"), named("edge", "gw"));
    assert_eq!(GatewayRef::parse("gw.edge.svc.cluster.local", "shop"), named("edge", "gw"));
}

const ROOT: &str = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root}
spec:
  hosts: [shop.example.com]
  gateways: [gw]
  http:
  - name: cart
    match: [{uri: {prefix: /cart}}]
    timeout: 3s
    delegate: {name: cart, namespace: shop}
  - name: rest
    route: [{destination: {host: web}}]
";

fn delegate(matching: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: cart, namespace: shop}}
spec:
  http:
  - name: v2
    match: [{matching}]
    route: [{{destination: {{host: cart}}}}]
"
    )
}

#[test]
fn a_delegate_narrows_the_rule_that_refers_to_it() {
    let store = testing::store(
        &(ROOT.to_owned() + &delegate("{uri: {prefix: /cart/v2}, headers: {x: {exact: here}}}")),
    );
    let snapshot = store.snapshot();
    let rules = snapshot.virtual_service("default", "root").unwrap();
    assert_eq!(rules.http.len(), 2);
    let merged = &rules.http[0];
    assert_eq!(merged.name.as_deref(), Some("cart-v2"));
    assert_eq!(
        merged.route[0].destination.host, "cart.shop.svc.cluster.local",
        "names belong to the delegate"
    );
    assert_eq!(merged.timeout.unwrap().as_std().as_secs(), 3, "what is unset is inherited");
    assert_eq!(merged.matches[0].uri, Some(StringMatch::Prefix("/cart/v2".to_owned())));
    assert!(snapshot.virtual_service("shop", "cart").is_none(), "a delegate has no hosts of its own");
}

#[test]
fn a_delegate_that_widens_or_is_missing_loses_only_its_own_rule() {
    let wide = testing::store(&(ROOT.to_owned() + &delegate("{uri: {prefix: /other}}")));
    assert_eq!(wide.snapshot().virtual_service("default", "root").unwrap().http.len(), 1);
    let mut missing = testing::store(ROOT);
    assert_eq!(missing.snapshot().virtual_service("default", "root").unwrap().http.len(), 1);
    let applied = testing::apply(&mut missing, &delegate("{uri: {exact: /cart/1}}"));
    assert_eq!(applied.snapshot.virtual_service("default", "root").unwrap().http.len(), 2);
    assert!(applied.touched.gateways.contains(&ObjectName::new("default", "gw")));
}
