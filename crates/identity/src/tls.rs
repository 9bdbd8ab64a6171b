//! rustls configurations over secret slots. They are built once per TLS context; certificates,
//! keys and roots are read from the slots at each handshake.
//!
//! Sessions are not resumed where clients present certificates: a resumed session is not verified
//! again, and would outlive the rotation of the roots that vouched for it.

use crate::credential::crypto_provider;
use crate::secret::{SecretError, SecretSlot};
use crate::verify::{ClientVerifier, ServerVerifier, Verification};
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SignatureScheme, SupportedProtocolVersion};
use std::sync::Arc;

/// The lowest and highest TLS version allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What a server's TLS is made of.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Certificates to choose from by what the client can verify, most wanted first.
    pub certificates: Vec<Arc<SecretSlot>>,
    /// How client certificates are verified; none are asked for without.
    pub verification: Option<Verification>,
    /// Refuse clients without a certificate.
    pub require_client_certificate: bool,
    /// Issue tickets to resume a session with. Never done where clients present certificates.
    pub session_tickets: bool,
    /// Remember sessions of TLS 1.2 to resume. Never done where clients present certificates.
    pub session_cache: bool,
    /// Application protocols, most wanted first.
    pub application_protocols: Vec<Vec<u8>>,
    /// Lowest version.
    pub lowest: Version,
    /// Highest version.
    pub highest: Version,
}

/// What a client's TLS is made of.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Our certificate; none is presented without.
    pub certificate: Option<Arc<SecretSlot>>,
    /// How the server's certificate is verified.
    pub verification: Verification,
    /// Application protocols, most wanted first.
    pub application_protocols: Vec<Vec<u8>>,
    /// Lowest version.
    pub lowest: Version,
    /// Highest version.
    pub highest: Version,
}

/// Why a configuration cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Lowest above highest.
    #[error("the lowest TLS version is above the highest")]
    Versions,
    /// rustls refuses the combination.
    #[error("TLS configuration: {0}")]
    Rustls(String),
}

impl ServerSettings {
    /// The configuration to accept with.
    pub fn build(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(versions(self.lowest, self.highest)?)
            .map_err(rustls_error)?;
        let builder = match &self.verification {
            Some(verification) => builder.with_client_cert_verifier(Arc::new(ClientVerifier::new(
                verification.clone(),
                self.require_client_certificate,
            ))),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Certificates(self.certificates.clone())));
        config.alpn_protocols.clone_from(&self.application_protocols);
        // Keeps small answers in one record with the handshake's last flight.
        config.send_half_rtt_data = false;
        if self.verification.is_some() || !self.session_cache {
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        if self.verification.is_some() || !self.session_tickets {
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(rustls_error)?;
            config.send_tls13_tickets = 1;
        }
        Ok(Arc::new(config))
    }

    /// Whether every secret a handshake needs is there.
    pub fn usable(&self) -> Result<(), SecretError> {
        let mut failure = None;
        let any = self.certificates.iter().any(|slot| match slot.credential() {
            Ok(_) => true,
            Err(error) => {
                failure = Some(error);
                false
            }
        });
        if !any && let Some(error) = failure {
            return Err(error);
        }
        self.verification.as_ref().map_or(Ok(()), Verification::usable)
    }
}

impl ClientSettings {
    /// The configuration to connect with.
    pub fn build(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(versions(self.lowest, self.highest)?)
            .map_err(rustls_error)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ServerVerifier::new(self.verification.clone())));
        let mut config = match &self.certificate {
            Some(slot) => builder.with_client_cert_resolver(Arc::new(Certificate(Arc::clone(slot)))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.application_protocols);
        // Envoy goes on when the server picks none of ours, or none.
        config.check_selected_alpn = false;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// Whether every secret a handshake needs is there.
    pub fn usable(&self) -> Result<(), SecretError> {
        if let Some(slot) = &self.certificate {
            slot.credential()?;
        }
        self.verification.usable()
    }
}

fn versions(
    lowest: Version,
    highest: Version,
) -> Result<&'static [&'static SupportedProtocolVersion], TlsError> {
    use rustls::version::{TLS12, TLS13};
    static ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
    static ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];
    static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    match (lowest, highest) {
        (Version::Tls12, Version::Tls12) => Ok(ONLY_12),
        (Version::Tls12, Version::Tls13) => Ok(BOTH),
        (Version::Tls13, Version::Tls13) => Ok(ONLY_13),
        (Version::Tls13, Version::Tls12) => Err(TlsError::Versions),
    }
}

fn rustls_error(error: rustls::Error) -> TlsError {
    TlsError::Rustls(error.to_string())
}

/// Presents a client's certificate out of its slot.
#[derive(Debug)]
struct Certificate(Arc<SecretSlot>);

impl ResolvesClientCert for Certificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.credential().ok().map(|credential| Arc::clone(credential.certified_key()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Presents the first of a server's certificates that the client can verify.
#[derive(Debug)]
struct Certificates(Vec<Arc<SecretSlot>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut fallback = None;
        for slot in &self.0 {
            let Ok(credential) = slot.credential() else { continue };
            let key = credential.certified_key();
            if key.key.choose_scheme(hello.signature_schemes()).is_some() {
                return Some(Arc::clone(key));
            }
            fallback.get_or_insert_with(|| Arc::clone(key));
        }
        fallback
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
