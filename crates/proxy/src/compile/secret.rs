//! `Secret` → certificate with key, or trust bundle.

use super::{CompileError, data_source};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret::Type,
};
use mizzen_identity::{Credential, SecretValue, TrustBundle};
use std::sync::Arc;

/// Compiles a secret resource.
pub fn compile(secret: &Secret) -> Result<SecretValue, CompileError> {
    match &secret.r#type {
        Some(Type::TlsCertificate(certificate)) => {
            let credential = certificate_and_key(certificate).map_err(|error| error.at("tls_certificate"))?;
            Ok(SecretValue::Certificate(Arc::new(credential)))
        }
        Some(Type::ValidationContext(context)) => {
            let error_at = |error: CompileError| error.at("validation_context");
            refuse_unsupported(context).map_err(error_at)?;
            if !context.match_typed_subject_alt_names.is_empty() {
                return Err(CompileError::unsupported(
                    "validation_context.match_typed_subject_alt_names",
                    "a list of names inside a secret (give it in the TLS context)",
                ));
            }
            let bundle = trust(context).map_err(error_at)?;
            let bundle = bundle.ok_or_else(|| CompileError::missing("validation_context.trusted_ca"))?;
            Ok(SecretValue::Trust(Arc::new(bundle)))
        }
        Some(Type::SessionTicketKeys(_)) => {
            Err(CompileError::unsupported("session_ticket_keys", "this type"))
        }
        Some(Type::GenericSecret(_)) => Err(CompileError::unsupported("generic_secret", "this type")),
        None => Err(CompileError::missing("type")),
    }
}

/// Reads a certificate chain with its key.
pub fn certificate_and_key(certificate: &TlsCertificate) -> Result<Credential, CompileError> {
    if certificate.private_key_provider.is_some() {
        return Err(CompileError::unsupported("private_key_provider", "a key provider"));
    }
    if certificate.pkcs12.is_some() {
        return Err(CompileError::unsupported("pkcs12", "PKCS#12 (give certificate_chain and private_key)"));
    }
    if certificate.password.is_some() {
        return Err(CompileError::unsupported("password", "an encrypted private key"));
    }
    if certificate.ocsp_staple.is_some() {
        return Err(CompileError::unsupported("ocsp_staple", "OCSP stapling"));
    }
    let part = |source: &Option<_>, field: &str| match source {
        Some(source) => data_source::read(source, field),
        None => Err(CompileError::missing(field)),
    };
    let chain = part(&certificate.certificate_chain, "certificate_chain")?;
    let key = part(&certificate.private_key, "private_key")?;
    Credential::from_pem(&chain, &key)
        .map_err(|error| CompileError::invalid("certificate_chain", error.to_string()))
}

/// Reads the roots of a validation context; `None` when it has none.
pub fn trust(context: &CertificateValidationContext) -> Result<Option<TrustBundle>, CompileError> {
    let invalid = |reason: String| CompileError::invalid("trusted_ca", reason);
    if let Some(source) = &context.trusted_ca {
        let pem = data_source::read(source, "trusted_ca")?;
        return TrustBundle::from_pem(&pem).map(Some).map_err(|error| invalid(error.to_string()));
    }
    if context.system_root_certs.is_some() {
        return Err(CompileError::unsupported(
            "system_root_certs",
            "the system's root store (give trusted_ca with a file name)",
        ));
    }
    Ok(None)
}

/// Refuses the parts of a validation context that are not honoured.
pub fn refuse_unsupported(context: &CertificateValidationContext) -> Result<(), CompileError> {
    let unsupported: &[(bool, &str)] = &[
        (context.ca_certificate_provider_instance.is_some(), "ca_certificate_provider_instance"),
        (!context.verify_certificate_spki.is_empty(), "verify_certificate_spki"),
        (!context.verify_certificate_hash.is_empty(), "verify_certificate_hash"),
        (context.crl.is_some(), "crl"),
        (context.allow_expired_certificate, "allow_expired_certificate"),
        (context.trust_chain_verification != 0, "trust_chain_verification"),
        (context.custom_validator_config.is_some(), "custom_validator_config"),
        (context.max_verify_depth.is_some(), "max_verify_depth"),
        (
            context.require_signed_certificate_timestamp.as_ref().is_some_and(|flag| flag.value),
            "require_signed_certificate_timestamp",
        ),
    ];
    match unsupported.iter().find(|(set, _)| *set) {
        Some((_, field)) => Err(CompileError::unsupported(*field, "this check")),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
