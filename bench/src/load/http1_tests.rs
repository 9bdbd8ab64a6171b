use super::*;

#[tokio::test]
async fn answers_may_come_in_any_pieces() {
    let (near, mut far) = tokio::io::duplex(64);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let server = tokio::spawn(async move {
        let mut request = [0; 32];
        for _ in 0..2 {
            let read = far.read(&mut request).await.unwrap();
            assert!(request[..read].ends_with(b"host: app\r\n\r\n"));
            for piece in answer.chunks(7) {
                far.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let mut connection = Connection::new(near);
    let request = Request::get("app", "/");
    assert_eq!(connection.exchange(&request).await.unwrap(), 5);
    assert_eq!(connection.exchange(&request).await.unwrap(), 5, "the connection is used again");
    server.await.unwrap();
}

#[test]
fn anything_but_success_is_an_error_that_says_what_came() {
    let refused = length_of(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").unwrap_err();
    assert_eq!(refused.to_string(), "the answer is 'HTTP/1.1 503 Service Unavailable'");
    assert!(length_of(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
}
