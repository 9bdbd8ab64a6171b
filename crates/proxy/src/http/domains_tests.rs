use super::*;
use proptest::prelude::*;

/// Virtual hosts with these domains.
fn hosts(domains: &[&[&str]]) -> Vec<Arc<VirtualHost>> {
    let host = |domains: &&[&str]| {
        let domains = domains.iter().map(|domain| (*domain).into()).collect();
        Arc::new(VirtualHost { domains, ..VirtualHost::default() })
    };
    domains.iter().map(host).collect()
}

/// The place of the domain in `list` that serves `host`.
fn found(list: &[&str], host: &str) -> Option<usize> {
    let each: Vec<_> = list.iter().map(std::slice::from_ref).collect();
    let hosts = hosts(&each);
    Domains::of(&hosts).expect("different domains").find(&hosts, host)
}

/// What Envoy's documentation says, read word by word: exact, then the longest suffix wildcard, then
/// the longest prefix wildcard, then `*`.
fn naive(list: &[&str], host: &str) -> Option<usize> {
    let exact = list.iter().position(|domain| domain.eq_ignore_ascii_case(host));
    let longest = |matching: Vec<(usize, usize)>| {
        matching.into_iter().max_by_key(|(length, _)| *length).map(|(_, index)| index)
    };
    let suffixes = || {
        let candidates =
            list.iter().enumerate().filter(|(_, domain)| domain.starts_with('*') && domain.len() > 1);
        longest(
            candidates
                .filter(|(_, domain)| {
                    host.len() >= domain.len() && host.ends_with(&domain[1..].to_ascii_lowercase())
                })
                .map(|(index, domain)| (domain.len(), index))
                .collect(),
        )
    };
    let prefixes = || {
        let candidates =
            list.iter().enumerate().filter(|(_, domain)| domain.ends_with('*') && domain.len() > 1);
        longest(
            candidates
                .filter(|(_, domain)| {
                    host.len() >= domain.len()
                        && host.starts_with(&domain[..domain.len() - 1].to_ascii_lowercase())
                })
                .map(|(index, domain)| (domain.len(), index))
                .collect(),
        )
    };
    exact.or_else(suffixes).or_else(prefixes).or_else(|| list.iter().position(|domain| *domain == "*"))
}

#[test]
fn the_most_specific_domain_wins() {
    let list = ["*", "*.example.com", "shop.example.com", "*.b.example.com", "shop.*", "*-x.example.com"];
    for (host, wanted) in [
        ("shop.example.com", Some(2)),
        ("a.example.com", Some(1)),
        ("a.b.example.com", Some(3)),
        ("shop.test", Some(4)),
        ("a-x.example.com", Some(5)),
        ("example.com", Some(0)),
        (".example.com", Some(0)),
        ("other", Some(0)),
    ] {
        assert_eq!(found(&list, host), wanted, "{host}");
        assert_eq!(naive(&list, host), wanted, "{host}");
    }
}

#[test]
fn a_domain_belongs_to_one_virtual_host() {
    let taken = |domains: &[&[&str]]| Domains::of(&hosts(domains)).map(drop);
    assert_eq!(taken(&[&["shop.example", "*"], &["*.example", "example.*"]]), Ok(()));
    let second = |number, domain: &str| Err(Taken { host: 1, number, domain: domain.into() });
    assert_eq!(taken(&[&["shop.example"], &["other", "shop.example"]]), second(1, "shop.example"));
    assert_eq!(taken(&[&["*"], &["*"]]), second(0, "*"));
}

proptest! {
    #[test]
    fn finding_a_host_agrees_with_the_plain_reading(
        list in prop::collection::btree_set("(\\*|\\*\\.[ab]\\.[ab]|[ab]\\.[ab]|[ab]\\.\\*|\\*[ab]|[ab]{1,3})", 1..8),
        host in "[ab.]{1,7}",
    ) {
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        prop_assert_eq!(found(&list, &host), naive(&list, &host));
    }
}
