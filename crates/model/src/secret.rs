//! Secrets with certificates, as gateways use them.

use std::{collections::BTreeMap, fmt};

/// The contents of a Kubernetes Secret. Its values are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    data: BTreeMap<String, Vec<u8>>,
}

/// Why a Secret cannot serve as a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It has no certificate chain.
    #[error("has no certificate: expected key tls.crt or cert")]
    NoCertificate,
    /// It has no private key.
    #[error("has no private key: expected key tls.key or key")]
    NoKey,
    /// It has no certificate authority.
    #[error("has no certificate authority: expected key ca.crt or cacert")]
    NoAuthority,
}

impl Secret {
    /// A secret with these keys.
    pub fn new(data: BTreeMap<String, Vec<u8>>) -> Self {
        Self { data }
    }

    /// The certificate chain and private key, as PEM: keys `tls.crt` and `tls.key`, or `cert` and `key`.
    pub fn certificate(&self) -> Result<(&[u8], &[u8]), SecretError> {
        let chain = self.first(&["tls.crt", "cert"]).ok_or(SecretError::NoCertificate)?;
        let key = self.first(&["tls.key", "key"]).ok_or(SecretError::NoKey)?;
        Ok((chain, key))
    }

    /// The authorities that client certificates are checked against, as PEM: key `ca.crt` or `cacert`.
    pub fn authority(&self) -> Result<&[u8], SecretError> {
        self.first(&["ca.crt", "cacert"]).ok_or(SecretError::NoAuthority)
    }

    /// The list of revoked certificates: key `ca.crl` or `crl`.
    pub fn revocations(&self) -> Option<&[u8]> {
        self.first(&["ca.crl", "crl"])
    }

    /// The OCSP response to staple: key `tls.ocsp-staple`.
    pub fn ocsp_staple(&self) -> Option<&[u8]> {
        self.first(&["tls.ocsp-staple"])
    }

    fn first(&self, keys: &[&str]) -> Option<&[u8]> {
        keys.iter().find_map(|key| self.data.get(*key)).map(Vec::as_slice).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secret").field("keys", &self.data.keys()).finish_non_exhaustive()
    }
}
