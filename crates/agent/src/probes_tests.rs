use super::*;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An application that answers one request with `status`.
async fn application(status: &'static str) -> u16 {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
    });
    port
}

fn probers(text: &str) -> Probers {
    Probers::parse(Some(text)).expect("probers")
}

#[tokio::test]
async fn the_applications_status_is_passed_on() {
    let port = application("503 Service Unavailable").await;
    let text = format!(r#"{{"/app-health/app/readyz":{{"httpGet":{{"path":"/ready","port":{port}}}}}}}"#);
    let (status, _) = probers(&text).run("/app-health/app/readyz", LOOPBACK).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_tcp_probe_succeeds_when_the_port_is_open_and_fails_when_not() {
    let port = application("200 OK").await;
    let probe = |port| format!(r#"{{"/app-health/app/livez":{{"tcpSocket":{{"port":{port}}}}}}}"#);
    let (status, _) = probers(&probe(port)).run("/app-health/app/livez", LOOPBACK).await;
    assert_eq!(status, StatusCode::OK);
    let closed = TcpListener::bind((LOOPBACK, 0)).await.expect("a listener");
    let port = closed.local_addr().expect("an address").port();
    drop(closed);
    let (status, _) = probers(&probe(port)).run("/app-health/app/livez", LOOPBACK).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn only_the_pods_own_probes_can_be_run() {
    let (status, _) = probers("{}").run("/app-health/other/readyz", LOOPBACK).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
