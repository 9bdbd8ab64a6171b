//! A worker: one single-threaded runtime with its own listening sockets, pools and counters. All
//! of a connection's life happens on the worker that accepted it, so its state needs no locks.

use crate::generation::Generation;
use crate::{telemetry, upstream};
use arc_swap::ArcSwap;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The generation in force, shared by all workers; written by the configuration thread only.
#[derive(Default)]
pub struct Current {
    number: AtomicU64,
    generation: ArcSwap<Generation>,
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
    seen: RefCell<Rc<Arc<Generation>>>,
    /// Connections open on this worker now.
    pub(crate) connections: Cell<u64>,
}

impl Worker {
    /// A worker that follows `current`.
    pub fn new(index: usize, current: Arc<Current>, telemetry: &Arc<telemetry::Telemetry>) -> Rc<Self> {
        let seen = RefCell::new(Rc::new(current.load()));
        Rc::new(Self {
            index,
            pools: upstream::Pools::new(index),
            recorder: telemetry.recorder(index),
            current,
            seen,
            connections: Cell::new(0),
        })
    }

    /// The generation in force. Cheap enough for every request: one atomic load and a count that
    /// is not shared between threads.
    pub fn generation(&self) -> Rc<Arc<Generation>> {
        let mut seen = self.seen.borrow_mut();
        if seen.number != self.current.number.load(Ordering::Acquire) {
            *seen = Rc::new(self.current.load());
        }
        Rc::clone(&seen)
    }
}
