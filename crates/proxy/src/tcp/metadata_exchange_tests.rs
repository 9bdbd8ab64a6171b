use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn node() -> Node {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = [("NAMESPACE", text("shop")), ("WORKLOAD_NAME", text("cart-v1"))];
    let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Node {
        id: "sidecar~10.0.0.1~cart.shop~shop.svc.cluster.local".to_owned(),
        metadata: Some(Struct { fields }),
        ..Node::default()
    }
}

async fn read(chunks: &[&[u8]]) -> (Option<PeerMetadata>, Vec<u8>) {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    for chunk in chunks {
        near.write_all(chunk).await.expect("write");
    }
    drop(near);
    let mut stream = Exchanging::new(far, true);
    let peer = stream.peer().await.expect("header");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("rest");
    (peer, rest)
}

#[tokio::test]
async fn the_header_is_taken_out_and_names_the_peer() {
    let header = header(&node());
    let (peer, rest) = read(&[&header, b"hello"]).await;
    let peer = peer.expect("peer");
    assert_eq!((peer.namespace.as_str(), peer.workload.as_str()), ("shop", "cart-v1"));
    assert_eq!(rest, b"hello");
}

#[tokio::test]
async fn a_peer_without_a_header_loses_nothing() {
    for start in [&b"hello"[..], &[0x3D, 0x23, 4], &[0x3D, 0x23, 4, 0x67, 0xff, 0xff, 0xff, 0xff, 1]] {
        let (peer, rest) = read(&[start]).await;
        assert!(peer.is_none());
        assert_eq!(rest, start);
    }
}

#[tokio::test]
async fn a_description_that_does_not_decode_is_no_description() {
    let (peer, rest) = read(&[&[0x3D, 0x23, 4, 0x67, 0, 0, 0, 2, 0xff, 0xff], b"x"]).await;
    assert!(peer.is_none());
    assert_eq!(rest, b"x");
}
