use super::*;
use crate::server::serve;
use http::{HeaderMap, Method};
use mizzen_base::drain;
use serde_json::Value;
use std::sync::Arc;
use tokio::net::TcpListener;

fn options(service: Service) -> Options {
    Options {
        service,
        port: 0,
        catalog: "http://catalog".into(),
        cart: "http://cart".into(),
        payments: "http://payments".into(),
        inventory: "http://inventory".into(),
        fail_percent: 10.0,
    }
}

fn shop(service: Service) -> Shop {
    let identity = Identity { pod: "pod-1".into(), namespace: "shop".into(), version: "v2".into() };
    Shop::new(identity, options(service)).expect("a shop")
}

/// Runs a service and returns its URL.
async fn running(shop: Shop, drain: &drain::DrainWatcher) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(serve(listener, Arc::new(shop), drain.clone()));
    url
}

#[tokio::test]
async fn the_whole_shop_sells() {
    let (_trigger, drain) = drain::channel();
    let mut inventory = shop(Service::Inventory);
    inventory.failing_share = 0.0;
    let mut front = options(Service::Storefront);
    let mut catalog = options(Service::Catalog);
    catalog.inventory = running(inventory, &drain).await;
    front.catalog = running(Shop::new(Identity::default(), catalog).expect("a catalog"), &drain).await;
    front.cart = running(shop(Service::Cart), &drain).await;
    front.payments = running(shop(Service::Payments), &drain).await;
    let front = running(Shop::new(Identity::default(), front).expect("a storefront"), &drain).await;
    let caller = Caller::default();
    let ask = async |method: Method, path: &str| {
        let url = format!("{front}{path}").parse().expect("a url");
        caller.call(method, &url, HeaderMap::new()).await.expect("an answer")
    };
    assert_eq!(ask(Method::POST, "/buy/anchor").await.status, StatusCode::OK);
    let page = ask(Method::GET, "/").await;
    assert_eq!(page.status, StatusCode::OK);
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(page.contains("anchor") && page.contains("45.00"), "{page}");
    let receipt: Value = serde_json::from_slice(&ask(Method::POST, "/checkout").await.body).expect("json");
    assert_eq!(receipt["bought"]["anchor"], 1);
    assert_eq!(receipt["payment"]["version"], "v2");
    let empty: Value = serde_json::from_slice(&ask(Method::POST, "/checkout").await.body).expect("json");
    assert_eq!(empty["bought"], serde_json::json!({}));
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_named() {
    let (_trigger, drain) = drain::channel();
    let mut options = options(Service::Catalog);
    options.inventory = "http://127.0.0.1:1".into();
    let catalog = running(Shop::new(Identity::default(), options).expect("a catalog"), &drain).await;
    let url = format!("{catalog}/items").parse().expect("a url");
    let answer = Caller::default().call(Method::GET, &url, HeaderMap::new()).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(String::from_utf8_lossy(&answer.body).contains("127.0.0.1:1"));
}

#[test]
fn the_inventory_fails_its_share() {
    let inventory = shop(Service::Inventory);
    assert_eq!(inventory.stock(0.05).status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(inventory.stock(0.5).status, StatusCode::OK);
}

#[test]
fn the_cart_takes_what_the_shop_has() {
    let cart = shop(Service::Cart);
    assert_eq!(cart.cart_reply(&Method::POST, "/cart/mizzen%20sail").status, StatusCode::OK);
    assert_eq!(cart.cart_reply(&Method::POST, "/cart/whale").status, StatusCode::NOT_FOUND);
    assert_eq!(cart.cart_reply(&Method::GET, "/cart").body, "{\"mizzen sail\":1}\n");
}

#[test]
fn what_traces_need_is_passed_on_and_nothing_else() {
    let mut received = HeaderMap::new();
    for name in ["traceparent", "b3", "x-request-id", "cookie"] {
        received.insert(name, HeaderValue::from_static("value"));
    }
    let kept = crate::client::tracing_headers(&received);
    assert_eq!(kept.len(), 3);
    assert!(!kept.contains_key("cookie"));
}

#[test]
fn the_manifests_are_whole_objects_in_the_shops_namespace() {
    let documents: Vec<Value> =
        manifests().split("\n---\n").map(|text| serde_saphyr::from_str(text).expect("YAML")).collect();
    assert!(documents.len() > 20, "{}", documents.len());
    for object in documents.iter().skip(1) {
        assert!(object["apiVersion"].is_string() && object["metadata"]["name"].is_string(), "{object}");
        assert_eq!(object["metadata"]["namespace"], "shop");
    }
    let kinds: Vec<_> = documents.iter().filter_map(|object| object["kind"].as_str()).collect();
    for kind in
        ["Namespace", "Gateway", "VirtualService", "DestinationRule", "PeerAuthentication", "Telemetry"]
    {
        assert!(kinds.contains(&kind), "{kind}");
    }
}

#[test]
fn a_url_that_cannot_be_called_is_refused() {
    let mut options = options(Service::Catalog);
    options.inventory = "inventory:80/x y".into();
    assert!(Shop::new(Identity::default(), options).is_err());
}
