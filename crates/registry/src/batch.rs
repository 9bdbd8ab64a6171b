//! Gathers changes into batches: a burst becomes one snapshot and one push, and a change alone
//! waits for no longer than a few milliseconds.

use crate::watch::newest;
use mizzen_model::{Change, ObjectRef};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long to gather.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A batch ends when nothing came for this long. Default 3 ms.
    pub quiet: Duration,
    /// ... or this long after its first change, however busy it is. Default 50 ms.
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(3), longest: Duration::from_millis(50) }
    }
}

/// Changes to apply at once.
#[derive(Debug)]
pub struct Batch {
    /// What changed; at most one change for an object.
    pub changes: Vec<Change>,
    /// When the first of them was seen.
    pub since: std::time::Instant,
}

/// One step from a watch.
#[derive(Debug)]
pub(crate) enum Step {
    Change(Box<(ObjectRef, Change)>),
    /// A kind's first list is in.
    Complete,
}

/// Gathers steps until their senders are gone. The first batch holds all that existed at the
/// start, of all `kinds` kinds: a mesh half read would be a wrong mesh.
pub(crate) async fn gather(
    mut steps: mpsc::Receiver<Step>,
    kinds: usize,
    pace: Pace,
    batches: mpsc::Sender<Batch>,
) {
    let started = Instant::now();
    let mut pending = Vec::new();
    let mut missing = kinds;
    while missing > 0 {
        match steps.recv().await {
            Some(Step::Change(change)) => pending.push(*change),
            Some(Step::Complete) => missing -= 1,
            None => return,
        }
    }
    let mut since = started;
    loop {
        let changes = newest(std::mem::take(&mut pending));
        if batches.send(Batch { changes, since: since.into_std() }).await.is_err() {
            return;
        }
        let Some(first) = next_change(&mut steps).await else { return };
        since = Instant::now();
        pending.push(first);
        let end = since + pace.longest;
        loop {
            let quiet = (Instant::now() + pace.quiet).min(end);
            match tokio::time::timeout_at(quiet, next_change(&mut steps)).await {
                Ok(Some(change)) => pending.push(change),
                Ok(None) | Err(_) => break,
            }
            if Instant::now() >= end {
                break;
            }
        }
    }
}

async fn next_change(steps: &mut mpsc::Receiver<Step>) -> Option<(ObjectRef, Change)> {
    loop {
        match steps.recv().await? {
            Step::Change(change) => return Some(*change),
            Step::Complete => {}
        }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
