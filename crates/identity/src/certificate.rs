//! What a certificate says, read once when it arrives and kept beside its bytes.

use crate::spiffe::SpiffeId;
use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use std::sync::{Arc, OnceLock};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Why a certificate, key or bundle cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are not a certificate.
    #[error("not an X.509 certificate: {0}")]
    Parse(String),
    /// The text has no certificate at all.
    #[error("no PEM block 'CERTIFICATE' found")]
    NoCertificate,
    /// The text has no private key.
    #[error("no PEM block with a private key found (PKCS#8, PKCS#1 or SEC1)")]
    NoKey,
    /// The text is broken PEM.
    #[error("broken PEM: {0}")]
    Pem(String),
    /// The key is of a kind we cannot sign with.
    #[error("the private key cannot be used: {0}")]
    Key(String),
    /// The key does not belong to the certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A certificate of the bundle cannot be a trust anchor.
    #[error("certificate {index} of the bundle cannot be trusted: {reason}")]
    Root {
        /// Position in the bundle, from 0.
        index: usize,
        /// What is wrong.
        reason: String,
    },
}

/// One certificate with what it says.
#[derive(Debug)]
pub struct PeerCertificate {
    /// The certificate itself.
    pub der: CertificateDer<'static>,
    /// URI SANs in order.
    pub uri_sans: Vec<Arc<str>>,
    /// DNS SANs in order.
    pub dns_sans: Vec<Arc<str>>,
    /// IP SANs in order.
    pub ip_sans: Vec<std::net::IpAddr>,
    /// The subject in RFC 4514 form, for example `CN=a,O=b`.
    pub subject: String,
    /// The issuer in the same form.
    pub issuer: String,
    /// Serial number in lower-case hex without separators.
    pub serial: String,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
    spiffe: Option<SpiffeId>,
    sha256: OnceLock<String>,
}

impl PeerCertificate {
    /// Reads a certificate.
    pub fn parse(der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        let (_, certificate) =
            X509Certificate::from_der(&der).map_err(|error| CertificateError::Parse(error.to_string()))?;
        let mut uri_sans: Vec<Arc<str>> = Vec::new();
        let mut dns_sans: Vec<Arc<str>> = Vec::new();
        let mut ip_sans = Vec::new();
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| CertificateError::Parse(error.to_string()))?;
        for name in names.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::URI(uri) => uri_sans.push((*uri).into()),
                GeneralName::DNSName(name) => dns_sans.push((*name).into()),
                GeneralName::IPAddress(bytes) => ip_sans.extend(address(bytes)),
                _ => {}
            }
        }
        let spiffe = match uri_sans.as_slice() {
            [only] => SpiffeId::parse(only).ok(),
            _ => None,
        };
        let serial = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        let (subject, issuer) = (certificate.subject().to_string(), certificate.issuer().to_string());
        let validity = certificate.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Ok(Self {
            uri_sans,
            dns_sans,
            ip_sans,
            subject,
            issuer,
            serial,
            not_before,
            not_after,
            spiffe,
            sha256: OnceLock::new(),
            der,
        })
    }

    /// The SPIFFE id: the only URI SAN, when there is exactly one and it is an id (SPIFFE X.509-SVID §2).
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.spiffe.as_ref()
    }

    /// SHA-256 of the certificate in lower-case hex, as `x-forwarded-client-cert` carries it.
    pub fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| {
            digest::digest(&digest::SHA256, &self.der)
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        })
    }
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}
