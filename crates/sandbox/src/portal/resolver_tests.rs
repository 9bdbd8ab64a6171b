use super::*;
use hickory_proto::op::Query;
use hickory_proto::rr::Name;

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("name"), kind));
    message.to_vec().expect("encoded")
}

const HOSTS: &str = "127.0.0.1 localhost me.example\n# comment\n192.0.2.7  shop.example Shop # both\n2001:db8::7 shop.example\n";

#[test]
fn the_hosts_file_answers_for_its_names() {
    let answer = from_hosts(HOSTS, &query("shop.EXAMPLE.", RecordType::A)).expect("known");
    let answer = Message::from_vec(&answer).expect("message");
    assert_eq!(answer.metadata.id, 7);
    let data: Vec<String> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    assert_eq!(data, ["192.0.2.7"]);
    let mail = from_hosts(HOSTS, &query("shop.example.", RecordType::MX));
    assert!(mail.is_none());
}

#[test]
fn loopback_names_and_unknown_ones_are_not_answered() {
    assert!(from_hosts(HOSTS, &query("me.example.", RecordType::A)).is_none());
    assert!(from_hosts(HOSTS, &query("other.example.", RecordType::A)).is_none());
    assert!(from_hosts(HOSTS, b"noise").is_none());
}

#[test]
fn name_servers_come_in_order() {
    let servers =
        name_servers("search x\nnameserver 192.0.2.1\n nameserver 2001:db8::1\nnameserver nonsense\n");
    assert_eq!(servers, ["192.0.2.1:53".parse().expect("v4"), "[2001:db8::1]:53".parse().expect("v6")]);
    assert_eq!(name_servers(""), ["127.0.0.1:53".parse().expect("default")]);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("tcp");
    let address = tcp.local_addr().expect("address");
    let udp = UdpSocket::bind(address).await.expect("udp");
    let server = async {
        let mut buffer = [0; 512];
        let (length, from) = udp.recv_from(&mut buffer).await.expect("question");
        let mut truncated = buffer[..length].to_vec();
        truncated[2] |= TRUNCATED;
        udp.send_to(&truncated, from).await.expect("truncated");
        let (mut stream, _) = tcp.accept().await.expect("accept");
        let length = stream.read_u16().await.expect("length");
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.expect("question");
        stream.write_all(&[0, 2, b'o', b'k']).await.expect("answer");
    };
    let question = query("shop.example.", RecordType::A);
    let (answer, ()) = tokio::join!(ask(address, &question), server);
    assert_eq!(answer.expect("answer"), b"ok");
}
