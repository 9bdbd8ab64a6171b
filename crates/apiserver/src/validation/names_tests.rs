use proptest::prelude::*;

use super::*;

#[test]
fn names_follow_the_rfcs() {
    for good in ["a", "a-b", "1a", "a.b-c"] {
        assert!(dns_subdomain(good).is_ok(), "{good}");
    }
    for bad in ["", "A", "-a", "a-", "a..b", "a_b", &"a".repeat(254)] {
        assert!(dns_subdomain(bad).is_err(), "{bad}");
    }
    assert!(service_name("1a").is_err());
    assert!(label_key("example.org/Name_1").is_ok());
    assert!(label_key("Example.org/x").is_err());
    assert!(label_key("a/b/c").is_err());
}

#[test]
fn quantities_have_known_suffixes() {
    for good in ["1", "0.5", "100m", "64Mi", "1e3", "-2Gi"] {
        assert!(is_quantity(good), "{good}");
    }
    for bad in ["", "Mi", "1 Mi", "1x", "abc"] {
        assert!(!is_quantity(bad), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,80}") {
        let _ = (dns_label(&text), dns_subdomain(&text), label_key(&text), label_value(&text), is_quantity(&text));
    }
}
