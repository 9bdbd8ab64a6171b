//! Network namespaces as open descriptors, and work done inside them.
//!
//! A thread belongs to a network namespace, a socket to the one its thread was in when it was made.
//! So everything here enters a namespace on a thread of its own, which ends with the work: the
//! threads of an async runtime never change namespace, and a socket made inside may be used
//! anywhere afterwards.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::sched::{CloneFlags, setns, unshare};
use tokio::net::{TcpListener, TcpStream};

use crate::socket::{self, ConnectOptions, ListenOptions};

/// A network namespace. It lives as long as this, any clone of it, or a process inside does.
#[derive(Clone, Debug)]
pub struct NetworkNamespace {
    descriptor: Arc<OwnedFd>,
}

impl NetworkNamespace {
    /// The namespace of the calling thread.
    pub fn current() -> io::Result<Self> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// The namespace of a running process.
    pub fn of_process(process: u32) -> io::Result<Self> {
        Self::open(&format!("/proc/{process}/ns/net"))
    }

    fn open(path: &str) -> io::Result<Self> {
        Ok(Self { descriptor: Arc::new(File::open(path)?.into()) })
    }

    /// Makes a namespace with nothing in it but a loopback interface, which is down. Needs
    /// `CAP_SYS_ADMIN` in the current user namespace.
    pub fn create() -> io::Result<Self> {
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Self::current()
        })?
    }

    /// Runs `work` inside and waits for it. `work` must not block for long: so does the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_own_thread(|| {
            setns(self.as_fd(), CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })?
    }

    /// Opens a TCP connection from inside.
    pub async fn connect(&self, address: SocketAddr, options: &ConnectOptions) -> io::Result<TcpStream> {
        let socket = self.run(|| socket::prepare(address, options))??;
        socket::connect_prepared(socket, address, options).await
    }

    /// Opens a TCP listener inside.
    pub fn listen(&self, address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
        TcpListener::from_std(self.run(|| socket::listen_std(address, options))??)
    }
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Runs `work` on a thread that is gone afterwards, whatever `work` did to it.
pub(crate) fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("namespace".to_owned()).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("the work inside the namespace panicked"))
    })
}

/// A fresh namespace with loopback up, or `None` (said aloud) where tests may not make one.
#[cfg(test)]
pub(crate) fn for_tests() -> Option<NetworkNamespace> {
    match NetworkNamespace::create() {
        Ok(namespace) => Some(namespace),
        Err(error) => {
            println!("skipped: no network namespaces here ({error}); run as root or in `unshare -Ur`");
            None
        }
    }
}

#[cfg(test)]
#[path = "netns_tests.rs"]
mod tests;
