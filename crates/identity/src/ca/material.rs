//! What an authority is made of: certificate, key, roots and the chain between them, as the Secrets
//! `istio-ca-secret` and `cacerts` keep them.

use super::{ROOT_LIFETIME, first_not_after};
use crate::credential::certificates_from_pem;
use crate::{CertificateError, Credential, PeerCertificate, TrustBundle};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Keys of both Secrets. Source: Istio, "Plug in CA Certificates".
const CERTIFICATE: &str = "ca-cert.pem";
const KEY: &str = "ca-key.pem";
const ROOT: &str = "root-cert.pem";
const CHAIN: &str = "cert-chain.pem";

/// An authority at rest, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityMaterial {
    /// The signing certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// The roots to trust.
    pub root: String,
    /// From the signing certificate up to the root; empty when it is the root itself.
    pub chain: String,
}

/// Why an authority cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// A key of the Secret is missing or not text.
    #[error("'{0}' is missing or is not text; the Secret needs ca-cert.pem, ca-key.pem and root-cert.pem")]
    Missing(&'static str),
    /// The signing certificate and its key.
    #[error("ca-cert.pem and ca-key.pem cannot be used: {0}")]
    Pair(CertificateError),
    /// The roots.
    #[error("root-cert.pem cannot be used: {0}")]
    Root(CertificateError),
    /// The certificate may not sign, or cannot be read.
    #[error("ca-cert.pem cannot be used: {0}")]
    Certificate(String),
    /// It does not lead to the roots.
    #[error("ca-cert.pem does not lead to a certificate of root-cert.pem; check cert-chain.pem")]
    Untrusted,
    /// Its time is over.
    #[error("ca-cert.pem has expired; renew it")]
    Expired,
    /// No new one could be made.
    #[error("making a new root failed: {0}")]
    Generate(#[from] rcgen::Error),
}

impl AuthorityMaterial {
    /// A new root of its own: ECDSA P-256, ten years, organisation `trust_domain`.
    pub fn self_signed(trust_domain: &str, now: SystemTime) -> Result<Self, MaterialError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, trust_domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(super::random_serial()?);
        params.not_before = now.into();
        params.not_after = (now + ROOT_LIFETIME).into();
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { root: certificate.clone(), certificate, key: key.serialize_pem(), chain: String::new() })
    }

    /// Reads the data of a Secret.
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, MaterialError> {
        let text = |name: &'static str| {
            let bytes = data.get(name).filter(|bytes| !bytes.is_empty());
            bytes.and_then(|bytes| String::from_utf8(bytes.clone()).ok()).ok_or(MaterialError::Missing(name))
        };
        let certificate = text(CERTIFICATE)?;
        // Istio's own Secret of a self-signed root leaves the roots out.
        let root = text(ROOT).unwrap_or_else(|_| certificate.clone());
        Ok(Self { key: text(KEY)?, chain: text(CHAIN).unwrap_or_default(), root, certificate })
    }

    /// The data of a Secret.
    pub fn to_secret(&self) -> BTreeMap<String, Vec<u8>> {
        [(CERTIFICATE, &self.certificate), (KEY, &self.key), (ROOT, &self.root), (CHAIN, &self.chain)]
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.clone().into_bytes()))
            .collect()
    }

    /// What goes between a leaf and the root.
    pub(super) fn intermediates(&self) -> Option<String> {
        let is_root = self.root.trim() == self.certificate.trim();
        let chain = if self.chain.trim().is_empty() { &self.certificate } else { &self.chain };
        (!is_root).then(|| ensure_newline(chain))
    }

    /// Checks that everything belongs together and that the certificate may sign; gives its key
    /// and end.
    pub(super) fn verify(&self, now: SystemTime) -> Result<(KeyPair, SystemTime), MaterialError> {
        Credential::from_pem(self.certificate.as_bytes(), self.key.as_bytes())
            .map_err(MaterialError::Pair)?;
        let roots = TrustBundle::from_pem(self.root.as_bytes()).map_err(MaterialError::Root)?;
        let key =
            KeyPair::from_pem(&self.key).map_err(|error| MaterialError::Certificate(error.to_string()))?;
        let not_after = first_not_after(&self.certificate)
            .ok_or_else(|| MaterialError::Certificate("its validity cannot be read".to_owned()))?;
        if now >= not_after {
            return Err(MaterialError::Expired);
        }
        self.verify_may_sign()?;
        self.verify_leads_to(&roots)?;
        Ok((key, not_after))
    }

    fn verify_may_sign(&self) -> Result<(), MaterialError> {
        use x509_parser::prelude::{FromDer, X509Certificate};
        let unreadable = |reason: String| MaterialError::Certificate(reason);
        let first = certificates_from_pem(self.certificate.as_bytes())
            .map_err(|error| unreadable(error.to_string()))?
            .into_iter()
            .next()
            .ok_or_else(|| unreadable("it is empty".to_owned()))?;
        let (_, parsed) = X509Certificate::from_der(&first).map_err(|error| unreadable(error.to_string()))?;
        let signs = parsed
            .key_usage()
            .map_err(|error| unreadable(error.to_string()))?
            .is_none_or(|usage| usage.value.key_cert_sign());
        if parsed.is_ca() && signs {
            Ok(())
        } else {
            Err(unreadable("it is not the certificate of an authority (CA:TRUE, keyCertSign)".to_owned()))
        }
    }

    /// Follows issuers from the signing certificate, through the chain, to a root.
    fn verify_leads_to(&self, roots: &TrustBundle) -> Result<(), MaterialError> {
        let parse = |pem: &str| -> Vec<PeerCertificate> {
            certificates_from_pem(pem.as_bytes())
                .unwrap_or_default()
                .into_iter()
                .filter_map(|der| PeerCertificate::parse(der).ok())
                .collect()
        };
        let chain = parse(&self.chain);
        let mut current = parse(&self.certificate).into_iter().next().ok_or(MaterialError::Untrusted)?.der;
        for _ in 0..=chain.len() {
            if roots.certificates().iter().any(|root| root.der == current || issued(&current, &root.der)) {
                return Ok(());
            }
            let next = chain.iter().find(|link| link.der != current && issued(&current, &link.der));
            current = next.ok_or(MaterialError::Untrusted)?.der.clone();
        }
        Err(MaterialError::Untrusted)
    }
}

/// Whether `issuer` signed `certificate`.
fn issued(certificate: &[u8], issuer: &[u8]) -> bool {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (Ok((_, certificate)), Ok((_, issuer))) =
        (X509Certificate::from_der(certificate), X509Certificate::from_der(issuer))
    else {
        return false;
    };
    certificate.issuer() == issuer.subject()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

fn ensure_newline(text: &str) -> String {
    let mut text = text.to_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

impl std::fmt::Debug for AuthorityMaterial {
    // The key stays out of logs.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AuthorityMaterial")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}
