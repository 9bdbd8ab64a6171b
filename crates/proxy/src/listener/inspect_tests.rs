use super::super::{Enabled, PortPredicate};
use super::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

fn sniffing() -> Inspection {
    Inspection { tls: Some(Enabled::Always), http: Some(Enabled::Always), ..Inspection::default() }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let address = listener.local_addr().expect("address");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.expect("client"), accepted.expect("accepted").0)
}

#[tokio::test]
async fn http_is_found_and_its_bytes_are_given_back() {
    let (mut client, mut server) = pair().await;
    client.write_all(b"GET / HTTP/1.1\r\n").await.expect("write");
    let inspected = inspect(&mut server, &sniffing(), 80).await.expect("inspected");
    assert_eq!(inspected.application_protocols, [b"http/1.1".to_vec()]);
    assert_eq!(&inspected.prefix[..], b"GET / HTTP/1.1\r\n");
    assert!(!inspected.tls);
}

#[tokio::test]
async fn a_silent_client_is_let_go_or_let_through_when_time_is_over() {
    let (_client, mut server) = pair().await;
    let limit = Duration::from_millis(1);
    let mut inspection = Inspection { timeout: Some(limit), ..sniffing() };
    let error = inspect(&mut server, &inspection, 80).await.expect_err("timed out");
    assert!(matches!(error, InspectError::TimedOut(_)));
    inspection.continue_on_timeout = true;
    let inspected = inspect(&mut server, &inspection, 80).await.expect("inspected");
    assert!(inspected.prefix.is_empty());
}

#[tokio::test]
async fn inspectors_keep_out_of_ports_they_are_disabled_for() {
    let (_client, mut server) = pair().await;
    let except = || Some(Enabled::Unless(PortPredicate::Range(3306, 3307)));
    let inspection = Inspection { tls: except(), http: except(), ..Inspection::default() };
    // Returns without a byte having been sent: a server-first protocol.
    let inspected = inspect(&mut server, &inspection, 3306).await.expect("inspected");
    assert!(inspected.prefix.is_empty());
}

#[tokio::test]
async fn a_proxy_header_names_the_client() {
    let (mut client, mut server) = pair().await;
    let inspection =
        Inspection { proxy_protocol: Some(ProxyProtocol { optional: false }), ..Inspection::default() };
    client.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.1 1000 443\r\nrest").await.expect("write");
    let inspected = inspect(&mut server, &inspection, 443).await.expect("inspected");
    let relayed = inspected.relayed.expect("addresses");
    assert_eq!(relayed.source.to_string(), "192.0.2.1:1000");
    assert_eq!(&inspected.prefix[..], b"rest");
}

#[tokio::test]
async fn a_missing_proxy_header_is_refused_unless_it_is_optional() {
    for optional in [false, true] {
        let (mut client, mut server) = pair().await;
        let inspection =
            Inspection { proxy_protocol: Some(ProxyProtocol { optional }), ..Inspection::default() };
        client.write_all(b"GET / HTTP/1.1\r\n").await.expect("write");
        assert_eq!(inspect(&mut server, &inspection, 80).await.is_ok(), optional);
    }
}
