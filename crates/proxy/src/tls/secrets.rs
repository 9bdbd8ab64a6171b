//! Named secrets: where they come from, and who is told when they change.

use crate::compile::{CompileError, secret};
use mizzen_identity::{Credential, SecretSlot, SecretStore, SecretValue, TrustBundle};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Name of the workload's own certificate in Istio's configuration.
pub const WORKLOAD_CERTIFICATE: &str = "default";
/// Name of the mesh's roots in Istio's configuration.
pub const WORKLOAD_TRUST: &str = "ROOTCA";

/// The workload's own certificate, key and trust bundle, as its agent obtained them.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkloadSecrets {
    /// PEM: leaf first, then intermediates.
    pub certificate_chain: String,
    /// PEM (PKCS#8, PKCS#1 or SEC1).
    pub private_key: String,
    /// PEM: the roots that peers' certificates must lead to.
    pub trust_bundle: String,
}

/// Gives the secrets `default` and `ROOTCA` in process; `None` inside until the first is there.
pub type SecretSource = watch::Receiver<Option<Arc<WorkloadSecrets>>>;

/// All secrets that compiled TLS contexts refer to, by name.
#[derive(Default)]
pub struct Secrets {
    store: SecretStore,
    in_process: bool,
    fixed: Mutex<BTreeSet<Arc<str>>>,
}

impl Secrets {
    /// No secrets yet. With `in_process`, the agent gives `default` and `ROOTCA`, and they are not
    /// asked for over ADS.
    pub fn new(in_process: bool) -> Self {
        Self { in_process, ..Self::default() }
    }

    /// The place of the secret `name`; asking for it subscribes to it.
    pub fn slot(&self, name: &str) -> Arc<SecretSlot> {
        self.store.slot(name)
    }

    /// All of them.
    pub fn store(&self) -> &SecretStore {
        &self.store
    }

    /// The names that a control plane has to deliver.
    pub fn wanted(&self) -> BTreeSet<Arc<str>> {
        let fixed = self.fixed();
        let names = self.store.slots().into_iter().map(|slot| Arc::clone(slot.name()));
        names.filter(|name| !fixed.contains(name) && !self.is_in_process(name)).collect()
    }

    /// Takes a secret of the bootstrap, which never changes.
    pub fn fix(&self, name: &str, value: SecretValue) {
        self.fixed().insert(name.into());
        self.store.set(name, value, "static");
    }

    /// Takes a secret delivered over ADS. One that cannot be used is noted in its slot, whose last
    /// good value stays in use, and refused.
    pub fn deliver(
        &self,
        resource: &envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret,
        version: &str,
    ) -> Result<(), CompileError> {
        if self.is_in_process(&resource.name) {
            return Ok(());
        }
        match secret::compile(resource) {
            Ok(value) => {
                self.store.set(&resource.name, value, version);
                Ok(())
            }
            Err(error) => {
                self.store.fail(&resource.name, &error.to_string());
                Err(error)
            }
        }
    }

    /// Takes what the agent obtained.
    pub fn take(&self, secrets: &WorkloadSecrets) {
        let credential =
            Credential::from_pem(secrets.certificate_chain.as_bytes(), secrets.private_key.as_bytes())
                .map(|credential| SecretValue::Certificate(Arc::new(credential)));
        let trust = TrustBundle::from_pem(secrets.trust_bundle.as_bytes())
            .map(|bundle| SecretValue::Trust(Arc::new(bundle)));
        // Roots first: whoever connects with the new certificate must find them.
        for (name, value) in [(WORKLOAD_TRUST, trust), (WORKLOAD_CERTIFICATE, credential)] {
            match value {
                Ok(value) => {
                    let version = version_of(&value);
                    self.store.set(name, value, &version);
                }
                Err(error) => {
                    tracing::error!(secret = name, %error, "the agent gave a secret that cannot be used; the last good one stays in use");
                    self.store.fail(name, &error.to_string());
                }
            }
        }
    }

    /// Forgets secrets that no TLS context names any more.
    pub fn collect(&self) {
        let fixed = self.fixed();
        self.store.collect(|name| fixed.contains(name) || self.is_in_process(name));
    }

    fn is_in_process(&self, name: &str) -> bool {
        self.in_process && (name == WORKLOAD_CERTIFICATE || name == WORKLOAD_TRUST)
    }

    fn fixed(&self) -> std::sync::MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.fixed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The serial number of the first certificate: what tells one generation from the next.
fn version_of(value: &SecretValue) -> String {
    let first = match value {
        SecretValue::Certificate(credential) => credential.leaf(),
        SecretValue::Trust(bundle) => bundle.certificates().first(),
    };
    first.map(|certificate| certificate.serial.clone()).unwrap_or_default()
}

impl std::fmt::Debug for WorkloadSecrets {
    // The key stays out of logs.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("WorkloadSecrets").finish_non_exhaustive()
    }
}
