use super::*;
use proptest::prelude::*;

/// A real ClientHello, as rustls sends it.
fn hello(name: &str, protocols: &[&[u8]]) -> Vec<u8> {
    let mut config = rustls::ClientConfig::builder_with_provider(mizzen_identity::crypto_provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).expect("name");
    let mut connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name).expect("client");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("bytes");
    bytes
}

#[test]
fn reads_name_and_protocols_of_a_real_client() {
    let bytes = hello("Payments.Default.svc", &[b"istio", b"h2"]);
    let FirstBytes::Hello(hello) = parse(&bytes) else { panic!("not a hello") };
    assert_eq!(hello.server_name.as_deref(), Some("payments.default.svc"));
    assert_eq!(hello.application_protocols, [b"istio".to_vec(), b"h2".to_vec()]);
}

#[test]
fn every_prefix_of_a_hello_is_incomplete() {
    let bytes = hello("a.example.com", &[b"h2"]);
    for length in 0..bytes.len() {
        assert_eq!(parse(&bytes[..length]), FirstBytes::Incomplete, "at {length}");
    }
}

#[test]
fn a_hello_spread_over_records_is_read() {
    let bytes = hello("a.example.com", &[b"h2"]);
    let message = &bytes[RECORD_HEADER..];
    let mut spread = Vec::new();
    for part in message.chunks(7) {
        spread.extend_from_slice(&[HANDSHAKE, 3, 1, 0, part.len() as u8]);
        spread.extend_from_slice(part);
    }
    assert_eq!(parse(&spread), parse(&bytes));
}

#[test]
fn other_protocols_are_not_tls() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0", b"SSH-2.0", &[22, 9], &[22, 3, 1, 0, 0]] {
        assert_eq!(parse(bytes), FirstBytes::NotTls, "{bytes:?}");
    }
}

#[test]
fn an_address_or_control_characters_are_no_server_name() {
    assert_eq!(server_name(&[0, 4, 0, 0, 1, 7]), Some(None));
    assert_eq!(server_name(&[0, 3, 0, 0, 0]), Some(None));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        parse(&bytes);
    }

    #[test]
    fn a_damaged_hello_is_survived(position in 0usize..200, byte: u8) {
        let mut bytes = hello("a.example.com", &[b"h2", b"http/1.1"]);
        let place = position % bytes.len();
        bytes[place] = byte;
        parse(&bytes);
    }
}
