use super::*;
use crate::controllers::Cache;
use crate::dns::Zone;
use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RecordType};
use serde_json::json;
use std::str::FromStr;

/// A server that knows a headless Service with `pods` pods.
async fn server(pods: usize) -> SocketAddr {
    let zone =
        Zone::new(Cache::default(), Cache::default(), Cache::default(), "cluster.local").expect("a zone");
    let service = json!({"metadata": {"name": "db", "namespace": "default"}, "spec": {"clusterIP": "None"}});
    zone.services.wrote(serde_json::from_value(service).expect("a service"));
    let endpoints: Vec<_> = (0..pods).map(|pod| json!({"addresses": [format!("10.244.1.{pod}")]})).collect();
    let slice = json!({"addressType": "IPv4", "endpoints": endpoints, "metadata": {"name": "db-x",
        "namespace": "default", "labels": {"kubernetes.io/service-name": "db"}}});
    zone.slices.wrote(serde_json::from_value(slice).expect("a slice"));
    let server = Server::bind("127.0.0.1:0".parse().expect("an address")).await.expect("bound");
    let address = server.local_address().expect("an address");
    tokio::spawn(server.serve(Arc::new(Resolver::new(zone, None))));
    address
}

fn question() -> Vec<u8> {
    let mut query = Message::query();
    let name = Name::from_str("db.default.svc.cluster.local.").expect("a name");
    query.add_query(Query::query(name, RecordType::A));
    query.to_vec().expect("bytes")
}

async fn ask_udp(server: SocketAddr) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.send_to(&question(), server).await.expect("sent");
    let mut buffer = [0_u8; 4096];
    let length = socket.recv(&mut buffer).await.expect("an answer");
    Message::from_vec(&buffer[..length]).expect("a message")
}

async fn ask_tcp(stream: &mut TcpStream) -> Message {
    let question = question();
    stream.write_u16(u16::try_from(question.len()).expect("short")).await.expect("written");
    stream.write_all(&question).await.expect("written");
    let length = stream.read_u16().await.expect("a length");
    let mut answer = vec![0_u8; usize::from(length)];
    stream.read_exact(&mut answer).await.expect("an answer");
    Message::from_vec(&answer).expect("a message")
}

#[tokio::test]
async fn questions_are_answered_over_both() {
    let server = server(3).await;
    assert_eq!(ask_udp(server).await.answers.len(), 3);
    let mut stream = TcpStream::connect(server).await.expect("connected");
    for _ in 0..2 {
        assert_eq!(ask_tcp(&mut stream).await.answers.len(), 3);
    }
}

#[tokio::test]
async fn an_answer_too_large_for_udp_sends_the_client_to_tcp() {
    let server = server(60).await;
    let answer = ask_udp(server).await;
    assert!(answer.metadata.truncation);
    let mut stream = TcpStream::connect(server).await.expect("connected");
    assert_eq!(ask_tcp(&mut stream).await.answers.len(), 60);
}
