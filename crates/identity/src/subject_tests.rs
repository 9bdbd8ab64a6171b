use super::*;

#[test]
fn a_wildcard_stands_for_exactly_one_label() {
    assert!(dns_name_covers("*.example.com", "a.example.com"));
    assert!(dns_name_covers("A.example.com", "a.Example.com"));
    for wanted in ["example.com", "a.b.example.com", ".example.com", "aexample.com"] {
        assert!(!dns_name_covers("*.example.com", wanted), "{wanted}");
    }
}

#[test]
fn dots_in_a_pattern_are_only_dots() {
    let matcher = NameMatcher::exact_uri("spiffe://td/ns/a/sa/x.y");
    assert!(matcher.accepts("spiffe://td/ns/a/sa/x.y"));
    assert!(!matcher.accepts("spiffe://td/ns/a/sa/xzy"));
}
