use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn listener() -> (TcpListener, SocketAddrV4) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let std::net::SocketAddr::V4(address) = listener.local_addr().expect("an address") else {
        panic!("an IPv4 address");
    };
    (listener, address)
}

#[tokio::test]
async fn connections_take_turns_and_pass_over_a_dead_backend() {
    let (dead, dead_address) = listener().await;
    drop(dead);
    let (alive, alive_address) = listener().await;
    for first in 0..2 {
        let connected = connect_in_turn(&[dead_address, alive_address], first).await.expect("connected");
        assert_eq!(connected.peer_addr().expect("a peer"), alive_address.into());
        alive.accept().await.expect("accepted");
    }
    assert!(connect_in_turn(&[], 0).await.is_err());
}

#[tokio::test]
async fn a_client_that_stops_sending_still_gets_its_answer() {
    let (front, front_address) = listener().await;
    let (back, back_address) = listener().await;
    let carrying = tokio::spawn(async move {
        let (client, _) = front.accept().await.expect("a client");
        carry(client, &[back_address], 0).await
    });
    let serving = tokio::spawn(async move {
        let (mut stream, _) = back.accept().await.expect("a connection");
        let mut request = String::new();
        stream.read_to_string(&mut request).await.expect("the request to its end");
        stream.write_all(request.to_uppercase().as_bytes()).await.expect("the answer");
    });
    let mut client = TcpStream::connect(front_address).await.expect("connected");
    client.write_all(b"half-close").await.expect("written");
    client.shutdown().await.expect("closed for writing");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("the answer");
    assert_eq!(answer, "HALF-CLOSE");
    serving.await.expect("served");
    carrying.await.expect("carried").expect("without error");
}
