//! Readiness: a set of named things that must happen before the process is ready.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// What a process still waits for. Clones share the same set.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    pending: Arc<Mutex<BTreeSet<&'static str>>>,
}

/// One thing being waited for; dropping it means that it has happened.
#[derive(Debug)]
pub struct ReadinessTask {
    readiness: Readiness,
    name: &'static str,
}

impl Readiness {
    /// Adds a task; the process is not ready until the returned guard is dropped.
    pub fn register(&self, name: &'static str) -> ReadinessTask {
        self.lock().insert(name);
        ReadinessTask { readiness: self.clone(), name }
    }

    /// The tasks still waited for, sorted; empty when ready.
    pub fn pending(&self) -> Vec<&'static str> {
        self.lock().iter().copied().collect()
    }

    /// Whether nothing is waited for.
    pub fn is_ready(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
        // A panic elsewhere leaves the set valid: every change to it is one call.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReadinessTask {
    fn drop(&mut self) {
        self.readiness.lock().remove(self.name);
    }
}

#[cfg(test)]
#[path = "readiness_tests.rs"]
mod tests;
