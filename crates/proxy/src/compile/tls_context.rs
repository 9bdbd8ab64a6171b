//! `DownstreamTlsContext` and `UpstreamTlsContext` → [`Acceptor`] and [`Connector`].

use super::{CompileError, Context, secret, unpack};
use crate::tls::{Acceptor, Connector, WORKLOAD_TRUST};
use envoy_types::pb::envoy::config::core::v3::{TransportSocket, transport_socket::ConfigType};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use mizzen_identity::subject::{NameKind, NameMatcher, NamePattern};
use mizzen_identity::tls::{ClientSettings, ServerSettings, Version};
use mizzen_identity::verify::Verification;
use mizzen_identity::{SecretSlot, SecretValue};
use pb::common_tls_context::ValidationContextType;
use pb::downstream_tls_context::SessionTicketKeysType as Keys;
use pb::tls_parameters::TlsProtocol;
use std::sync::Arc;

const TLS: &str = "envoy.transport_sockets.tls";
const RAW_BUFFER: &str = "envoy.transport_sockets.raw_buffer";
const TYPE_RAW_BUFFER: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

/// Compiles a listener's transport socket; `None` is plain text.
pub fn downstream_socket(
    socket: Option<&TransportSocket>,
    context: &Context,
) -> Result<Option<Acceptor>, CompileError> {
    match tls_config::<pb::DownstreamTlsContext>(socket)? {
        Some(tls) => acceptor(&tls, context).map(Some).map_err(|error| error.at("transport_socket")),
        None => Ok(None),
    }
}

/// Compiles a cluster's or endpoint match's transport socket; `None` is plain text. With
/// `verify_name` (`auto_san_validation` of the cluster) the server must prove the name it is asked for
/// by.
pub fn upstream_socket(
    socket: Option<&TransportSocket>,
    verify_name: bool,
    context: &Context,
) -> Result<Option<Connector>, CompileError> {
    let Some(mut tls) = tls_config::<pb::UpstreamTlsContext>(socket)? else { return Ok(None) };
    tls.auto_sni_san_validation |= verify_name;
    connector(&tls, context).map(Some).map_err(|error| error.at("transport_socket"))
}

fn tls_config<M: prost::Message + prost::Name + Default>(
    socket: Option<&TransportSocket>,
) -> Result<Option<M>, CompileError> {
    let Some(socket) = socket else { return Ok(None) };
    let Some(ConfigType::TypedConfig(any)) = &socket.config_type else {
        // Only the name is given; raw_buffer has no settings.
        return match socket.name.as_str() {
            RAW_BUFFER => Ok(None),
            TLS => Err(CompileError::missing("transport_socket.typed_config")),
            other => Err(CompileError::unsupported("transport_socket", format!("'{other}'"))),
        };
    };
    if any.type_url == TYPE_RAW_BUFFER {
        return Ok(None);
    }
    if any.type_url != M::type_url() {
        return Err(CompileError::unsupported(
            "transport_socket.typed_config",
            format!("'{}' ({})", socket.name, any.type_url),
        ));
    }
    unpack(any, "transport_socket.typed_config").map(Some)
}

/// Compiles a `DownstreamTlsContext`.
pub fn acceptor(tls: &pb::DownstreamTlsContext, context: &Context) -> Result<Acceptor, CompileError> {
    let common =
        tls.common_tls_context.as_ref().ok_or_else(|| CompileError::missing("common_tls_context"))?;
    let at = |error: CompileError| error.at("common_tls_context");
    let unsupported: &[(bool, &str)] = &[
        (matches!(tls.session_ticket_keys_type, Some(Keys::SessionTicketKeys(_))), "session_ticket_keys"),
        (
            matches!(tls.session_ticket_keys_type, Some(Keys::SessionTicketKeysSdsSecretConfig(_))),
            "session_ticket_keys_sds_secret_config",
        ),
        (tls.ocsp_staple_policy != 0, "ocsp_staple_policy"),
        (tls.session_timeout.is_some(), "session_timeout"),
    ];
    if let Some((_, field)) = unsupported.iter().find(|(set, _)| *set) {
        return Err(CompileError::unsupported(*field, "this setting"));
    }
    let certificates = certificates(common, context).map_err(at)?;
    if certificates.is_empty() {
        return Err(CompileError::missing("common_tls_context.tls_certificates"));
    }
    let require = tls.require_client_certificate.as_ref().is_some_and(|flag| flag.value);
    let verification = verification(common, false, context).map_err(at)?;
    if require && verification.as_ref().is_none_or(|verification| verification.roots.is_none()) {
        return Err(CompileError::invalid(
            "common_tls_context.validation_context",
            "has no trusted_ca, but client certificates are required; nothing would verify them",
        ));
    }
    let (lowest, highest) = versions(common).map_err(at)?;
    let settings = ServerSettings {
        certificates,
        verification,
        require_client_certificate: require,
        session_tickets: !matches!(
            tls.session_ticket_keys_type,
            Some(Keys::DisableStatelessSessionResumption(true))
        ),
        session_cache: !tls.disable_stateful_session_resumption,
        application_protocols: protocols(common),
        lowest,
        highest,
    };
    let require_server_name = tls.require_sni.as_ref().is_some_and(|flag| flag.value);
    Acceptor::new(settings, require_server_name)
        .map_err(|error| CompileError::invalid("common_tls_context", error.to_string()))
}

/// Compiles an `UpstreamTlsContext`.
pub fn connector(tls: &pb::UpstreamTlsContext, context: &Context) -> Result<Connector, CompileError> {
    let default = pb::CommonTlsContext::default();
    let common = tls.common_tls_context.as_ref().unwrap_or(&default);
    let at = |error: CompileError| error.at("common_tls_context");
    if tls.allow_renegotiation {
        return Err(CompileError::unsupported("allow_renegotiation", "TLS renegotiation"));
    }
    if tls.auto_host_sni {
        return Err(CompileError::unsupported("auto_host_sni", "SNI from the endpoint's host name"));
    }
    let certificate = certificates(common, context).map_err(at)?.into_iter().next();
    let verification = verification(common, tls.auto_sni_san_validation, context)
        .map_err(at)?
        .unwrap_or_else(|| Verification { roots: None, names: [].into(), spiffe: false, server_name: false });
    let (lowest, highest) = versions(common).map_err(at)?;
    let settings = ClientSettings {
        certificate,
        verification,
        application_protocols: protocols(common),
        lowest,
        highest,
    };
    Connector::new(settings, &tls.sni).map_err(|error| CompileError::invalid("sni", error.to_string()))
}

fn protocols(common: &pb::CommonTlsContext) -> Vec<Vec<u8>> {
    common.alpn_protocols.iter().map(|protocol| protocol.clone().into_bytes()).collect()
}

fn certificates(
    common: &pb::CommonTlsContext,
    context: &Context,
) -> Result<Vec<Arc<SecretSlot>>, CompileError> {
    let unsupported: &[(bool, &str)] = &[
        (common.tls_certificate_provider_instance.is_some(), "tls_certificate_provider_instance"),
        (common.custom_tls_certificate_selector.is_some(), "custom_tls_certificate_selector"),
        (common.custom_handshaker.is_some(), "custom_handshaker"),
        (common.key_log.is_some(), "key_log"),
    ];
    if let Some((_, field)) = unsupported.iter().find(|(set, _)| *set) {
        return Err(CompileError::unsupported(*field, "this setting"));
    }
    let mut slots = Vec::new();
    for (index, certificate) in common.tls_certificates.iter().enumerate() {
        let credential = secret::certificate_and_key(certificate)
            .map_err(|error| error.at(format!("tls_certificates[{index}]")))?;
        slots.push(SecretSlot::fixed("inline", SecretValue::Certificate(Arc::new(credential))));
    }
    for (index, config) in common.tls_certificate_sds_secret_configs.iter().enumerate() {
        let slot = named(config, context)
            .map_err(|error| error.at(format!("tls_certificate_sds_secret_configs[{index}]")))?;
        slots.push(slot);
    }
    Ok(slots)
}

/// The slot of an SDS secret, wherever it comes from.
fn named(config: &pb::SdsSecretConfig, context: &Context) -> Result<Arc<SecretSlot>, CompileError> {
    use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier as From;
    if config.name.is_empty() {
        return Err(CompileError::missing("name"));
    }
    let source = config.sds_config.as_ref().and_then(|source| source.config_source_specifier.as_ref());
    match source {
        // Without a source the bootstrap has it.
        None | Some(From::Ads(_) | From::ApiConfigSource(_) | From::Self_(_)) => {
            Ok(context.secrets.slot(&config.name))
        }
        // The other one is the deprecated way to name a file.
        Some(_) => Err(CompileError::unsupported("sds_config", "a secret from a watched file")),
    }
}

/// What a validation context asks for; `None` when there is none.
fn verification(
    common: &pb::CommonTlsContext,
    server_name: bool,
    context: &Context,
) -> Result<Option<Verification>, CompileError> {
    match &common.validation_context_type {
        None => Ok(server_name.then(|| Verification {
            roots: None,
            names: [].into(),
            spiffe: false,
            server_name: true,
        })),
        Some(ValidationContextType::ValidationContext(inline)) => {
            let roots = inline_roots(inline).map_err(|error| error.at("validation_context"))?;
            verify(inline, roots, server_name).map(Some).map_err(|error| error.at("validation_context"))
        }
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => {
            let slot =
                named(config, context).map_err(|error| error.at("validation_context_sds_secret_config"))?;
            verify(&pb::CertificateValidationContext::default(), Some(slot), server_name).map(Some)
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            let at = |error: CompileError| error.at("combined_validation_context");
            let default = pb::CertificateValidationContext::default();
            let inline = combined.default_validation_context.as_ref().unwrap_or(&default);
            let config = combined.validation_context_sds_secret_config.as_ref().ok_or_else(|| {
                CompileError::missing("combined_validation_context.validation_context_sds_secret_config")
            })?;
            let slot = named(config, context).map_err(at)?;
            verify(inline, Some(slot), server_name).map(Some).map_err(at)
        }
        Some(_) => Err(CompileError::unsupported("validation_context_type", "a certificate provider")),
    }
}

fn inline_roots(inline: &pb::CertificateValidationContext) -> Result<Option<Arc<SecretSlot>>, CompileError> {
    Ok(secret::trust(inline)?.map(|bundle| SecretSlot::fixed("inline", SecretValue::Trust(Arc::new(bundle)))))
}

fn verify(
    inline: &pb::CertificateValidationContext,
    roots: Option<Arc<SecretSlot>>,
    server_name: bool,
) -> Result<Verification, CompileError> {
    secret::refuse_unsupported(inline)?;
    #[allow(deprecated)]
    if !inline.match_subject_alt_names.is_empty() {
        return Err(CompileError::unsupported(
            "match_subject_alt_names",
            "the untyped list (use match_typed_subject_alt_names)",
        ));
    }
    let names = inline
        .match_typed_subject_alt_names
        .iter()
        .enumerate()
        .map(|(index, matcher)| {
            name_matcher(matcher).map_err(|error| error.at(format!("match_typed_subject_alt_names[{index}]")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if !names.is_empty() && roots.is_none() {
        return Err(CompileError::invalid(
            "match_typed_subject_alt_names",
            "is given without trusted_ca, so the names would not be verified",
        ));
    }
    // Among workloads the mesh's own roots vouch for SPIFFE identities only. The control plane is asked
    // for by its DNS name.
    let spiffe = roots.as_ref().is_some_and(|slot| &**slot.name() == WORKLOAD_TRUST)
        && names.iter().all(|name| name.kind == NameKind::Uri);
    Ok(Verification { roots, names: names.into(), spiffe, server_name })
}

fn name_matcher(matcher: &pb::SubjectAltNameMatcher) -> Result<NameMatcher, CompileError> {
    use pb::subject_alt_name_matcher::SanType;
    let kind = match SanType::try_from(matcher.san_type) {
        Ok(SanType::Uri) => NameKind::Uri,
        Ok(SanType::Dns) => NameKind::Dns,
        Ok(SanType::IpAddress) => NameKind::Ip,
        _ => return Err(CompileError::unsupported("san_type", format!("type {}", matcher.san_type))),
    };
    let text = matcher.matcher.as_ref().ok_or_else(|| CompileError::missing("matcher"))?;
    let pattern = match &text.match_pattern {
        Some(MatchPattern::Exact(value)) => NamePattern::Exact(value.as_str().into()),
        Some(MatchPattern::Prefix(value)) => NamePattern::Prefix(value.as_str().into()),
        Some(MatchPattern::Suffix(value)) => NamePattern::Suffix(value.as_str().into()),
        Some(MatchPattern::Contains(value)) => NamePattern::Contains(value.as_str().into()),
        Some(_) => {
            return Err(CompileError::unsupported(
                "matcher",
                "a pattern other than exact, prefix, suffix, contains",
            ));
        }
        None => return Err(CompileError::missing("matcher.match_pattern")),
    };
    Ok(NameMatcher { kind, pattern, ignore_case: text.ignore_case })
}

/// TLS 1.2 to 1.3 unless parameters say otherwise. Cipher suites and curves are aws-lc-rs's own list,
/// all of it AEAD with forward secrecy; a list that names others only is refused.
fn versions(common: &pb::CommonTlsContext) -> Result<(Version, Version), CompileError> {
    let Some(params) = &common.tls_params else { return Ok((Version::Tls12, Version::Tls13)) };
    let read = |value: i32, automatic: Version, field: &str| match TlsProtocol::try_from(value) {
        Ok(TlsProtocol::TlsAuto) => Ok(automatic),
        Ok(TlsProtocol::TlSv12) => Ok(Version::Tls12),
        Ok(TlsProtocol::TlSv13) => Ok(Version::Tls13),
        // An older lowest version only means that we offer less than was allowed.
        Ok(_) if field.ends_with("minimum_protocol_version") => Ok(Version::Tls12),
        _ => Err(CompileError::unsupported(field, "TLS 1.0 and 1.1")),
    };
    let lowest =
        read(params.tls_minimum_protocol_version, Version::Tls12, "tls_params.tls_minimum_protocol_version")?;
    let highest =
        read(params.tls_maximum_protocol_version, Version::Tls13, "tls_params.tls_maximum_protocol_version")?;
    if !params.cipher_suites.is_empty() && !params.cipher_suites.iter().any(|name| is_offered(name)) {
        return Err(CompileError::unsupported("tls_params.cipher_suites", "none of these suites"));
    }
    Ok((lowest, highest))
}

/// Whether a suite in OpenSSL's name is among those aws-lc-rs offers.
fn is_offered(name: &str) -> bool {
    // BoringSSL's equal-preference groups are written `[A|B]`.
    name.trim_matches(['[', ']']).split('|').any(|name| {
        matches!(
            name,
            "ECDHE-ECDSA-AES128-GCM-SHA256"
                | "ECDHE-RSA-AES128-GCM-SHA256"
                | "ECDHE-ECDSA-AES256-GCM-SHA384"
                | "ECDHE-RSA-AES256-GCM-SHA384"
                | "ECDHE-ECDSA-CHACHA20-POLY1305"
                | "ECDHE-RSA-CHACHA20-POLY1305"
        )
    })
}

#[cfg(test)]
#[path = "tls_context_tests.rs"]
mod tests;
