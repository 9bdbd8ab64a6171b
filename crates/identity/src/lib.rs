//! Identity: SPIFFE ids, certificates and trust, and the TLS configurations made of them.

pub mod certificate;
pub mod spiffe;

pub use certificate::{CertificateError, PeerCertificate};
pub use spiffe::{SpiffeId, SpiffeIdError};

/// Makes aws-lc-rs the provider of every rustls configuration in this process that does not name
/// its own. Safe to call more than once.
pub fn install_crypto_provider() {
    // An error means that one is installed already, which is what is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
