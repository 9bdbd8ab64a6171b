//! The mesh's certificate authority: a root of its own or one plugged in, and the signer of
//! workload certificates. Whom a certificate names is decided by who asks, never by the request.
//!
//! Time is an argument everywhere. Keeping the root, and who may ask, are the control plane's.

pub mod csr;
mod material;

pub use material::{AuthorityMaterial, MaterialError};

use crate::SpiffeId;
use crate::credential::certificates_from_pem;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use std::time::{Duration, SystemTime};

/// Lifetime of a workload certificate that asks for none. Source: Istio, `DEFAULT_WORKLOAD_CERT_TTL`.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Longest lifetime of a workload certificate. Source: Istio, `MAX_WORKLOAD_CERT_TTL`.
pub const MAXIMUM_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
/// Lifetime of a root we make. Source: Istio, `CITADEL_SELF_SIGNED_CA_CERT_TTL`.
pub const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Validity starts this much before now, for clocks that run late. Source: Istio.
const BACKDATE: Duration = Duration::from_secs(2 * 60);
/// An RSA key of 2048 bits has at least this many bytes in its encoding.
const RSA_2048_BYTES: usize = 256;

/// Signs certificates.
pub struct CertificateAuthority {
    material: AuthorityMaterial,
    issuer: Issuer<'static, KeyPair>,
    not_after: SystemTime,
}

/// Certificates as issued.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    /// PEM texts, leaf first, root last: what `CreateCertificate` answers.
    pub chain: Vec<String>,
    /// When the leaf ends.
    pub not_after: SystemTime,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The request is not one, or does not prove possession of its key.
    #[error("the certificate signing request cannot be used: {0}")]
    Request(String),
    /// A key too weak to vouch for.
    #[error(
        "the key of the certificate signing request is too weak; use ECDSA P-256 or RSA of 2048 bits or more"
    )]
    WeakKey,
    /// The authority's own certificate has ended.
    #[error(
        "the certificate of the certificate authority has expired; renew the root, or plug in another in Secret 'cacerts'"
    )]
    AuthorityExpired,
    /// A name that cannot stand in a certificate.
    #[error("'{0}' cannot stand in a certificate")]
    Name(String),
    /// The signature failed.
    #[error("signing failed: {0}")]
    Signing(#[from] rcgen::Error),
}

impl CertificateAuthority {
    /// Takes over an authority whose material is valid at `now`.
    pub fn new(material: AuthorityMaterial, now: SystemTime) -> Result<Self, MaterialError> {
        let (key, not_after) = material.verify(now)?;
        let issuer = Issuer::from_ca_cert_pem(&material.certificate, key)
            .map_err(|error| MaterialError::Certificate(error.to_string()))?;
        Ok(Self { material, issuer, not_after })
    }

    /// What the authority is made of, to be kept.
    pub fn material(&self) -> &AuthorityMaterial {
        &self.material
    }

    /// The roots that peers must trust, in PEM.
    pub fn root(&self) -> &str {
        &self.material.root
    }

    /// When the signing certificate ends.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Signs the key of `request` (PEM) for the identity of the caller. Whatever names the request
    /// asks for are left out. `lifetime` of zero means [`DEFAULT_LIFETIME`].
    pub fn sign(
        &self,
        request: &str,
        caller: &SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<IssuedCertificate, SignError> {
        let request = CertificateSigningRequestParams::from_pem(request)
            .map_err(|error| SignError::Request(error.to_string()))?;
        let rsa = [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_RSA_SHA384, &rcgen::PKCS_RSA_SHA512];
        if rsa.contains(&request.public_key.algorithm())
            && request.public_key.der_bytes().len() < RSA_2048_BYTES
        {
            return Err(SignError::WeakKey);
        }
        let name = caller.as_str().try_into().map_err(|_| SignError::Name(caller.to_string()))?;
        let lifetime = if lifetime.is_zero() { DEFAULT_LIFETIME } else { lifetime.min(MAXIMUM_LIFETIME) };
        let (params, not_after) = self.leaf(vec![SanType::URI(name)], lifetime, now)?;
        let leaf = params.signed_by(&request.public_key, &self.issuer)?;
        Ok(self.issued(leaf.pem(), not_after))
    }

    /// A certificate and key for a server of the control plane's own, with these DNS names and this
    /// identity.
    pub fn issue_server(
        &self,
        dns_names: &[String],
        identity: &SpiffeId,
        now: SystemTime,
    ) -> Result<(IssuedCertificate, String), SignError> {
        let mut names = Vec::with_capacity(dns_names.len() + 1);
        for name in dns_names {
            let name = name.as_str().try_into().map_err(|_| SignError::Name(name.clone()))?;
            names.push(SanType::DnsName(name));
        }
        let uri = identity.as_str().try_into().map_err(|_| SignError::Name(identity.to_string()))?;
        names.push(SanType::URI(uri));
        let key = KeyPair::generate()?;
        let (params, not_after) = self.leaf(names, DEFAULT_LIFETIME, now)?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok((self.issued(leaf.pem(), not_after), key.serialize_pem()))
    }

    /// What every leaf has in common. It never outlives the authority.
    fn leaf(
        &self,
        names: Vec<SanType>,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<(CertificateParams, SystemTime), SignError> {
        if now >= self.not_after {
            return Err(SignError::AuthorityExpired);
        }
        let not_after = now.checked_add(lifetime).map_or(self.not_after, |end| end.min(self.not_after));
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(random_serial()?);
        params.not_before = now.checked_sub(BACKDATE).unwrap_or(now).into();
        params.not_after = not_after.into();
        Ok((params, not_after))
    }

    fn issued(&self, leaf: String, not_after: SystemTime) -> IssuedCertificate {
        let mut chain = vec![leaf];
        chain.extend(self.material.intermediates());
        chain.push(self.material.root.clone());
        IssuedCertificate { chain, not_after }
    }
}

impl std::fmt::Debug for CertificateAuthority {
    // The key stays out of logs.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CertificateAuthority")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl IssuedCertificate {
    /// The chain as one PEM text without the root, which the peer must have from elsewhere.
    pub fn presented(&self) -> String {
        let last = self.chain.len().saturating_sub(1);
        self.chain.iter().take(last.max(1)).map(String::as_str).collect()
    }
}

/// 128 random bits, positive (RFC 5280 §4.1.2.2).
fn random_serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    let [first, ..] = &mut bytes;
    *first = *first & 0x7f | 0x01;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The end of validity of the first certificate of a PEM text.
pub(crate) fn first_not_after(pem: &str) -> Option<SystemTime> {
    let first = certificates_from_pem(pem.as_bytes()).ok()?.into_iter().next()?;
    let not_after = crate::PeerCertificate::parse(first).ok()?.not_after;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(not_after).ok()?))
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
