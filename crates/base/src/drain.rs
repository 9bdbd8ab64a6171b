//! Drain: one trigger, many watchers, and a trigger that waits until every watcher is gone.
//!
//! A watcher held by a connection keeps the drain open; dropping it is how the connection says
//! that it is done. So nothing has to count connections.

use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Starts the drain and waits for its end.
#[derive(Debug)]
pub struct DrainTrigger {
    started: watch::Sender<bool>,
    ended: mpsc::Receiver<std::convert::Infallible>,
}

/// Held by whatever must finish before the process may end.
#[derive(Clone, Debug)]
pub struct DrainWatcher {
    started: watch::Receiver<bool>,
    _open: mpsc::Sender<std::convert::Infallible>,
}

/// A connected trigger and watcher.
pub fn channel() -> (DrainTrigger, DrainWatcher) {
    let (started_sender, started) = watch::channel(false);
    let (open, ended) = mpsc::channel(1);
    (DrainTrigger { started: started_sender, ended }, DrainWatcher { started, _open: open })
}

impl DrainTrigger {
    /// Tells all watchers to finish and waits until the last is dropped, at most `deadline`.
    /// Returns whether all finished in time.
    pub async fn drain(mut self, deadline: Duration) -> bool {
        // An error means that no watcher is left, which is a finished drain.
        let _ = self.started.send(true);
        tokio::time::timeout(deadline, self.ended.recv()).await.is_ok()
    }

    /// Tells all watchers to finish without waiting for them.
    pub fn start(&self) {
        let _ = self.started.send(true);
    }
}

impl DrainWatcher {
    /// Resolves when the drain has started; at once if it already has. A trigger that was dropped
    /// counts as a drain: whoever owned it is gone.
    pub async fn started(&mut self) {
        let _ = self.started.wait_for(|started| *started).await;
    }

    /// Whether the drain has started.
    pub fn is_started(&self) -> bool {
        *self.started.borrow()
    }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
