//! Named secrets: where they come from, and who is told when they change.

use std::sync::Arc;
use tokio::sync::watch;

/// The workload's own certificate, key and trust bundle, as its agent obtained them.
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub struct Secrets {}
