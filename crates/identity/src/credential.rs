//! A certificate chain with its key, and the roots to trust: parsed and checked once when they
//! arrive, then shared by every TLS configuration that names them.

use crate::certificate::{CertificateError, PeerCertificate};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A certificate chain and the private key of its leaf.
pub struct Credential {
    certified_key: Arc<CertifiedKey>,
    chain: Vec<Arc<PeerCertificate>>,
}

/// The roots that peers' certificates must lead to.
pub struct TrustBundle {
    roots: Arc<RootCertStore>,
    certificates: Vec<Arc<PeerCertificate>>,
}

/// The one provider all our TLS uses: aws-lc-rs.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

impl Credential {
    /// Reads a chain (leaf first) and the leaf's key from PEM, and checks that they belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let certificates = certificates_from_pem(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => CertificateError::NoKey,
            other => CertificateError::Pem(other.to_string()),
        })?;
        let chain = parse_all(&certificates)?;
        let signing_key = crypto_provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| CertificateError::Key(error.to_string()))?;
        let certified_key = CertifiedKey::new(certificates, signing_key);
        match certified_key.keys_match() {
            // Unknown means that the key does not tell its public half; nothing to compare.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(CertificateError::KeyMismatch),
            Err(other) => return Err(CertificateError::Key(other.to_string())),
        }
        Ok(Self { certified_key: Arc::new(certified_key), chain })
    }

    /// What rustls needs to present it.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified_key
    }

    /// The chain, leaf first; never empty.
    pub fn chain(&self) -> &[Arc<PeerCertificate>] {
        &self.chain
    }

    /// The leaf.
    pub fn leaf(&self) -> Option<&Arc<PeerCertificate>> {
        self.chain.first()
    }
}

impl TrustBundle {
    /// Reads all certificates of a PEM text as roots.
    pub fn from_pem(bundle: &[u8]) -> Result<Self, CertificateError> {
        Self::from_der(certificates_from_pem(bundle)?)
    }

    /// Takes certificates as roots.
    pub fn from_der(roots: Vec<CertificateDer<'static>>) -> Result<Self, CertificateError> {
        let certificates = parse_all(&roots)?;
        let mut store = RootCertStore::empty();
        for (index, root) in roots.into_iter().enumerate() {
            store.add(root).map_err(|error| CertificateError::Root { index, reason: error.to_string() })?;
        }
        Ok(Self { roots: Arc::new(store), certificates })
    }

    /// The roots as rustls takes them.
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// The roots with what they say.
    pub fn certificates(&self) -> &[Arc<PeerCertificate>] {
        &self.certificates
    }
}

/// All certificates of a PEM text, in order; at least one.
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateError::Pem(error.to_string()))?;
    if certificates.is_empty() { Err(CertificateError::NoCertificate) } else { Ok(certificates) }
}

fn parse_all(
    certificates: &[CertificateDer<'static>],
) -> Result<Vec<Arc<PeerCertificate>>, CertificateError> {
    certificates.iter().map(|der| PeerCertificate::parse(der.clone()).map(Arc::new)).collect()
}

impl fmt::Debug for Credential {
    // The key stays out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leaf = self.leaf().map(|leaf| (&leaf.subject, &leaf.uri_sans, leaf.not_after));
        formatter.debug_struct("Credential").field("leaf", &leaf).finish_non_exhaustive()
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TrustBundle").field("roots", &self.certificates.len()).finish()
    }
}

#[cfg(test)]
#[path = "credential_tests.rs"]
mod tests;
