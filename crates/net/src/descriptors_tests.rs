use super::*;
use std::io::Read;

fn ends() -> (Channel, Channel) {
    let (first, second) = pair().expect("pair");
    (Channel::new(first).expect("first"), Channel::new(second).expect("second"))
}

const NOTHING: Option<&OwnedFd> = None;

#[tokio::test]
async fn packets_keep_their_bounds_and_carry_descriptors() {
    let (first, second) = ends();
    let (mut read, write) = std::io::pipe().expect("pipe");
    first.send(b"one", NOTHING).await.expect("send");
    first.send(b"two", Some(&write)).await.expect("send");
    drop(write);
    let (packet, descriptor) = second.receive().await.expect("receive").expect("open");
    assert_eq!((packet.as_slice(), descriptor.is_none()), (b"one".as_slice(), true));
    let (packet, descriptor) = second.receive().await.expect("receive").expect("open");
    assert_eq!(packet, b"two");
    std::io::Write::write_all(&mut std::fs::File::from(descriptor.expect("descriptor")), b"x")
        .expect("write");
    let mut text = String::new();
    read.read_to_string(&mut text).expect("read");
    assert_eq!(text, "x");
}

#[tokio::test]
async fn the_other_end_gone_is_the_end() {
    let (first, second) = ends();
    first.send(b"last words", NOTHING).await.expect("send");
    drop(first);
    assert!(second.receive().await.expect("receive").is_some());
    assert!(second.receive().await.expect("receive").is_none());
    assert!(second.send(b"hello?", NOTHING).await.is_err());
}

#[tokio::test]
async fn the_largest_packet_fits_and_a_larger_one_is_refused() {
    let (first, second) = ends();
    let packet = vec![7; LARGEST_PACKET];
    let (sent, received) = tokio::join!(first.send(&packet, NOTHING), second.receive());
    sent.expect("send");
    assert!(received.expect("receive").expect("open").0 == packet);
    let error = first.send(&vec![7; LARGEST_PACKET + 1], NOTHING).await.expect_err("too large");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
