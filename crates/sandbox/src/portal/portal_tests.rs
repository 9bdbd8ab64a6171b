use super::*;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

fn connected() -> (Portal, PortalServer) {
    let (node, machine) = mizzen_net::descriptors::pair().expect("pair");
    (Portal::new(node).expect("node"), PortalServer::new(machine).expect("machine"))
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

#[tokio::test]
async fn sockets_opened_by_the_portal_work_in_the_node() {
    let (portal, server) = connected();
    let (told, _) = mpsc::unbounded_channel();
    tokio::spawn(async move { server.serve(told).await });
    let listener = portal.listen(any_port()).await.expect("listen");
    let address = listener.local_addr().expect("address");
    let error = portal.listen(address).await.expect_err("taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let mut client = portal.connect(address).await.expect("connect");
    let (mut accepted, _) = listener.accept().await.expect("accept");
    client.write_all(b"through").await.expect("send");
    drop(client);
    let mut text = String::new();
    accepted.read_to_string(&mut text).await.expect("receive");
    assert_eq!(text, "through");
    drop(listener);
    let error = portal.connect(address).await.expect_err("refused");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn what_the_node_tells_arrives_in_order() {
    let (portal, server) = connected();
    let (sender, mut told) = mpsc::unbounded_channel();
    tokio::spawn(async move { server.serve(sender).await });
    portal.progress("API server").await.expect("progress");
    portal.ready(serde_json::json!({"port": 1})).await.expect("ready");
    portal.failed("because").await.expect("failed");
    assert!(matches!(told.recv().await, Some(FromNode::Progress(line)) if line == "API server"));
    assert!(matches!(told.recv().await, Some(FromNode::Ready(summary)) if summary["port"] == 1));
    assert!(matches!(told.recv().await, Some(FromNode::Failed(reason)) if reason == "because"));
}

#[tokio::test]
async fn the_node_stops_when_told_to_and_when_the_portal_is_gone() {
    let (portal, server) = connected();
    server.stop().await.expect("stop");
    portal.stopped().await;
    let (portal, server) = connected();
    drop(server);
    portal.stopped().await;
    assert!(portal.connect(any_port()).await.is_err());
}
