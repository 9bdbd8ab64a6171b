//! A worker: one single-threaded runtime with its own listening sockets, pools and counters. All
//! of a connection's life happens on the worker that accepted it, so its state needs no locks.

use crate::generation::Generation;
use crate::listener::accept;
use crate::{telemetry, upstream};
use arc_swap::ArcSwap;
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::{LocalOptions, Runtime};
use tokio::sync::{Notify, mpsc, oneshot};

/// Connections one proxy holds at most, unless its bootstrap says otherwise: what stands between a
/// flood of idle clients and the end of memory.
pub const MOST_CONNECTIONS: u64 = 100_000;

/// The generation in force, shared by all workers; written by the configuration thread only.
#[derive(Default)]
pub struct Current {
    number: AtomicU64,
    generation: ArcSwap<Generation>,
    connections: Connections,
}

impl Current {
    /// Puts a generation in force.
    pub fn swap(&self, generation: Arc<Generation>) {
        let number = generation.number;
        self.generation.store(generation);
        self.number.store(number, Ordering::Release);
    }

    /// The generation in force.
    pub fn load(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// The count of open connections.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }
}

/// Counts open connections of all workers and says when there are none.
pub struct Connections {
    open: AtomicU64,
    most: AtomicU64,
    none_left: Notify,
}

impl Default for Connections {
    fn default() -> Self {
        Self { open: AtomicU64::new(0), most: AtomicU64::new(MOST_CONNECTIONS), none_left: Notify::new() }
    }
}

impl Connections {
    /// How many are open.
    pub fn count(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Sets how many may be open.
    pub fn limit(&self, most: u64) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Counts one in, unless there are too many.
    pub(crate) fn open(&self) -> bool {
        let below = self.open.fetch_add(1, Ordering::AcqRel) < self.most.load(Ordering::Relaxed);
        if !below {
            self.close();
        }
        below
    }

    /// Counts one out.
    pub(crate) fn close(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none_left.notify_waiters();
        }
    }

    /// Resolves when none is open.
    pub async fn none(&self) {
        loop {
            let none_left = self.none_left.notified();
            tokio::pin!(none_left);
            // Registered before the count is read, so that the last close is not missed.
            none_left.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            none_left.await;
        }
    }
}

/// A generation as one worker holds it: counted without other threads, once for many requests.
pub struct InForce(Arc<Generation>);

impl std::ops::Deref for InForce {
    type Target = Generation;

    fn deref(&self) -> &Generation {
        &self.0
    }
}

/// One worker's own state. Never leaves its thread.
pub struct Worker {
    /// Position among the workers, from 0.
    pub index: usize,
    /// Connection pools and whatever else upstreams keep by worker.
    pub pools: upstream::Pools,
    /// This worker's counters and log writers.
    pub recorder: telemetry::Recorder,
    current: Arc<Current>,
    seen: RefCell<Rc<InForce>>,
}

impl Worker {
    /// A worker that follows `current`.
    pub fn new(index: usize, current: Arc<Current>, telemetry: &Arc<telemetry::Telemetry>) -> Rc<Self> {
        let seen = RefCell::new(Rc::new(InForce(current.load())));
        Rc::new(Self {
            index,
            pools: upstream::Pools::new(index),
            recorder: telemetry.recorder(index),
            current,
            seen,
        })
    }

    /// The generation in force. Cheap enough for every request: one atomic load and a count that
    /// is not shared between threads.
    pub fn generation(&self) -> Rc<InForce> {
        let mut seen = self.seen.borrow_mut();
        if seen.number != self.current.number.load(Ordering::Acquire) {
            *seen = Rc::new(InForce(self.current.load()));
        }
        Rc::clone(&seen)
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.current.connections
    }
}

/// A single-threaded runtime that may be dropped anywhere, on another runtime's thread too.
pub(crate) struct ThreadRuntime(Option<Runtime>);

impl ThreadRuntime {
    pub fn new() -> std::io::Result<Self> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| Self(Some(runtime)))
    }

    pub fn get(&self) -> &Runtime {
        // Taken by the drop only.
        match &self.0 {
            Some(runtime) => runtime,
            None => unreachable!("a dropped runtime"),
        }
    }
}

impl Drop for ThreadRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What the configuration thread tells a worker.
pub(crate) enum Command {
    /// Accept on a socket for the listener of this name until told to stop.
    Listen {
        name: Arc<str>,
        socket: std::net::TcpListener,
        closing: oneshot::Receiver<()>,
        /// Held while the socket is open.
        open: mpsc::Sender<Infallible>,
    },
}

/// The configuration thread's end of a worker. Dropping it ends the worker and everything on it.
pub(crate) struct WorkerThread {
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl WorkerThread {
    /// Starts a worker on a thread of its own.
    pub fn start(
        index: usize,
        current: Arc<Current>,
        telemetry: Arc<telemetry::Telemetry>,
    ) -> std::io::Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (started, starting) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            // Made here, since it never leaves its thread.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    let _ = started.send(Ok(()));
                    runtime.block_on(run(index, current, telemetry, receiver));
                    runtime.shutdown_background();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
        // The thread answers before anything else, or has panicked.
        starting.recv().unwrap_or_else(|ended| Err(std::io::Error::other(ended)))?;
        Ok(Self { commands, thread: Some(thread) })
    }

    /// Sends a command. A worker only ends when this is dropped, so it always arrives.
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Ends the worker and waits until its thread is gone.
    pub fn stop(mut self) {
        let thread = self.thread.take();
        drop(self);
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("a worker had panicked");
        }
    }
}

async fn run(
    index: usize,
    current: Arc<Current>,
    telemetry: Arc<telemetry::Telemetry>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let worker = Worker::new(index, current, &telemetry);
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen { name, socket, closing, open } => {
                match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let accepting = accept::accept(Rc::clone(&worker), name, socket, closing);
                        tokio::task::spawn_local(async move {
                            accepting.await;
                            drop(open);
                        });
                    }
                    Err(error) => tracing::error!(listener = %name, %error, "the worker cannot accept"),
                }
            }
        }
    }
}
