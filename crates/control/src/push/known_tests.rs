use super::*;
use proptest::prelude::*;

fn known(names: &[&str]) -> Known {
    let mut known = Known::default();
    names.iter().for_each(|&name| known.set(name.into(), None));
    known
}

fn of_host<'a>(known: &'a Known, host: &str) -> Vec<&'a str> {
    known.names_of_host(host).map(|name| &**name).collect()
}

#[test]
fn names_are_found_by_the_host_they_are_about() {
    let known = known(&[
        "outbound|80||b.default.svc.cluster.local",
        "outbound|80|v1|b.default.svc.cluster.local",
        "outbound|80||a.b.default.svc.cluster.local",
        "80/b.default.svc.cluster.local",
        "inbound|8080||",
        "PassthroughCluster",
    ]);
    let host = "b.default.svc.cluster.local";
    assert_eq!(
        of_host(&known, host),
        [
            "80/b.default.svc.cluster.local",
            "outbound|80||b.default.svc.cluster.local",
            "outbound|80|v1|b.default.svc.cluster.local"
        ]
    );
    assert_eq!(of_host(&known, "c"), Vec::<&str>::new());
    assert_eq!(of_host(&known, ""), ["PassthroughCluster", "inbound|8080||"]);
    assert_eq!(known.names_of_no_host().count(), 2);
}

proptest! {
    #[test]
    fn a_host_has_exactly_its_names(names in prop::collection::btree_set("[a-c|/]{0,6}", 0..40), host in "[a-c]{0,2}") {
        let list: Vec<_> = names.iter().map(String::as_str).collect();
        let known = known(&list);
        let mut expected: Vec<_> = list.iter().copied().filter(|name| host_of(name) == host).collect();
        let mut found = of_host(&known, &host);
        expected.sort_unstable();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(known.names().count(), names.len());
    }
}
