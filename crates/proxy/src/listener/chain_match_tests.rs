use super::*;
use proptest::prelude::*;

fn connection<'a>(destination: &str, name: Option<&'a str>, protocols: &'a [Vec<u8>]) -> Criteria<'a> {
    let source: SocketAddr = "10.0.0.9:5000".parse().expect("address");
    Criteria {
        destination: destination.parse().expect("address"),
        server_name: name,
        transport_protocol: if name.is_some() { "tls" } else { "raw_buffer" },
        application_protocols: protocols,
        direct_source: source.ip(),
        source,
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_longest_server_name_wins() {
    let matcher = ChainMatcher::new(&[
        Rule::default(),
        Rule { server_names: names(&["*.example.com"]), ..Rule::default() },
        Rule { server_names: names(&["a.example.com", "b.org"]), ..Rule::default() },
        Rule { server_names: names(&["*.b.example.com"]), ..Rule::default() },
    ])
    .expect("rules");
    let find = |name| matcher.find(&connection("10.0.0.1:443", name, &[]));
    assert_eq!(find(Some("a.example.com")), Some(2));
    assert_eq!(find(Some("x.b.example.com")), Some(3));
    assert_eq!(find(Some("x.example.com")), Some(1));
    assert_eq!(find(Some("example.com")), Some(0));
    assert_eq!(find(None), Some(0));
}

#[test]
fn a_more_specific_step_is_not_taken_back() {
    // The port rule takes the connection and then asks for TLS: plain text gets nothing, although
    // the general rule would have taken it.
    let matcher = ChainMatcher::new(&[
        Rule::default(),
        Rule { destination_port: Some(8080), transport_protocol: "tls".to_owned(), ..Rule::default() },
    ])
    .expect("rules");
    assert_eq!(matcher.find(&connection("10.0.0.1:8080", Some("a"), &[])), Some(1));
    assert_eq!(matcher.find(&connection("10.0.0.1:8080", None, &[])), None);
    assert_eq!(matcher.find(&connection("10.0.0.1:9090", None, &[])), Some(0));
}

#[test]
fn istio_inbound_ports_are_told_apart_by_protocol() {
    let port = |transport: &str, protocols: &[&str]| Rule {
        destination_port: Some(8080),
        transport_protocol: transport.to_owned(),
        application_protocols: protocols.iter().map(|name| name.as_bytes().to_vec()).collect(),
        ..Rule::default()
    };
    let matcher = ChainMatcher::new(&[
        port("tls", &["istio-http/1.0", "istio-http/1.1", "istio-h2"]),
        port("raw_buffer", &["http/1.1", "h2c"]),
        port("tls", &["istio-peer-exchange", "istio"]),
        port("raw_buffer", &[]),
    ])
    .expect("rules");
    let find = |name, protocols: &[&str]| {
        let protocols: Vec<_> = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        matcher.find(&connection("10.0.0.1:8080", name, &protocols))
    };
    assert_eq!(find(Some("a"), &["istio-peer-exchange", "istio"]), Some(2));
    assert_eq!(find(Some("a"), &["istio-h2", "istio"]), Some(0));
    assert_eq!(find(None, &["http/1.1"]), Some(1));
    assert_eq!(find(None, &[]), Some(3));
    assert_eq!(find(Some("a"), &["h2"]), None);
}

#[test]
fn equal_criteria_are_refused() {
    let rule = Rule { server_names: names(&["a", "b"]), ..Rule::default() };
    let other = Rule { server_names: names(&["c", "b"]), ..Rule::default() };
    assert_eq!(ChainMatcher::new(&[rule, other]).expect_err("overlap"), Overlap { first: 0, second: 1 });
}

/// The documentation read literally: at each step keep only the rules with the most specific value.
fn naive(rules: &[Rule], criteria: &Criteria<'_>) -> Option<usize> {
    fn keep(rules: &mut Vec<(usize, &Rule)>, rank: impl Fn(&Rule) -> Option<u32>) {
        let best = rules.iter().filter_map(|(_, rule)| rank(rule)).max();
        rules.retain(|(_, rule)| rank(rule).is_some() && rank(rule) == best);
    }
    fn network(list: &[IpNet], address: IpAddr) -> Option<u32> {
        if list.is_empty() {
            return Some(0);
        }
        list.iter().filter(|net| net.contains(&address)).map(|net| 1 + u32::from(net.prefix_len())).max()
    }
    let mut left: Vec<_> = rules.iter().enumerate().collect();
    keep(&mut left, |rule| match rule.destination_port {
        None => Some(0),
        Some(port) => (port == criteria.destination.port()).then_some(1),
    });
    keep(&mut left, |rule| network(&rule.destinations, criteria.destination.ip()));
    keep(&mut left, |rule| {
        if rule.server_names.is_empty() {
            return Some(0);
        }
        let wanted = criteria.server_name?;
        let rank = |name: &String| match name.strip_prefix('*') {
            Some(suffix) => {
                (wanted.len() > suffix.len() && wanted.ends_with(suffix)).then_some(suffix.len() as u32)
            }
            None => (name == wanted).then_some(u32::MAX),
        };
        rule.server_names.iter().filter_map(rank).max()
    });
    keep(&mut left, |rule| match rule.transport_protocol.as_str() {
        "" => Some(0),
        name => (name == criteria.transport_protocol).then_some(1),
    });
    keep(&mut left, |rule| {
        if rule.application_protocols.is_empty() {
            return Some(0);
        }
        let offered = criteria.application_protocols.iter();
        let first = offered.enumerate().find(|(_, name)| rule.application_protocols.contains(name));
        first.map(|(position, _)| 100 - position as u32)
    });
    keep(&mut left, |rule| network(&rule.direct_sources, criteria.direct_source));
    keep(&mut left, |rule| match (rule.source_type, is_local(criteria)) {
        (SourceType::Any, _) => Some(0),
        (SourceType::Local, true) | (SourceType::External, false) => Some(1),
        _ => None,
    });
    keep(&mut left, |rule| network(&rule.sources, criteria.source.ip()));
    keep(&mut left, |rule| {
        if rule.source_ports.is_empty() {
            return Some(0);
        }
        rule.source_ports.contains(&criteria.source.port()).then_some(1)
    });
    left.first().map(|(index, _)| *index)
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let networks = prop::collection::vec(
        prop::sample::select(vec!["10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/32", "0.0.0.0/0"]),
        0..2,
    )
    .prop_map(|list| list.into_iter().map(|net| net.parse::<IpNet>().expect("network")).collect::<Vec<_>>());
    let names = prop::collection::vec(
        prop::sample::select(vec!["a.b.c", "*.b.c", "*.c", "d"]).prop_map(str::to_owned),
        0..2,
    );
    let protocols =
        prop::collection::vec(prop::sample::select(vec![b"h2".to_vec(), b"istio".to_vec()]), 0..2);
    let kinds = prop::sample::select(vec![SourceType::Any, SourceType::Local, SourceType::External]);
    (
        prop::option::of(prop::sample::select(vec![80u16, 443])),
        (networks.clone(), networks),
        names,
        prop::sample::select(vec!["", "tls", "raw_buffer"]).prop_map(str::to_owned),
        protocols,
        kinds,
        prop::collection::vec(prop::sample::select(vec![1000u16, 2000]), 0..2),
    )
        .prop_map(|(port, (destinations, sources), names, transport, protocols, kind, ports)| Rule {
            destination_port: port,
            destinations,
            server_names: names,
            transport_protocol: transport,
            application_protocols: protocols,
            direct_sources: Vec::new(),
            source_type: kind,
            sources,
            source_ports: ports,
        })
}

proptest! {
    #[test]
    fn the_tree_agrees_with_the_documentation(
        rules in prop::collection::vec(any_rule(), 1..6),
        destination in prop::sample::select(vec!["10.0.0.1:80", "10.0.0.2:443", "11.0.0.1:80"]),
        name in prop::option::of(prop::sample::select(vec!["a.b.c", "x.b.c", "x.c", "d", "e"])),
        protocols in prop::collection::vec(
            prop::sample::select(vec![b"h2".to_vec(), b"istio".to_vec(), b"x".to_vec()]), 0..3),
        source in prop::sample::select(vec!["10.0.0.1:1000", "127.0.0.1:2000", "12.0.0.1:3000"]),
    ) {
        let Ok(matcher) = ChainMatcher::new(&rules) else { return Ok(()) };
        let source: SocketAddr = source.parse().expect("address");
        let criteria = Criteria {
            source,
            direct_source: source.ip(),
            ..connection(destination, name, &protocols)
        };
        prop_assert_eq!(matcher.find(&criteria), naive(&rules, &criteria));
    }
}
