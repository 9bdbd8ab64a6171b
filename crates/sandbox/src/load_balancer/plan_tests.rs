use super::*;
use proptest::prelude::*;

#[test]
fn web_ports_have_their_usual_places() {
    assert_eq!(candidates(80, &[], None)[..2], [8080, 8081]);
    assert_eq!(candidates(443, &[], None)[..2], [8443, 8444]);
    assert_eq!(candidates(9000, &[], None)[..2], [9000, 9001]);
    assert_eq!(candidates(22, &[], None)[0], 8022);
    assert_eq!(candidates(65535, &[], None), [65535]);
}

#[test]
fn a_wish_wins_over_what_it_had_and_that_over_the_usual() {
    let wishes = [PublishedPort { host_port: 9090, service_port: 80 }];
    assert_eq!(candidates(80, &wishes, Some(8088))[..3], [9090, 8088, 9091]);
    assert_eq!(candidates(80, &[], Some(8088))[..2], [8088, 8080]);
}

#[test]
fn what_was_published_is_read_back() {
    let open = BTreeMap::from([(80, 8080), (443, 8444)]);
    let text = render_published(&open);
    assert_eq!(text, "127.0.0.1:8080->80,127.0.0.1:8444->443");
    assert_eq!(parse_published(&text), open);
}

proptest! {
    #[test]
    fn any_annotation_is_read_without_harm(text in ".*") {
        parse_published(&text);
    }

    #[test]
    fn no_port_is_tried_twice(service_port in 1_u16.., remembered in proptest::option::of(1_u16..)) {
        let mut tried = candidates(service_port, &[], remembered);
        let count = tried.len();
        tried.sort_unstable();
        tried.dedup();
        prop_assert_eq!(tried.len(), count);
    }
}
