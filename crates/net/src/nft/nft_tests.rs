use super::*;
use std::net::IpAddr;

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((payload.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | 0x8000, &parts.concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn expression(name: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    nested(1, &[attribute(1, format!("{name}\0").as_bytes()), nested(2, parts)])
}

/// The messages of a batch: kind, flags, body after the family header.
fn messages(batch: &encode::Batch) -> Vec<(u16, u16, Vec<u8>)> {
    let mut rest = batch.bytes.as_slice();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_ne_bytes(rest[..4].try_into().expect("length")) as usize;
        let kind = u16::from_ne_bytes(rest[4..6].try_into().expect("kind"));
        let flags = u16::from_ne_bytes(rest[6..8].try_into().expect("flags"));
        found.push((kind, flags, rest[20..length].to_vec()));
        rest = &rest[length..];
    }
    found
}

fn table(rules: Vec<Rule>) -> Table {
    Table {
        family: Family::Inet,
        name: "t".to_owned(),
        chains: vec![Chain::base("c", ChainKind::Nat, HookPoint::Output, PRIORITY_DESTINATION_NAT, rules)],
    }
}

#[test]
fn a_table_is_replaced_in_one_batch_acknowledged_at_its_last_message() {
    let batch = encode::replace(&table(vec![Rule::new().counter()]));
    let kinds: Vec<(u16, u16)> = messages(&batch).iter().map(|(kind, flags, _)| (*kind, *flags)).collect();
    assert_eq!(
        kinds,
        [
            (0x10, 0x1),
            (0xa00, 0x401),
            (0xa02, 0x1),
            (0xa00, 0x401),
            (0xa03, 0x401),
            (0xa06, 0xc05),
            (0x11, 0x1)
        ]
    );
    assert_eq!(batch.last, 5);
    assert_eq!(batch.subjects[5], "rule 1 of chain c of table t");
}

#[test]
fn a_redirect_rule_is_encoded_as_nft_does() {
    let rule = Rule::new()
        .protocol(Protocol::Tcp)
        .destination(Comparison::NotEqual, "10.0.0.0/8".parse::<ipnet::IpNet>().expect("network"))
        .redirect(15001);
    let batch = encode::replace(&table(vec![rule]));
    let (_, _, body) = &messages(&batch)[5];
    let value = |bytes: &[u8]| attribute(1, bytes);
    let expected = [
        attribute(1, b"t\0"),
        attribute(2, b"c\0"),
        nested(
            4,
            &[
                expression("meta", &[number(2, 16), number(1, 1)]),
                expression("cmp", &[number(1, 1), number(2, 0), nested(3, &[value(&[6])])]),
                expression("meta", &[number(2, 15), number(1, 1)]),
                expression("cmp", &[number(1, 1), number(2, 0), nested(3, &[value(&[2])])]),
                expression("payload", &[number(1, 1), number(2, 1), number(3, 16), number(4, 4)]),
                expression(
                    "bitwise",
                    &[
                        number(1, 1),
                        number(2, 1),
                        number(3, 4),
                        nested(4, &[value(&[255, 0, 0, 0])]),
                        nested(5, &[value(&[0; 4])]),
                    ],
                ),
                expression("cmp", &[number(1, 1), number(2, 1), nested(3, &[value(&[10, 0, 0, 0])])]),
                expression("immediate", &[number(1, 1), nested(2, &[value(&15001_u16.to_be_bytes())])]),
                expression("redir", &[number(1, 1)]),
            ],
        ),
    ]
    .concat();
    assert_eq!(*body, expected);
}

#[test]
fn answers_name_the_refused_message() {
    let batch = encode::replace(&table(vec![Rule::new()]));
    let answer = |sequence: u32, code: i32| {
        let mut bytes = 36_u32.to_ne_bytes().to_vec();
        bytes.extend(2_u16.to_ne_bytes());
        bytes.extend(0_u16.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(code.to_ne_bytes());
        bytes.extend([0; 16]);
        bytes
    };
    assert!(transport::read_answers(&answer(5, 0), &batch).expect("acknowledged"));
    assert!(!transport::read_answers(&answer(4, 0), &batch).expect("not yet"));
    assert!(!transport::read_answers(&[1, 2, 3], &batch).expect("noise"));
    let refused = [answer(4, 0), answer(5, -1)].concat();
    let error = transport::read_answers(&refused, &batch).expect_err("refused").to_string();
    assert!(error.starts_with("the kernel refused rule 1 of chain c of table t"), "{error}");
    assert!(error.contains("CAP_NET_ADMIN"), "{error}");
}

#[test]
fn every_statement_is_accepted_by_the_kernel() {
    let tcp = || Rule::new().protocol(Protocol::Tcp);
    let service: IpAddr = [10, 96, 0, 1].into();
    let nat = vec![
        tcp().mark(Comparison::Equal, 0x539).verdict(Verdict::Return),
        tcp().user(Comparison::NotEqual, 0).group(Comparison::Equal, 0).verdict(Verdict::Accept),
        tcp().output_interface(Comparison::Equal, "lo").counter().verdict(Verdict::Jump("more".to_owned())),
        tcp().destination_port(Comparison::GreaterOrEqual, 80).one_in(3).redirect(15001),
        tcp()
            .destination(Comparison::Equal, ipnet::IpNet::from(service))
            .translate_destination([10, 244, 1, 1].into(), Some(8080)),
        tcp()
            .source(Comparison::Equal, "fd00::/8".parse::<ipnet::IpNet>().expect("network"))
            .translate_destination(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), None),
        Rule::new().set_mark(7).set_connection_mark(8).connection_mark(Comparison::Equal, 8),
    ];
    let mut whole = table(nat);
    whole.chains.push(Chain::regular("more", vec![Rule::new().verdict(Verdict::Drop)]));
    whole.chains.push(Chain::base(
        "leave",
        ChainKind::Nat,
        HookPoint::Postrouting,
        PRIORITY_SOURCE_NAT,
        vec![Rule::new().destination_was_translated().masquerade()],
    ));
    whole.chains.push(Chain::base(
        "refuse",
        ChainKind::Filter,
        HookPoint::Forward,
        PRIORITY_FILTER,
        vec![tcp().reject_with_reset(), Rule::new().reject_with_port_unreachable()],
    ));
    let Some(namespace) = crate::netns::for_tests() else { return };
    namespace
        .run(|| {
            whole.replace().expect("first");
            whole.replace().expect("again");
            delete(Family::Inet, "t").expect("delete");
            delete(Family::Inet, "t").expect("delete what is not there");
            let broken = table(vec![Rule::new().verdict(Verdict::Jump("nowhere".to_owned()))]);
            let error = broken.replace().expect_err("no such chain").to_string();
            assert!(error.contains("rule 1 of chain c of table t"), "{error}");
        })
        .expect("inside");
}
