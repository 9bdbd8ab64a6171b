//! The machine's end of the portal.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mizzen_net::descriptors::Channel;
use mizzen_net::{ConnectOptions, ListenOptions};
use tokio::sync::mpsc;

use super::protocol::{FromNode, Outcome, Request, ToNode};
use super::resolver;

const NO_DESCRIPTOR: Option<&OwnedFd> = None;
/// Like Linux's own patience with a silent peer, but short enough for a person.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the portal ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The channel broke.
    #[error("lost the connection to the sandbox: {0}")]
    Channel(#[from] io::Error),
}

/// Serves one node.
pub struct PortalServer {
    channel: Arc<Channel>,
}

impl PortalServer {
    /// Takes over the machine's end of the channel. Must be called on a tokio runtime.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        Ok(Self { channel: Arc::new(Channel::new(end)?) })
    }

    /// Asks the node to end everything in order.
    pub async fn stop(&self) -> io::Result<()> {
        send(&self.channel, &ToNode::Stop, NO_DESCRIPTOR).await
    }

    /// Answers requests until the node is gone. What the node tells (progress, ready, failed) goes
    /// to `told`.
    pub async fn serve(&self, told: mpsc::UnboundedSender<FromNode>) -> Result<(), ServeError> {
        while let Some((packet, _)) = self.channel.receive().await? {
            match serde_json::from_slice(&packet).map_err(io::Error::from)? {
                FromNode::Request { number, request } => {
                    tokio::spawn(answer(self.channel.clone(), number, request));
                }
                message => {
                    // Nobody listens any more once the start is over.
                    let _ = told.send(message);
                }
            }
        }
        Ok(())
    }
}

async fn answer(channel: Arc<Channel>, number: u64, request: Request) {
    let done = match request {
        Request::Listen(address) => listen(address).map(|socket| (Outcome::Socket, Some(socket))),
        Request::Connect(address) => connect(address).await.map(|socket| (Outcome::Socket, Some(socket))),
        Request::Resolve(query) => resolve(&query).await.map(|answer| (Outcome::Resolved(answer), None)),
    };
    let (outcome, socket) = done.unwrap_or_else(|error| {
        (Outcome::Error { number: error.raw_os_error(), message: error.to_string() }, None)
    });
    // The node being gone ends the portal elsewhere.
    let _ = send(&channel, &ToNode::Answer { number, outcome }, socket.as_ref()).await;
}

async fn send(channel: &Channel, message: &ToNode, descriptor: Option<&OwnedFd>) -> io::Result<()> {
    channel.send(&serde_json::to_vec(message)?, descriptor).await
}

fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    Ok(mizzen_net::socket::listen_std(address, &ListenOptions::default())?.into())
}

async fn connect(address: SocketAddr) -> io::Result<OwnedFd> {
    let options = ConnectOptions { timeout: Some(DIAL_TIMEOUT), ..ConnectOptions::default() };
    Ok(mizzen_net::connect(address, &options).await?.into_std()?.into())
}

async fn resolve(query: &str) -> io::Result<String> {
    let query = STANDARD.decode(query).map_err(io::Error::other)?;
    Ok(STANDARD.encode(resolver::relay(&query).await?))
}
