use proptest::prelude::*;

use super::*;

#[test]
fn close_words_are_found() {
    let known = ["tls", "hosts", "port", "name", "trafficPolicy"];
    for (word, meant) in [
        ("tsl", Some("tls")),
        ("host", Some("hosts")),
        ("prot", Some("port")),
        ("traficpolicy", Some("trafficPolicy")),
        ("banana", None),
        ("", None),
    ] {
        assert_eq!(nearest(word, known), meant, "{word}");
    }
    assert_eq!(nearest("a", []), None);
}

proptest! {
    #[test]
    fn distance_is_symmetric_and_zero_only_for_the_same(one in "[ab]{0,6}", other in "[ab]{0,6}") {
        prop_assert_eq!(distance(&one, &other), distance(&other, &one));
        prop_assert_eq!(distance(&one, &other) == 0, one == other);
    }
}
