use super::*;
use crate::testing::*;

#[test]
fn a_node_says_who_it_is() {
    let proxy = sidecar("payments");
    assert_eq!(proxy.kind, ProxyKind::Sidecar);
    assert_eq!((&*proxy.name, &*proxy.namespace), ("payments-1", "default"));
    assert_eq!(proxy.addresses, ["10.244.0.5".parse::<IpAddr>().unwrap()]);
    assert_eq!(proxy.labels["app"], "payments");
    assert_eq!(&*proxy.cluster, "Kubernetes");
    assert!(proxy.istio_filters && !proxy.dns_capture);
    assert!(gateway().is_router());
}

#[test]
fn a_node_that_says_nonsense_is_refused_by_name() {
    let from = |id: &str| Proxy::from_node(&Node { id: id.to_owned(), ..Node::default() });
    assert_eq!(from("garbage"), Err(ProxyError::Id("garbage".to_owned())));
    assert_eq!(from("waypoint~10.0.0.1~a.b~c"), Err(ProxyError::Kind("waypoint".to_owned())));
    assert!(matches!(from("sidecar~~a.b~c"), Err(ProxyError::Address(_))));
}
