use super::*;
use crate::link::Links;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn two_namespaces_talk_over_a_veth_pair() {
    let (Some(node), Some(pod)) = (for_tests(), for_tests()) else { return };
    let outside = Links::inside(&node).expect("node links");
    let inside = Links::inside(&pod).expect("pod links");
    inside.up("lo").await.expect("lo");
    outside.add_veth("veth1", "eth0", &pod).await.expect("veth");
    outside.up("lo").await.expect("lo");
    outside.add_address("lo", Ipv4Addr::new(10, 244, 0, 1), 32).await.expect("address");
    outside.add_address("lo", Ipv4Addr::new(169, 254, 1, 1), 32).await.expect("gateway");
    outside.up("veth1").await.expect("up");
    outside.add_route("veth1", Ipv4Addr::new(10, 244, 0, 9), 32, None).await.expect("route");
    inside.up("eth0").await.expect("up");
    inside.add_address("eth0", Ipv4Addr::new(10, 244, 0, 9), 32).await.expect("address");
    let gateway = Ipv4Addr::new(169, 254, 1, 1);
    inside.add_route("eth0", gateway, 32, None).await.expect("gateway route");
    inside.add_route("eth0", Ipv4Addr::UNSPECIFIED, 0, Some(gateway)).await.expect("default route");

    let address = SocketAddr::from(([10, 244, 0, 1], 4000));
    let listener = node.listen(address, &ListenOptions::default()).expect("listen");
    let mut client = pod.connect(address, &ConnectOptions::default()).await.expect("connect");
    let (mut server, peer) = listener.accept().await.expect("accept");
    assert_eq!(peer.ip(), Ipv4Addr::new(10, 244, 0, 9));
    client.write_all(b"hello").await.expect("send");
    drop(client);
    let mut text = String::new();
    server.read_to_string(&mut text).await.expect("receive");
    assert_eq!(text, "hello");

    outside.delete("veth1").await.expect("delete");
    assert!(inside.up("eth0").await.is_err(), "the peer goes with it");
    outside.delete("veth1").await.expect("already gone is fine");
}

#[test]
fn the_caller_stays_where_it_is() {
    let Some(namespace) = for_tests() else { return };
    let name = || std::fs::read_link("/proc/thread-self/ns/net").expect("link");
    let before = name();
    let inside = namespace.run(name).expect("run");
    assert_ne!(inside, before);
    assert_eq!(name(), before);
}
