//! Identity: SPIFFE ids, certificates and trust, and the TLS configurations made of them.

pub mod ca;
pub mod certificate;
pub mod credential;
pub mod secret;
pub mod spiffe;
pub mod subject;
#[cfg(test)]
mod test_authority;
pub mod tls;
pub mod verify;

pub use certificate::{CertificateError, PeerCertificate};
pub use credential::{Credential, TrustBundle, crypto_provider};
pub use secret::{SecretError, SecretSlot, SecretState, SecretStore, SecretValue};
pub use spiffe::{SpiffeId, SpiffeIdError};

/// Makes aws-lc-rs the provider of every rustls configuration in this process that does not name
/// its own. Safe to call more than once.
pub fn install_crypto_provider() {
    // An error means that one is installed already, which is what is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
