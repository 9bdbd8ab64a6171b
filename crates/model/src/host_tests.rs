use proptest::prelude::*;

use super::*;

fn covers(pattern: &str, host: &str) -> bool {
    Host::new(pattern).covers(&Host::new(host))
}

#[test]
fn a_leading_star_is_a_suffix_match_that_needs_something_in_its_place() {
    assert!(covers("*.foo.com", "a.foo.com"));
    assert!(covers("*.foo.com", "a.b.foo.com"));
    assert!(!covers("*.foo.com", "foo.com"));
    assert!(!covers("*.foo.com", ".foo.com"));
    assert!(covers("*", "anything"));
    assert!(covers("*.com", "*.foo.com"));
    assert!(!covers("*.foo.com", "*.com"));
    assert!(covers("A.example.COM", "a.Example.com"));
}

#[test]
fn short_names_belong_to_the_namespace_of_the_rule() {
    let resolve = |text: &str| Host::resolve(text, "shop", "cluster.local").as_str().to_owned();
    assert_eq!(resolve("payments"), "payments.shop.svc.cluster.local");
    assert_eq!(resolve("payments.bank"), "payments.bank");
    assert_eq!(resolve("*"), "*");
    assert_eq!(resolve("10.0.0.1"), "10.0.0.1");
    assert_eq!(resolve(""), "");
}

#[test]
fn the_most_specific_match_comes_first() {
    let mut hosts = HostMap::default();
    for host in ["*", "*.com", "*.foo.com", "a.foo.com", "*oo.com"] {
        hosts.insert(Host::new(host), host);
    }
    let found: Vec<_> = hosts.matches("a.foo.com").map(|(_, value)| *value).collect();
    assert_eq!(found, ["a.foo.com", "*.foo.com", "*oo.com", "*.com", "*"]);
    let wild: Vec<_> = hosts.matches("*.foo.com").map(|(_, value)| *value).collect();
    assert_eq!(wild, ["*.foo.com", "*oo.com", "*.com", "*"]);
    assert_eq!(hosts.matches("*").map(|(_, value)| *value).collect::<Vec<_>>(), ["*"]);
}

fn pattern() -> impl Strategy<Value = String> {
    (any::<bool>(), "[ab.]{0,6}").prop_map(|(star, text)| if star { format!("*{text}") } else { text })
}

proptest! {
    /// The map answers as a scan over all patterns that prefers exact hosts, then longer wildcards.
    #[test]
    fn lookup_agrees_with_a_scan(patterns in proptest::collection::btree_set(pattern(), 0..12), host in pattern()) {
        let mut hosts = HostMap::default();
        for pattern in &patterns {
            hosts.insert(Host::new(pattern), pattern.clone());
        }
        let host = Host::new(&host);
        let mut expected: Vec<_> = patterns.iter().filter(|p| Host::new(p).covers(&host)).cloned().collect();
        expected.sort_by_key(|p| (p.starts_with('*'), std::cmp::Reverse(p.len())));
        let found: Vec<_> = hosts.matches(host.as_str()).map(|(_, value)| value.clone()).collect();
        prop_assert_eq!(found, expected);
    }

    /// The narrower of two hosts matches exactly what both match.
    #[test]
    fn an_intersection_is_covered_by_both(a in pattern(), b in pattern()) {
        let (a, b) = (Host::new(&a), Host::new(&b));
        match a.intersection(&b) {
            Some(both) => prop_assert!(a.covers(both) && b.covers(both)),
            None => prop_assert!(!a.overlaps(&b)),
        }
    }
}
