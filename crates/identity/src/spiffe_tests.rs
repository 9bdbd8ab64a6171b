use super::*;

#[test]
fn reads_the_parts_of_a_service_account() {
    let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/cart").expect("valid id");
    assert_eq!(id.trust_domain(), "cluster.local");
    assert_eq!(id.path(), "/ns/shop/sa/cart");
    assert_eq!(id.service_account(), Some(("shop", "cart")));
    assert_eq!(id.principal(), "cluster.local/ns/shop/sa/cart");
    assert_eq!(SpiffeId::of_service_account("cluster.local", "shop", "cart"), Ok(id));
}

#[test]
fn other_paths_are_no_service_accounts() {
    for text in ["spiffe://td", "spiffe://td/ns/a/sa/b/c", "spiffe://td/workload/a"] {
        assert_eq!(SpiffeId::parse(text).expect(text).service_account(), None, "{text}");
    }
}

#[test]
fn refuses_what_the_specification_refuses() {
    for text in [
        "",
        "http://td/ns/a/sa/b",
        "spiffe://",
        "spiffe:///ns/a/sa/b",
        "spiffe://TD/ns/a/sa/b",
        "spiffe://td:443/ns/a",
        "spiffe://user@td/ns/a",
        "spiffe://td/",
        "spiffe://td//a",
        "spiffe://td/../a",
        "spiffe://td/a?x",
        "spiffe://td/a#x",
        "spiffe://td/a%2fb",
        "spiffe://td/a\0b",
    ] {
        assert!(SpiffeId::parse(text).is_err(), "{text:?} was accepted");
    }
    assert!(SpiffeId::parse(&format!("spiffe://td/{}", "a".repeat(2048))).is_err());
}
