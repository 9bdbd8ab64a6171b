//! Listening sockets: which are open, and which have to be. New ones are bound before old ones close,
//! and clients the kernel has accepted are still served, so that no change loses a connection.

use crate::listener::{Listener, SocketSettings};
use crate::worker::{Command, WorkerThread};
use mizzen_net::ListenOptions;
use mizzen_net::socket::listen_std;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Open sockets by listener and configured address.
#[derive(Default)]
pub struct Sockets {
    bound: BTreeMap<(Arc<str>, SocketAddr), Bound>,
}

struct Bound {
    /// With the port the kernel chose where port 0 was asked for.
    local: SocketAddr,
    settings: SocketSettings,
    /// One a worker; sending closes.
    closing: Vec<oneshot::Sender<()>>,
    closed: Closed,
}

/// Ends when a listener's sockets are closed on every worker, and what they had accepted is counted.
pub struct Closed(mpsc::Receiver<Infallible>);

impl Closed {
    /// Waits for it.
    pub async fn wait(mut self) {
        // Nothing is ever sent; the end is that every sender is gone.
        self.0.recv().await;
    }
}

/// A socket that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// Sockets bound and not yet given to workers.
#[derive(Default)]
pub struct Prepared(Vec<Ready>);

/// The sockets of one address, one a worker.
struct Ready {
    listener: Arc<str>,
    address: SocketAddr,
    local: SocketAddr,
    settings: SocketSettings,
    sockets: Vec<std::net::TcpListener>,
}

impl Sockets {
    /// Binds what `listener` needs and does not have.
    pub fn prepare(&self, listener: &Listener, workers: usize) -> Result<Prepared, BindError> {
        let mut prepared = Prepared::default();
        if !listener.bind_to_port {
            return Ok(prepared);
        }
        for address in &listener.addresses {
            let key = (Arc::clone(&listener.name), *address);
            if self.bound.get(&key).is_some_and(|bound| bound.settings == listener.socket) {
                continue;
            }
            // The port 0 that was given a number keeps it through changes of its settings.
            let local = self.bound.get(&key).map_or(*address, |bound| bound.local);
            // A port in use by someone else must be noticed; our own earlier sockets are no one else.
            let ours = self.bound.keys().any(|(_, bound)| bound == address);
            let (local, sockets) = bind(local, &listener.socket, workers, ours)
                .map_err(|source| BindError { address: *address, source })?;
            let (listener, settings) = (key.0, listener.socket.clone());
            prepared.0.push(Ready { listener, address: *address, local, settings, sockets });
        }
        Ok(prepared)
    }

    /// Gives prepared sockets to the workers. The listener must be in force.
    pub fn open(&mut self, prepared: Prepared, workers: &[WorkerThread]) {
        for Ready { listener: name, address, local, settings, sockets } in prepared.0 {
            let mut closing = Vec::new();
            let (open, closed) = mpsc::channel(1);
            for (worker, socket) in workers.iter().zip(sockets) {
                let (close, told) = oneshot::channel();
                closing.push(close);
                let (name, open) = (Arc::clone(&name), open.clone());
                worker.send(Command::Listen { name, socket, closing: told, open });
            }
            tracing::info!(listener = %name, address = %local, "listening");
            let bound = Bound { local, settings, closing, closed: Closed(closed) };
            if let Some(old) = self.bound.insert((name, address), bound) {
                old.close();
            }
        }
    }

    /// Closes sockets for which `keep` is false, and tells when they are.
    pub fn close_unless(&mut self, keep: impl Fn(&str, SocketAddr) -> bool) -> Vec<Closed> {
        let closing: Vec<_> =
            self.bound.keys().filter(|(name, address)| !keep(name, *address)).cloned().collect();
        let gone = closing.into_iter().filter_map(|key| {
            let bound = self.bound.remove(&key)?;
            tracing::info!(listener = %key.0, address = %bound.local, "no longer listening");
            Some(bound.close())
        });
        gone.collect()
    }

    /// Where the listener is bound.
    pub fn addresses(&self, name: &str) -> Vec<SocketAddr> {
        let of_listener = self.bound.iter().filter(|((listener, _), _)| &**listener == name);
        of_listener.map(|(_, bound)| bound.local).collect()
    }
}

impl Bound {
    fn close(self) -> Closed {
        for close in self.closing {
            // A worker that is gone has closed its sockets.
            let _ = close.send(());
        }
        self.closed
    }
}

/// One socket a worker, all on one address.
fn bind(
    address: SocketAddr,
    settings: &SocketSettings,
    workers: usize,
    ours: bool,
) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    let mut options = ListenOptions {
        reuse_port: false,
        transparent: settings.transparent,
        only_v6: !settings.ipv4_compatible,
        backlog: settings.backlog,
    };
    if !settings.reuse_port {
        let first = listen_std(address, &options)?;
        let local = first.local_addr()?;
        let mut sockets = vec![first];
        while sockets.len() < workers {
            let shared = sockets.first().map(std::net::TcpListener::try_clone);
            sockets.extend(shared.transpose()?);
        }
        return Ok((local, sockets));
    }
    if address.port() != 0 && !ours {
        // With SO_REUSEPORT the kernel would let us share a port that another process of this user
        // serves; this fails where someone listens.
        drop(listen_std(address, &options)?);
    }
    options.reuse_port = true;
    let first = listen_std(address, &options)?;
    let local = first.local_addr()?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(listen_std(local, &options)?);
    }
    Ok((local, sockets))
}
