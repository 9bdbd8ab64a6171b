//! The machine's resolver, asked with raw DNS messages: `/etc/hosts` first, then the name servers
//! of `/etc/resolv.conf` in order, over UDP and over TCP when the answer does not fit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

/// How long one name server is waited for; resolvers' own default.
const PATIENCE: Duration = Duration::from_secs(5);
/// Seconds a name from `/etc/hosts` may be kept.
const HOSTS_TTL: u32 = 5;
const TRUNCATED: u8 = 0x02;

/// Answers one DNS message.
pub(super) async fn relay(query: &[u8]) -> io::Result<Vec<u8>> {
    let hosts = tokio::fs::read_to_string("/etc/hosts").await.unwrap_or_default();
    if let Some(answer) = from_hosts(&hosts, query) {
        return Ok(answer);
    }
    let settings = tokio::fs::read_to_string("/etc/resolv.conf").await.unwrap_or_default();
    let mut failure = io::Error::other("the machine has no name server (/etc/resolv.conf)");
    for server in name_servers(&settings) {
        match tokio::time::timeout(PATIENCE, ask(server, query)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => failure = error,
            Err(_) => {
                failure = io::Error::new(io::ErrorKind::TimedOut, format!("name server {server} is silent"))
            }
        }
    }
    Err(failure)
}

/// The `nameserver` lines; glibc's default is the machine itself.
fn name_servers(settings: &str) -> Vec<SocketAddr> {
    let lines = settings.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = lines.filter_map(|rest| rest.trim().parse::<IpAddr>().ok());
    let servers: Vec<SocketAddr> = addresses.map(|address| SocketAddr::new(address, 53)).collect();
    if servers.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53)] } else { servers }
}

/// The answer `/etc/hosts` gives, if it knows the name.
fn from_hosts(hosts: &str, query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let question = query.queries.first()?;
    let name = question.name().to_ascii();
    let addresses = hosts_addresses(hosts, name.trim_end_matches('.'));
    if addresses.is_empty() || !matches!(question.query_type(), RecordType::A | RecordType::AAAA) {
        return None;
    }
    let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_query(question.clone());
    for address in addresses {
        let data = match (address, question.query_type()) {
            (IpAddr::V4(address), RecordType::A) => RData::A(A(address)),
            (IpAddr::V6(address), RecordType::AAAA) => RData::AAAA(AAAA(address)),
            _ => continue,
        };
        answer.add_answer(Record::from_rdata(question.name().clone(), HOSTS_TTL, data));
    }
    answer.to_vec().ok()
}

fn hosts_addresses(hosts: &str, name: &str) -> Vec<IpAddr> {
    let line_address = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    // Loopback addresses of the machine mean something else inside a pod.
    hosts.lines().filter_map(line_address).filter(|address| !address.is_loopback()).collect()
}

async fn ask(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let answer = ask_udp(server, query).await?;
    let truncated = answer.get(2).is_some_and(|flags| flags & TRUNCATED != 0);
    if truncated { ask_tcp(server, query).await } else { Ok(answer) }
}

async fn ask_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any = SocketAddr::new(mizzen_net::socket::wildcard(server.ip()), 0);
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Anything with another id answers an earlier question of this port, if it is not forged.
        if buffer.get(..2) == query.get(..2) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(query).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
