//! The loop every controller runs in: keys that need a look are queued once, looked at by several
//! at a time but never the same key by two, and tried again with a growing pause after a failure.

use super::cache::ObjectKey;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_stream::StreamExt;
use tokio_util::time::{DelayQueue, delay_queue};

/// How many keys of one controller are worked on at a time. A webhook that hangs holds up only these.
const CONCURRENCY: usize = 16;
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// Why a look at an object failed.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The API refused or could not be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The object says something that cannot be done.
    #[error("{0}")]
    Invalid(String),
}

impl ControllerError {
    /// Someone else wrote the object first: look again at once.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 409)
    }
}

/// When a key wants another look though nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something changes.
    OnChange,
    /// After this time at the latest.
    After(Duration),
}

impl Next {
    /// The earlier of two.
    pub fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::After(one), Self::After(two)) => Self::After(one.min(two)),
            (Self::OnChange, next) | (next, Self::OnChange) => next,
        }
    }
}

/// The keys that need a look. Clones share them.
#[derive(Clone, Default)]
pub struct WorkQueue {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    added: Notify,
}

#[derive(Default)]
struct Waiting {
    order: VecDeque<ObjectKey>,
    members: HashSet<ObjectKey>,
}

impl WorkQueue {
    /// Asks for a look at `key`.
    pub fn add(&self, key: ObjectKey) {
        let mut waiting = self.inner.waiting.lock();
        if waiting.members.insert(key.clone()) {
            waiting.order.push_back(key);
            self.inner.added.notify_one();
        }
    }

    fn take(&self) -> Option<ObjectKey> {
        let mut waiting = self.inner.waiting.lock();
        let key = waiting.order.pop_front()?;
        waiting.members.remove(&key);
        Some(key)
    }

    /// Looks at keys for ever.
    pub async fn work<Look, Looking>(&self, controller: &'static str, look: Look)
    where
        Look: Fn(ObjectKey) -> Looking,
        Looking: Future<Output = Result<Next, ControllerError>>,
    {
        let mut running = FuturesUnordered::new();
        let mut busy = HashSet::new();
        let mut again = HashSet::new();
        let mut later: DelayQueue<ObjectKey> = DelayQueue::new();
        let mut timers: HashMap<ObjectKey, delay_queue::Key> = HashMap::new();
        let mut failures: HashMap<ObjectKey, u32> = HashMap::new();
        loop {
            while running.len() < CONCURRENCY {
                let Some(key) = self.take() else { break };
                if !busy.insert(key.clone()) {
                    again.insert(key);
                    continue;
                }
                let looking = look(key.clone());
                running.push(async move { (key, looking.await) });
            }
            let finished = tokio::select! {
                () = self.inner.added.notified(), if running.len() < CONCURRENCY => continue,
                Some(expired) = later.next(), if !later.is_empty() => {
                    let key = expired.into_inner();
                    timers.remove(&key);
                    self.add(key);
                    continue;
                }
                Some(finished) = running.next(), if !running.is_empty() => finished,
            };
            let (key, outcome) = finished;
            busy.remove(&key);
            if again.remove(&key) {
                self.add(key.clone());
            }
            if let Some(timer) = timers.remove(&key) {
                later.remove(&timer);
            }
            let pause = match outcome {
                Ok(next) => {
                    failures.remove(&key);
                    match next {
                        Next::OnChange => continue,
                        Next::After(pause) => pause,
                    }
                }
                Err(error) => {
                    let count = failures.entry(key.clone()).or_insert(0);
                    let pause = retry_pause(*count);
                    *count = count.saturating_add(1);
                    if error.is_conflict() {
                        tracing::debug!(controller, %key, %error, "changed meanwhile; looking again");
                    } else {
                        tracing::warn!(controller, %key, %error, retry_in = ?pause, "could not be brought to its wanted state");
                    }
                    pause
                }
            };
            timers.insert(key.clone(), later.insert(key, pause));
        }
    }
}

fn retry_pause(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(2_u32.saturating_pow(failures)).min(LAST_RETRY)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
