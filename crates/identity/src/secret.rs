//! Named secrets. A slot is where one name's value lives: TLS configurations hold the slot, so a
//! rotated certificate serves the next handshake without any configuration being built again, and
//! connections that are open go on with what they started with.

use crate::credential::{Credential, TrustBundle};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::watch;

/// What a secret can be.
#[derive(Clone, Debug)]
pub enum SecretValue {
    /// A certificate chain with its key.
    Certificate(Arc<Credential>),
    /// Roots to trust.
    Trust(Arc<TrustBundle>),
}

/// What is known of a secret at one moment.
#[derive(Clone, Debug, Default)]
pub struct SecretState {
    /// The value in use: the last one that was good.
    pub value: Option<SecretValue>,
    /// The version its source gave it.
    pub version: Arc<str>,
    /// When the value was taken.
    pub updated: Option<SystemTime>,
    /// Why the newest value is not in use, or why there is none.
    pub error: Option<Arc<str>>,
}

/// The place of one named secret.
#[derive(Debug)]
pub struct SecretSlot {
    name: Arc<str>,
    state: ArcSwap<SecretState>,
}

/// All named secrets of a process. Asking for a name makes its slot; sources watch which names are
/// wanted.
#[derive(Debug)]
pub struct SecretStore {
    slots: Mutex<BTreeMap<Arc<str>, Arc<SecretSlot>>>,
    changes: watch::Sender<u64>,
}

/// Why a secret cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret '{name}' is not usable: {reason}")]
pub struct SecretError {
    /// The secret's name.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl SecretSlot {
    /// A slot outside of any store, for certificates given in line.
    pub fn fixed(name: impl Into<Arc<str>>, value: SecretValue) -> Arc<Self> {
        let state =
            SecretState { value: Some(value), updated: Some(SystemTime::now()), ..SecretState::default() };
        Arc::new(Self { name: name.into(), state: ArcSwap::from_pointee(state) })
    }

    fn empty(name: Arc<str>) -> Arc<Self> {
        Arc::new(Self { name, state: ArcSwap::default() })
    }

    /// The secret's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What is known of it.
    pub fn state(&self) -> Arc<SecretState> {
        self.state.load_full()
    }

    /// The certificate in use.
    pub fn credential(&self) -> Result<Arc<Credential>, SecretError> {
        match &self.state.load().value {
            Some(SecretValue::Certificate(credential)) => Ok(Arc::clone(credential)),
            Some(SecretValue::Trust(_)) => Err(self.error("it is a trust bundle, not a certificate")),
            None => Err(self.absent()),
        }
    }

    /// The trust bundle in use.
    pub fn trust(&self) -> Result<Arc<TrustBundle>, SecretError> {
        match &self.state.load().value {
            Some(SecretValue::Trust(bundle)) => Ok(Arc::clone(bundle)),
            Some(SecretValue::Certificate(_)) => Err(self.error("it is a certificate, not a trust bundle")),
            None => Err(self.absent()),
        }
    }

    fn absent(&self) -> SecretError {
        let state = self.state.load();
        self.error(state.error.as_deref().unwrap_or("it has not arrived yet"))
    }

    fn error(&self, reason: &str) -> SecretError {
        SecretError { name: self.name.to_string(), reason: reason.to_owned() }
    }
}

impl Default for SecretStore {
    fn default() -> Self {
        Self { slots: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl SecretStore {
    /// The slot of `name`, made if there is none.
    pub fn slot(&self, name: &str) -> Arc<SecretSlot> {
        let mut slots = self.lock();
        if let Some(slot) = slots.get(name) {
            return Arc::clone(slot);
        }
        let slot = SecretSlot::empty(name.into());
        slots.insert(Arc::clone(&slot.name), Arc::clone(&slot));
        drop(slots);
        self.changed();
        slot
    }

    /// Puts a new value in use.
    pub fn set(&self, name: &str, value: SecretValue, version: &str) {
        let state = SecretState {
            value: Some(value),
            version: version.into(),
            updated: Some(SystemTime::now()),
            error: None,
        };
        self.slot(name).state.store(Arc::new(state));
        self.changed();
    }

    /// Notes that the newest value of `name` cannot be used; the last good one stays in use.
    pub fn fail(&self, name: &str, reason: &str) {
        let slot = self.slot(name);
        let previous = slot.state();
        slot.state.store(Arc::new(SecretState { error: Some(reason.into()), ..(*previous).clone() }));
        self.changed();
    }

    /// Takes a value out of use: its source says that the secret is gone.
    pub fn remove(&self, name: &str) {
        let Some(slot) = self.lock().get(name).cloned() else { return };
        slot.state.store(Arc::new(SecretState {
            error: Some("it was removed by the control plane".into()),
            ..SecretState::default()
        }));
        self.changed();
    }

    /// Forgets slots that nothing but this store holds, unless `keep` says otherwise, and returns
    /// their names.
    pub fn collect(&self, keep: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        let mut unused = Vec::new();
        self.lock().retain(|name, slot| {
            let used = Arc::strong_count(slot) > 1 || keep(name);
            if !used {
                unused.push(Arc::clone(name));
            }
            used
        });
        if !unused.is_empty() {
            self.changed();
        }
        unused
    }

    /// All slots, by name.
    pub fn slots(&self) -> Vec<Arc<SecretSlot>> {
        self.lock().values().cloned().collect()
    }

    /// Changes whenever a name is added or a value changes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Arc<SecretSlot>>> {
        // Every change to the map is one call, so a panic elsewhere leaves it valid.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
