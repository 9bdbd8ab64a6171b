//! Verification of peers' certificates against roots that may change under way.
//!
//! In the mesh a peer proves a SPIFFE identity: its certificate has exactly one URI SAN, a SPIFFE id
//! (SPIFFE X.509-SVID §2), leads to the trust bundle, and is one of the identities asked for. Host
//! names are not compared there. Outside of it (gateways, DestinationRule `SIMPLE`) ordinary web
//! rules apply, with the host name where it is asked for.

use crate::certificate::PeerCertificate;
use crate::credential::crypto_provider;
use crate::secret::{SecretError, SecretSlot};
use crate::subject::{NameMatcher, dns_name_covers};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use std::sync::Arc;
use webpki::{EndEntityCert, KeyUsage};

/// What a peer's certificate must fulfil.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The roots; without them the chain is not verified (Envoy's meaning of no `trusted_ca`).
    pub roots: Option<Arc<SecretSlot>>,
    /// At least one must match, when there are any.
    pub names: Arc<[NameMatcher]>,
    /// Exactly one URI SAN, which is a SPIFFE id.
    pub spiffe: bool,
    /// The server's name must be covered by the certificate (clients only).
    pub server_name: bool,
}

/// Verifies servers.
#[derive(Debug)]
pub struct ServerVerifier {
    verification: Verification,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Verifies clients.
#[derive(Debug)]
pub struct ClientVerifier {
    verification: Verification,
    required: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Why a certificate that leads to a trusted root is refused all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not exactly one URI SAN with a SPIFFE id.
    #[error("the certificate has no SPIFFE identity: it needs exactly one URI SAN spiffe://…, it has {0:?}")]
    NotSpiffe(Vec<String>),
    /// Not one of the identities asked for.
    #[error("the certificate belongs to {presented:?}, which is none of those accepted here")]
    NotAccepted {
        /// Its names.
        presented: Vec<String>,
    },
    /// A secret is missing.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Verification {
    /// Any peer that leads to `roots` with a SPIFFE identity accepted by `names`.
    pub fn spiffe(roots: Arc<SecretSlot>, names: impl Into<Arc<[NameMatcher]>>) -> Self {
        Self { roots: Some(roots), names: names.into(), spiffe: true, server_name: false }
    }

    /// Whether the roots are there.
    pub fn usable(&self) -> Result<(), SecretError> {
        self.roots.as_ref().map_or(Ok(()), |slot| slot.trust().map(|_| ()))
    }

    fn chain(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let Some(slot) = &self.roots else { return Ok(()) };
        let bundle = slot.trust().map_err(|error| other(error.into()))?;
        let end_entity = EndEntityCert::try_from(certificate).map_err(chain_error)?;
        end_entity
            .verify_for_usage(algorithms.all, &bundle.roots().roots, intermediates, now, usage, None, None)
            .map_err(chain_error)?;
        Ok(())
    }

    fn names(&self, certificate: &CertificateDer<'_>, server: Option<&ServerName<'_>>) -> Result<(), Error> {
        if !self.spiffe && self.names.is_empty() && !self.server_name {
            return Ok(());
        }
        let certificate = PeerCertificate::parse(certificate.clone().into_owned())
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.spiffe && certificate.spiffe_id().is_none() {
            return Err(other(IdentityError::NotSpiffe(texts(&certificate.uri_sans))));
        }
        if !self.names.is_empty() && !self.names.iter().any(|matcher| matcher.matches(&certificate)) {
            return Err(not_accepted(&certificate));
        }
        match server {
            Some(name) if self.server_name && !covers(&certificate, name) => Err(not_accepted(&certificate)),
            _ => Ok(()),
        }
    }
}

fn covers(certificate: &PeerCertificate, name: &ServerName<'_>) -> bool {
    match name {
        ServerName::DnsName(wanted) => {
            certificate.dns_sans.iter().any(|name| dns_name_covers(name, wanted.as_ref()))
        }
        ServerName::IpAddress(wanted) => {
            let wanted: std::net::IpAddr = (*wanted).into();
            certificate.ip_sans.contains(&wanted)
        }
        _ => false,
    }
}

fn texts(names: &[Arc<str>]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn not_accepted(certificate: &PeerCertificate) -> Error {
    let mut presented = texts(&certificate.uri_sans);
    presented.extend(texts(&certificate.dns_sans));
    presented.extend(certificate.ip_sans.iter().map(ToString::to_string));
    other(IdentityError::NotAccepted { presented })
}

fn other(error: IdentityError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

fn chain_error(error: webpki::Error) -> Error {
    use webpki::Error as Cause;
    Error::InvalidCertificate(match error {
        Cause::BadDer | Cause::BadDerTime => CertificateError::BadEncoding,
        Cause::CertNotValidYet { .. } => CertificateError::NotValidYet,
        Cause::CertExpired { .. } => CertificateError::Expired,
        Cause::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        Cause::UnknownIssuer => CertificateError::UnknownIssuer,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}

// === impl ServerVerifier ===

impl ServerVerifier {
    /// A verifier of servers.
    pub fn new(verification: Verification) -> Self {
        Self { verification, algorithms: crypto_provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usage = KeyUsage::server_auth();
        self.verification.chain(end_entity, intermediates, now, usage, &self.algorithms)?;
        self.verification.names(end_entity, Some(server_name))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

// === impl ClientVerifier ===

impl ClientVerifier {
    /// A verifier of clients; with `required`, those without a certificate are refused.
    pub fn new(verification: Verification, required: bool) -> Self {
        Self { verification, required, algorithms: crypto_provider().signature_verification_algorithms }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // The list of authorities is optional (RFC 8446 §4.2.4), and roots may change at any time.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let usage = KeyUsage::client_auth();
        self.verification.chain(end_entity, intermediates, now, usage, &self.algorithms)?;
        self.verification.names(end_entity, None)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
