use super::*;
use proptest::prelude::*;

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses {
        source: source.parse().expect("source"),
        destination: destination.parse().expect("destination"),
    }
}

fn whole(input: &[u8]) -> Header {
    let (header, length) = parse(input).expect("valid").expect("complete");
    assert_eq!(length, input.len());
    header
}

#[test]
fn a_line_names_both_ends() {
    let header = whole(b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n");
    assert_eq!(header.addresses, Some(addresses("192.0.2.1:56324", "198.51.100.7:443")));
    let header = whole(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");
    assert_eq!(header.addresses, Some(addresses("[2001:db8::1]:1", "[2001:db8::2]:65535")));
    assert_eq!(whole(b"PROXY UNKNOWN\r\n").addresses, None);
    assert_eq!(whole(b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n").addresses, None);
}

#[test]
fn the_stream_begins_right_after_the_header() {
    let (_, length) = parse(b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n").expect("valid").expect("complete");
    assert_eq!(length, 15);
}

#[test]
fn sloppy_lines_are_refused() {
    let bad: [&[u8]; 11] = [
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.7 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 056324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 +1 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.7 1 443\r\n",
        b"PROXY TCP4 2001:db8::1 198.51.100.7 1 443\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.7 1 443\r\n",
        b"PROXY TCP4 \xff 198.51.100.7 1 443\r\n",
        b"PROXY unknown\r\n",
    ];
    for line in bad {
        assert!(matches!(parse(line), Err(ParseError::BadLine(_))), "{}", line.escape_ascii());
    }
    assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(ParseError::NoHeader));
    assert_eq!(parse(b"proxy TCP4"), Err(ParseError::NoHeader));
    assert_eq!(parse(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat()), Err(ParseError::LineTooLong));
}

#[test]
fn binary_headers_with_wrong_parts_are_refused() {
    let good = encode(Version::V2, Some(&addresses("192.0.2.1:1", "192.0.2.2:2")), &[]).expect("encoded");
    for (position, value, what) in [
        (12, 0x11, "version"),
        (12, 0x22, "command"),
        (13, 0x41, "address family or protocol"),
        (13, 0x12, "protocol: a datagram on a stream"),
        (15, 11, "length"),
    ] {
        let mut bytes = good.to_vec();
        bytes[position] = value;
        assert_eq!(parse(&bytes), Err(ParseError::BadHeader(what)), "byte {position}");
    }
}

#[test]
fn a_local_header_keeps_the_connections_own_addresses() {
    let header = whole(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");
    assert_eq!((header.version, header.addresses), (Version::V2, None));
}

#[test]
fn the_checksum_is_checked() {
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    let ends = addresses("192.0.2.1:1", "192.0.2.2:2");
    let zero =
        encode(Version::V2, Some(&ends), &[(TYPE_CRC32C, Bytes::from_static(&[0; 4]))]).expect("encoded");
    let sum = crc32c(zero.iter().copied()).to_be_bytes();
    let right =
        encode(Version::V2, Some(&ends), &[(TYPE_CRC32C, Bytes::copy_from_slice(&sum))]).expect("encoded");
    assert!(parse(&right).expect("valid").is_some());
    let mut wrong = right.to_vec();
    wrong[16] ^= 1;
    assert_eq!(parse(&wrong), Err(ParseError::BadHeader("checksum")));
}

#[test]
fn ends_of_two_families_are_sent_as_ipv6() {
    let mixed = addresses("192.0.2.1:1", "[2001:db8::2]:2");
    for version in [Version::V1, Version::V2] {
        let bytes = encode(version, Some(&mixed), &[]).expect("encoded");
        assert_eq!(whole(&bytes).addresses, Some(addresses("[::ffff:192.0.2.1]:1", "[2001:db8::2]:2")));
    }
}

fn any_end(v4: bool) -> BoxedStrategy<SocketAddr> {
    if v4 {
        any::<(Ipv4Addr, u16)>().prop_map(SocketAddr::from).boxed()
    } else {
        any::<(Ipv6Addr, u16)>().prop_map(SocketAddr::from).boxed()
    }
}

fn any_addresses() -> impl Strategy<Value = Addresses> {
    any::<bool>()
        .prop_flat_map(|v4| (any_end(v4), any_end(v4)))
        .prop_map(|(source, destination)| Addresses { source, destination })
}

proptest! {
    #[test]
    fn what_is_encoded_is_parsed_back(
        ends in proptest::option::of(any_addresses()),
        binary in any::<bool>(),
        values in proptest::collection::vec((4_u8.., proptest::collection::vec(any::<u8>(), 0..50)), 0..4),
        rest in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let version = if binary { Version::V2 } else { Version::V1 };
        let values: Vec<(u8, Bytes)> =
            if binary { values.into_iter().map(|(kind, value)| (kind, value.into())).collect() } else { Vec::new() };
        let bytes = encode(version, ends.as_ref(), &values).expect("encoded");
        // Every prefix asks for more; with anything behind it the header is the same.
        for end in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..end]), Ok(None));
        }
        let header = Header { version, addresses: ends, values };
        prop_assert_eq!(parse(&[bytes.to_vec(), rest].concat()), Ok(Some((header, bytes.len()))));
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in 0..3_usize) {
        let start: &[u8] = [b"".as_slice(), b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21"][start];
        if let Ok(Some((_, length))) = parse(&[start, &bytes].concat()) {
            prop_assert!(length <= start.len() + bytes.len());
        }
    }
}
