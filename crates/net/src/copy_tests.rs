use super::*;
use crate::socket::{ConnectOptions, ListenOptions, connect, listen};
use std::sync::Arc;

/// A connected pair of TCP sockets.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = listen(([127, 0, 0, 1], 0).into(), &ListenOptions::default()).expect("listen");
    let client =
        connect(listener.local_addr().expect("address"), &ConnectOptions::default()).await.expect("connect");
    let (server, _) = listener.accept().await.expect("accept");
    (client, server)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}

/// Sends `request`, half-closes, and returns all that came back.
async fn exchange(mut stream: TcpStream, request: Vec<u8>) -> Vec<u8> {
    let (mut read, mut write) = stream.split();
    let mut answer = Vec::new();
    let send = async {
        write.write_all(&request).await.expect("send");
        write.shutdown().await.expect("half-close");
    };
    let receive = async { read.read_to_end(&mut answer).await.expect("receive") };
    tokio::join!(send, receive);
    answer
}

#[tokio::test]
async fn large_and_small_streams_arrive_whole_in_both_directions() {
    for (up, down) in [(0, 0), (1, 3_000_000), (3_000_000, 5), (2_000_000, 2_000_001)] {
        let (client, first) = pair().await;
        let (second, server) = pair().await;
        let counters = Arc::new(CopyCounters::default());
        let seen = counters.clone();
        let copy = tokio::spawn(async move {
            copy_bidirectional(&first, &second, &CopyOptions::default(), &counters).await
        });
        let (at_client, at_server) =
            tokio::join!(exchange(client, pattern(up)), exchange(server, pattern(down)));
        assert!(at_client == pattern(down) && at_server == pattern(up), "{up} up and {down} down");
        let moved = copy.await.expect("task").expect("copy");
        assert_eq!(moved, (up as u64, down as u64));
        assert_eq!(seen.totals(), moved);
    }
}

#[tokio::test]
async fn half_close_lets_the_answer_follow() {
    let (client, first) = pair().await;
    let (second, mut server) = pair().await;
    let counters = CopyCounters::default();
    let options = CopyOptions::default();
    let copy = copy_bidirectional(&first, &second, &options, &counters);
    let serve = async move {
        let mut request = Vec::new();
        server.read_to_end(&mut request).await.expect("request");
        server.write_all(&request.len().to_be_bytes()).await.expect("answer");
    };
    let (answer, (), moved) = tokio::join!(exchange(client, pattern(100_000)), serve, copy);
    assert_eq!(answer, 100_000_usize.to_be_bytes());
    assert_eq!(moved.expect("copy"), (100_000, 8));
}

#[tokio::test]
async fn streams_that_are_no_sockets_go_through_buffers() {
    let (mut client, mut first) = tokio::io::duplex(1024);
    let (mut second, mut server) = tokio::io::duplex(1024);
    let counters = CopyCounters::default();
    let options = CopyOptions::default();
    let copy = copy_bidirectional_buffered(&mut first, &mut second, &options, &counters);
    let upload = async {
        client.write_all(&pattern(500_000)).await.expect("send");
        client.shutdown().await.expect("half-close");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("answer");
        answer
    };
    let serve = async {
        let mut request = Vec::new();
        server.read_to_end(&mut request).await.expect("request");
        server.write_all(b"done").await.expect("answer");
        server.shutdown().await.expect("close");
        request
    };
    let (answer, request, moved) = tokio::join!(upload, serve, copy);
    assert_eq!((answer.as_slice(), request == pattern(500_000)), (b"done".as_slice(), true));
    assert_eq!(moved.expect("copy"), (500_000, 4));
}

#[tokio::test]
async fn an_idle_copy_ends_with_a_timeout() {
    let (mut client, mut first) = tokio::io::duplex(1024);
    let (mut second, _server) = tokio::io::duplex(1024);
    client.write_all(b"hello").await.expect("send");
    let options = CopyOptions { idle_timeout: Some(Duration::from_millis(50)) };
    let counters = CopyCounters::default();
    let error = copy_bidirectional_buffered(&mut first, &mut second, &options, &counters)
        .await
        .expect_err("nothing moves");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(counters.totals(), (5, 0));
}

#[tokio::test]
async fn a_reset_ends_the_copy_with_an_error() {
    let (client, first) = pair().await;
    let (second, _server) = pair().await;
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(client);
    let counters = CopyCounters::default();
    let error = copy_bidirectional(&first, &second, &CopyOptions::default(), &counters)
        .await
        .expect_err("the client reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
