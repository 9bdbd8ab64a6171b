use super::*;
use crate::drain;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

/// All that a server says to a client that sends `bytes` and then only listens. The clock is paused: it jumps to the
/// next limit when nobody has anything to do.
async fn told(bytes: &[u8]) -> String {
    let (mut client, server) = duplex(1 << 20);
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/length", post(async |body: String| body.len().to_string()));
    let (_trigger, watcher) = drain::channel();
    let stream = Prompt::new(server, Ends::default(), Patience::default());
    let incoming = futures::stream::iter([Ok(stream)]);
    serve(incoming, router, watcher).await;
    client.write_all(bytes).await.expect("request");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered() {
    let answer = told(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_cut_off() {
    for head in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost: a\r\nx: "] {
        assert_eq!(told(head.as_bytes()).await, "", "{head:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_waited_for_in_vain_once() {
    let answer = told(b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_is_cut_off() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // A head of 100 bytes of which one comes.
    let answer = told(&[&preface[..], b"\0\0\x64\x01\x04\0\0\0\x01\x82"].concat()).await;
    assert!(!answer.is_empty(), "no settings");
}
