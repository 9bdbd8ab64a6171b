use super::*;
use std::net::Ipv4Addr;

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

#[tokio::test]
async fn without_redirection_the_original_destination_is_the_local_address() {
    let listener = listen(loopback(), &ListenOptions::default()).expect("listen");
    let address = listener.local_addr().expect("address");
    let client = connect(address, &ConnectOptions::default()).await.expect("connect");
    let (server, _) = listener.accept().await.expect("accept");
    assert_eq!(original_destination(&server).expect("destination"), address);
    assert!(client.nodelay().expect("nodelay"));
}

#[tokio::test]
async fn a_dual_stack_listener_gives_plain_ipv4_addresses() {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let Ok(listener) = listen(any, &ListenOptions::default()) else {
        println!("skipped: no IPv6 here");
        return;
    };
    let port = listener.local_addr().expect("address").port();
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let _client = connect(target, &ConnectOptions::default()).await.expect("connect");
    let (server, _) = listener.accept().await.expect("accept");
    assert_eq!(original_destination(&server).expect("destination"), target);
}

#[tokio::test]
async fn several_workers_share_a_port() {
    let options = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let first = listen(loopback(), &options).expect("first");
    let address = first.local_addr().expect("address");
    listen(address, &options).expect("second");
    assert!(listen(address, &ListenOptions::default()).is_err());
}

#[tokio::test]
async fn the_source_address_and_mark_are_used() {
    let listener = listen(loopback(), &ListenOptions::default()).expect("listen");
    let options = ConnectOptions {
        source: Some(IpAddr::from([127, 0, 0, 6])),
        mark: Some(crate::PROXY_MARK),
        keepalive: Some(Keepalive { time: Some(Duration::from_secs(30)), interval: None, probes: Some(3) }),
        ..ConnectOptions::default()
    };
    let client = connect(listener.local_addr().expect("address"), &options).await.expect("connect");
    assert_eq!(client.local_addr().expect("local").ip(), IpAddr::from([127, 0, 0, 6]));
    assert!(SockRef::from(&client).keepalive().expect("keepalive"));
    match SockRef::from(&client).mark() {
        Ok(0) => println!("skipped the mark: no CAP_NET_ADMIN"),
        mark => assert_eq!(mark.expect("mark"), crate::PROXY_MARK),
    }
}

#[tokio::test]
async fn a_source_of_the_other_family_is_left_out() {
    let listener = listen(loopback(), &ListenOptions::default()).expect("listen");
    let options =
        ConnectOptions { source: Some(IpAddr::V6(Ipv6Addr::LOCALHOST)), ..ConnectOptions::default() };
    connect(listener.local_addr().expect("address"), &options).await.expect("connect");
}

#[tokio::test]
async fn a_refused_connection_is_an_error() {
    let listener = listen(loopback(), &ListenOptions::default()).expect("listen");
    let address = listener.local_addr().expect("address");
    drop(listener);
    let error = connect(address, &ConnectOptions::default()).await.expect_err("nobody listens");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}
