//! The node's end of the portal.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use mizzen_net::descriptors::Channel;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::protocol::{FromNode, Outcome, Request, ToNode};
use crate::controllers::{Publisher, Upstream};

const NO_DESCRIPTOR: Option<&OwnedFd> = None;

/// Why the portal could not be told something.
#[derive(Debug, thiserror::Error)]
#[error("the portal is gone: {0}")]
pub struct PortalError(#[from] io::Error);

type Answer = (Outcome, Option<OwnedFd>);

/// Asks the portal for what only it can do. Clones share the connection.
#[derive(Clone)]
pub struct Portal {
    channel: Arc<Channel>,
    open: Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>,
    next: Arc<AtomicU64>,
    stop: watch::Receiver<bool>,
}

impl Portal {
    /// Takes over the node's end of the channel. Must be called on a tokio runtime.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        let (stop_sender, stop) = watch::channel(false);
        let portal =
            Self { channel: Arc::new(Channel::new(end)?), open: Arc::default(), next: Arc::default(), stop };
        tokio::spawn(read_answers(portal.channel.clone(), portal.open.clone(), stop_sender));
        Ok(portal)
    }

    /// Resolves when the node is to stop: because the portal says so or because it is gone.
    pub async fn stopped(&self) {
        // An error means that the reader is gone, and with it the portal.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// Tells those who watch the start.
    pub async fn progress(&self, line: impl Into<String>) -> Result<(), PortalError> {
        self.send(&FromNode::Progress(line.into())).await
    }

    /// Tells that the mesh is up.
    pub async fn ready(&self, summary: serde_json::Value) -> Result<(), PortalError> {
        self.send(&FromNode::Ready(summary)).await
    }

    /// Tells that the node cannot go on.
    pub async fn failed(&self, reason: impl Into<String>) -> Result<(), PortalError> {
        self.send(&FromNode::Failed(reason.into())).await
    }

    /// Listens on an address of the machine.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::from_std(self.listen_std(address).await?)
    }

    /// As [`listen`](Self::listen), not yet registered with a runtime.
    pub async fn listen_std(&self, address: SocketAddr) -> io::Result<std::net::TcpListener> {
        let socket = self.socket(Request::Listen(address)).await?;
        let listener = std::net::TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Connects to an address as seen from the machine.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.socket(Request::Connect(address)).await?;
        let stream = std::net::TcpStream::from(socket);
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }

    async fn socket(&self, request: Request) -> io::Result<OwnedFd> {
        match self.ask(request).await? {
            (Outcome::Socket, Some(socket)) => Ok(socket),
            (outcome, _) => Err(unexpected(outcome)),
        }
    }

    async fn ask(&self, request: Request) -> io::Result<Answer> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.open.lock().insert(number, sender);
        if let Err(PortalError(error)) = self.send(&FromNode::Request { number, request }).await {
            self.open.lock().remove(&number);
            return Err(error);
        }
        answer.await.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the portal is gone"))
    }

    async fn send(&self, message: &FromNode) -> Result<(), PortalError> {
        let packet = serde_json::to_vec(message).map_err(io::Error::from)?;
        Ok(self.channel.send(&packet, NO_DESCRIPTOR).await?)
    }
}

fn unexpected(outcome: Outcome) -> io::Error {
    match outcome {
        Outcome::Error { number: Some(number), .. } => io::Error::from_raw_os_error(number),
        Outcome::Error { message, .. } => io::Error::other(message),
        other => io::Error::other(format!("the portal answered something else: {other:?}")),
    }
}

async fn read_answers(
    channel: Arc<Channel>,
    open: Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>,
    stop: watch::Sender<bool>,
) {
    while let Ok(Some((packet, descriptor))) = channel.receive().await {
        match serde_json::from_slice(&packet) {
            Ok(ToNode::Answer { number, outcome }) => {
                let waiting = open.lock().remove(&number);
                if let Some(waiting) = waiting {
                    // Whoever asked may have given up meanwhile.
                    let _ = waiting.send((outcome, descriptor));
                }
            }
            Ok(ToNode::Stop) => {
                stop.send_replace(true);
            }
            Err(error) => tracing::error!(%error, "the portal said something that is not understood"),
        }
    }
    open.lock().clear();
    stop.send_replace(true);
}

impl Publisher for Portal {
    fn publish(&self, host_port: u16) -> BoxFuture<'_, io::Result<TcpListener>> {
        Box::pin(self.listen(SocketAddr::from(([127, 0, 0, 1], host_port))))
    }
}

impl Upstream for Portal {
    fn resolve(&self, query: Vec<u8>) -> BoxFuture<'_, io::Result<Vec<u8>>> {
        Box::pin(async move {
            match self.ask(Request::Resolve(STANDARD.encode(query))).await? {
                (Outcome::Resolved(answer), _) => STANDARD.decode(answer).map_err(io::Error::other),
                (outcome, _) => Err(unexpected(outcome)),
            }
        })
    }
}
