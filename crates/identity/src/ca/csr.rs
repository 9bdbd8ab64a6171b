//! The other side: a new key and the request to have it signed.

use crate::SpiffeId;
use rcgen::{CertificateParams, KeyPair, SanType};

/// A new ECDSA P-256 key (PKCS#8 PEM) and a request for it (PEM). The identity in the request is a
/// courtesy: the authority names whom it has authenticated.
pub fn generate(identity: &SpiffeId) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(identity.as_str().try_into()?)];
    let request = params.serialize_request(&key)?.pem()?;
    Ok((key.serialize_pem(), request))
}
