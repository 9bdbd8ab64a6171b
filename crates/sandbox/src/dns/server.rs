//! DNS over UDP and TCP (RFC 1035, RFC 7766), bounded in every direction.

use super::resolver::Resolver;
use hickory_proto::op::Message;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Questions over UDP in work; more are dropped, and asked again by the client.
const MOST_QUESTIONS: usize = 512;
/// Open TCP connections.
const MOST_CONNECTIONS: usize = 128;
/// Without a further question for so long, a TCP connection is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed receive or accept.
const RETRY: Duration = Duration::from_millis(50);
/// The largest message without EDNS (RFC 1035, 2.3.4).
const PLAIN_PAYLOAD: u16 = 512;

/// Bound sockets, not yet served.
pub struct Server {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
}

impl Server {
    /// Binds UDP and TCP at `address`. With port 0 both get the same free port.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let udp = UdpSocket::bind(tcp.local_addr()?).await?;
        Ok(Self { udp: Arc::new(udp), tcp })
    }

    /// Where it listens.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Answers questions for ever.
    pub async fn serve(self, resolver: Arc<Resolver>) {
        tokio::join!(serve_udp(self.udp, resolver.clone()), serve_tcp(self.tcp, resolver));
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, resolver: Arc<Resolver>) {
    let places = Arc::new(Semaphore::new(MOST_QUESTIONS));
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0_u8; 4096];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
        };
        let (length, client) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "DNS: a datagram could not be received");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let question = buffer.get(..length).unwrap_or_default().to_vec();
        let (socket, resolver) = (socket.clone(), resolver.clone());
        tasks.spawn(async move {
            if let Some(answer) = resolver.answer(&question).await
                && let Some(bytes) = within(&answer, payload_of(&question))
                && let Err(error) = socket.send_to(&bytes, client).await
            {
                tracing::debug!(%error, %client, "DNS: an answer could not be sent");
            }
            drop(place);
        });
    }
}

/// The largest answer the client takes over UDP.
fn payload_of(question: &[u8]) -> u16 {
    Message::from_vec(question).map_or(PLAIN_PAYLOAD, |question| question.max_payload().max(PLAIN_PAYLOAD))
}

/// The answer in wire form; if it is larger than `most`, one that tells the client to use TCP.
fn within(answer: &Message, most: u16) -> Option<Vec<u8>> {
    let bytes = answer.to_vec().ok()?;
    if bytes.len() <= usize::from(most) { Some(bytes) } else { answer.truncate().to_vec().ok() }
}

async fn serve_tcp(listener: TcpListener, resolver: Arc<Resolver>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "DNS: a connection could not be accepted");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let resolver = resolver.clone();
        connections.spawn(async move {
            if let Err(error) = serve_connection(stream, &resolver).await {
                tracing::debug!(%error, %client, "DNS: a connection ended early");
            }
            drop(place);
        });
    }
}

/// Each message is preceded by its length in two bytes.
async fn serve_connection(mut stream: TcpStream, resolver: &Resolver) -> io::Result<()> {
    loop {
        let question = timeout(IDLE_TIMEOUT, async {
            let length = usize::from(stream.read_u16().await?);
            let mut question = vec![0_u8; length];
            stream.read_exact(&mut question).await?;
            io::Result::Ok(question)
        });
        let question = match question.await {
            Ok(Ok(question)) => question,
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(()),
        };
        let Some(answer) = resolver.answer(&question).await else { return Ok(()) };
        let bytes = answer.to_vec().map_err(io::Error::other)?;
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut framed = Vec::with_capacity(bytes.len() + 2);
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&bytes);
        timeout(IDLE_TIMEOUT, stream.write_all(&framed)).await.map_err(io::Error::other)??;
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
