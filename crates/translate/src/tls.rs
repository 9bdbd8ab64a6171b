//! TLS of both sides: contexts, the secrets they name and what they verify.

use mizzen_api::networking::{ClientTls, ClientTlsMode, ServerTls as GatewayTls, ServerTlsMode, TlsProtocol};
use mizzen_model::{Host, Service, Snapshot, map::Name};

use crate::{
    envoy::{self as e, core, tls},
    proxy::Proxy,
};

/// The workload's own certificate.
const OWN_CERTIFICATE: &str = "default";
/// The mesh's authorities.
const MESH_AUTHORITIES: &str = "ROOTCA";
/// Names of transport sockets.
pub(crate) const TLS_SOCKET: &str = "envoy.transport_sockets.tls";
const RAW_BUFFER_SOCKET: &str = "envoy.transport_sockets.raw_buffer";

/// What mutual TLS within the mesh offers besides the application's own protocols. Source: Istio,
/// `pilot/pkg/util/protomarshal` and `pilot/pkg/networking/util`.
pub(crate) const ALPN_PEER_EXCHANGE: &str = "istio-peer-exchange";
pub(crate) const ALPN_MESH: &str = "istio";
pub(crate) const ALPN_MESH_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];

/// Cipher suites of TLS 1.2 that servers accept. Source: Istio, `security/pkg/k8s/tls`.
const MESH_CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// The authorities the system trusts, where Debian, Ubuntu and Alpine keep them.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A file on the proxy's side.
fn file(path: &str) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::Filename(path.to_owned())),
        ..Default::default()
    }
}

fn certificate_files(certificate: &str, key: &str) -> tls::TlsCertificate {
    tls::TlsCertificate {
        certificate_chain: Some(file(certificate)),
        private_key: Some(file(key)),
        ..Default::default()
    }
}

/// A socket without TLS.
pub(crate) fn raw_buffer() -> core::TransportSocket {
    let config = envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer {};
    e::transport_socket(RAW_BUFFER_SOCKET, &config)
}

/// A secret by name, over the same stream.
pub(crate) fn secret(name: impl Into<String>) -> tls::SdsSecretConfig {
    tls::SdsSecretConfig { name: name.into(), sds_config: Some(e::ads()) }
}

/// A secret that the proxy's agent has. Our proxy and its agent are one process, where it is handed over whatever
/// source is named; stock Envoy asks its agent.
fn own_secret(proxy: &Proxy, name: &str) -> tls::SdsSecretConfig {
    let source = if proxy.istio_filters { e::ads() } else { e::agent() };
    tls::SdsSecretConfig { name: name.to_owned(), sds_config: Some(source) }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn uri_names(names: impl IntoIterator<Item = String>) -> Vec<tls::SubjectAltNameMatcher> {
    san_matchers(names, tls::subject_alt_name_matcher::SanType::Uri)
}

fn san_matchers(
    names: impl IntoIterator<Item = String>,
    kind: tls::subject_alt_name_matcher::SanType,
) -> Vec<tls::SubjectAltNameMatcher> {
    let matcher = |name: String| tls::SubjectAltNameMatcher {
        san_type: kind as i32,
        matcher: Some(e::exact(&name)),
        ..Default::default()
    };
    names.into_iter().map(matcher).collect()
}

/// Names of any kind: identities are URIs, everything else a DNS name.
fn named(names: &[String]) -> Vec<tls::SubjectAltNameMatcher> {
    use tls::subject_alt_name_matcher::SanType;
    let kind = |name: &String| if name.contains("://") { SanType::Uri } else { SanType::Dns };
    names.iter().flat_map(|name| san_matchers([name.clone()], kind(name))).collect()
}

fn combined(
    default: tls::CertificateValidationContext,
    authorities: tls::SdsSecretConfig,
) -> tls::common_tls_context::ValidationContextType {
    tls::common_tls_context::ValidationContextType::CombinedValidationContext(
        tls::common_tls_context::CombinedCertificateValidationContext {
            default_validation_context: Some(default),
            validation_context_sds_secret_config: Some(authorities),
            ..Default::default()
        },
    )
}

// === clients ===

/// The names a service's certificates may carry: the identities behind it, or what is declared.
pub(crate) fn service_identities(snapshot: &Snapshot, service: &Service) -> Vec<String> {
    let domain = &snapshot.mesh().trust_domain;
    let mut names: Vec<String> = service.subject_alt_names.clone();
    if let Some(endpoints) = snapshot.endpoints(&service.key()) {
        let uri =
            |(namespace, account): (Name, Name)| format!("spiffe://{domain}/ns/{namespace}/sa/{account}");
        names.extend(endpoints.identities().into_iter().map(uri));
    }
    names.sort();
    names.dedup();
    names
}

/// The protocols a client offers within the mesh.
pub(crate) fn mesh_alpn(istio_filters: bool, http: bool, http2: bool) -> Vec<String> {
    match (istio_filters, http, http2) {
        (true, _, true) => strings(&[ALPN_PEER_EXCHANGE, ALPN_MESH, "h2"]),
        (true, _, false) => strings(&[ALPN_PEER_EXCHANGE, ALPN_MESH]),
        // No filter chooses by request, so the cluster's own protocol is offered: the server's HTTP chain
        // is found by it.
        (false, true, true) => strings(&["istio-h2", ALPN_MESH, "h2"]),
        (false, true, false) => strings(&["istio-http/1.1", ALPN_MESH]),
        (false, false, true) => strings(&[ALPN_MESH, "h2"]),
        (false, false, false) => strings(&[ALPN_MESH]),
    }
}

/// Mutual TLS with a service of the mesh.
pub(crate) fn mesh_client(
    proxy: &Proxy,
    sni: String,
    identities: Vec<String>,
    alpn: Vec<String>,
) -> tls::UpstreamTlsContext {
    let validation = tls::CertificateValidationContext {
        match_typed_subject_alt_names: uri_names(identities),
        ..Default::default()
    };
    tls::UpstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![own_secret(proxy, OWN_CERTIFICATE)],
            validation_context_type: Some(combined(validation, own_secret(proxy, MESH_AUTHORITIES))),
            alpn_protocols: alpn,
            tls_params: Some(tls::TlsParameters {
                tls_minimum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv12 as i32,
                tls_maximum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv13 as i32,
                ..Default::default()
            }),
            ..Default::default()
        }),
        sni,
        ..Default::default()
    }
}

/// Where a client's certificates come from.
pub(crate) struct ClientSecrets {
    /// Whether `credentialName` is honoured: on gateways, and for rules made for certain clients.
    pub(crate) by_name: bool,
}

/// TLS as a DestinationRule asks for it. Nothing for `DISABLE`, and for `ISTIO_MUTUAL`, which is [`mesh_client`].
pub(crate) fn rule_client(
    settings: &ClientTls,
    host: &Host,
    secrets: &ClientSecrets,
    http2: bool,
) -> Option<tls::UpstreamTlsContext> {
    let mode = settings.mode.unwrap_or_default();
    if matches!(mode, ClientTlsMode::Disable | ClientTlsMode::IstioMutual) {
        return None;
    }
    let credential = settings.credential_name.as_deref().filter(|_| secrets.by_name);
    let mut common = tls::CommonTlsContext::default();
    if mode == ClientTlsMode::Mutual {
        match (credential, &settings.client_certificate, &settings.private_key) {
            (Some(name), _, _) => {
                common.tls_certificate_sds_secret_configs = vec![secret(format!("kubernetes://{name}"))]
            }
            (None, Some(certificate), Some(key)) => {
                common.tls_certificates = vec![certificate_files(certificate, key)]
            }
            (None, _, _) => {}
        }
    }
    let skip = settings.insecure_skip_verify == Some(true);
    let mut validation = tls::CertificateValidationContext {
        match_typed_subject_alt_names: if skip { Vec::new() } else { verified_names(settings, host) },
        ..Default::default()
    };
    common.validation_context_type = if skip {
        None
    } else if let Some(name) = credential {
        Some(combined(validation, secret(format!("kubernetes://{name}-cacert"))))
    } else {
        validation.trusted_ca = Some(file(settings.ca_certificates.as_deref().unwrap_or(SYSTEM_AUTHORITIES)));
        validation.crl = settings.ca_crl.as_deref().map(file);
        Some(tls::common_tls_context::ValidationContextType::ValidationContext(validation))
    };
    if http2 {
        common.alpn_protocols = strings(&["h2"]);
    }
    let explicit = settings.sni.clone().unwrap_or_default();
    // Without a name in the rule the host is meant; a wildcard cannot be sent, so the request's own host is.
    let sni = if explicit.is_empty() && !host.is_wildcard() { host.as_str().to_owned() } else { explicit };
    Some(tls::UpstreamTlsContext { common_tls_context: Some(common), sni, ..Default::default() })
}

fn verified_names(settings: &ClientTls, host: &Host) -> Vec<tls::SubjectAltNameMatcher> {
    if !settings.subject_alt_names.is_empty() {
        return named(&settings.subject_alt_names);
    }
    let dns = settings.sni.clone().filter(|sni| !sni.is_empty());
    let name = dns.or_else(|| (!host.is_wildcard()).then(|| host.as_str().to_owned()));
    san_matchers(name, tls::subject_alt_name_matcher::SanType::Dns)
}

// === servers ===

/// What a mesh server offers to agree on.
pub(crate) enum ServerAlpn {
    /// HTTP.
    Http,
    /// A stream of bytes; peers that can exchange what they are.
    Tcp {
        /// Whether the proxy can.
        peer_exchange: bool,
    },
}

/// Mutual TLS towards clients of the mesh.
pub(crate) fn mesh_server(proxy: &Proxy, alpn: &ServerAlpn) -> tls::DownstreamTlsContext {
    let protocols: &[&str] = match alpn {
        ServerAlpn::Http => &["h2", "http/1.1"],
        ServerAlpn::Tcp { peer_exchange: true } => &[ALPN_PEER_EXCHANGE, "h2", "http/1.1"],
        ServerAlpn::Tcp { peer_exchange: false } => &["h2", "http/1.1"],
    };
    tls::DownstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![own_secret(proxy, OWN_CERTIFICATE)],
            validation_context_type: Some(combined(
                tls::CertificateValidationContext::default(),
                own_secret(proxy, MESH_AUTHORITIES),
            )),
            alpn_protocols: strings(protocols),
            tls_params: Some(tls::TlsParameters {
                tls_minimum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv12 as i32,
                tls_maximum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv13 as i32,
                cipher_suites: strings(&MESH_CIPHERS),
                ..Default::default()
            }),
            ..Default::default()
        }),
        require_client_certificate: Some(e::boolean(true)),
        ..Default::default()
    }
}

/// TLS of a gateway's server. Nothing where the gateway does not end TLS itself.
pub(crate) fn gateway_server(
    proxy: &Proxy,
    settings: &GatewayTls,
    http: bool,
) -> Option<tls::DownstreamTlsContext> {
    let mode = settings.mode.unwrap_or_default();
    let alpn: &[&str] = if http { &["h2", "http/1.1"] } else { &[] };
    let mut context = match mode {
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => return None,
        ServerTlsMode::IstioMutual => {
            let mut context = mesh_server(proxy, &ServerAlpn::Http);
            if let Some(common) = &mut context.common_tls_context {
                common.alpn_protocols = strings(alpn);
            }
            context
        }
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            tls::DownstreamTlsContext {
                common_tls_context: Some(tls::CommonTlsContext {
                    tls_certificate_sds_secret_configs: credentials(settings)
                        .map(|name| secret(format!("kubernetes://{name}")))
                        .collect(),
                    tls_certificates: server_files(settings),
                    alpn_protocols: strings(alpn),
                    ..Default::default()
                }),
                require_client_certificate: Some(e::boolean(mode == ServerTlsMode::Mutual)),
                ..Default::default()
            }
        }
    };
    if let Some(common) = &mut context.common_tls_context {
        if matches!(mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual) {
            common.validation_context_type = Some(client_validation(proxy, settings));
        }
        let parameters = common.tls_params.get_or_insert_default();
        parameters.tls_minimum_protocol_version = match settings.min_protocol_version.unwrap_or_default() {
            TlsProtocol::Auto | TlsProtocol::V1_2 => tls::tls_parameters::TlsProtocol::TlSv12,
            TlsProtocol::V1_0 => tls::tls_parameters::TlsProtocol::TlSv10,
            TlsProtocol::V1_1 => tls::tls_parameters::TlsProtocol::TlSv11,
            TlsProtocol::V1_3 => tls::tls_parameters::TlsProtocol::TlSv13,
        } as i32;
        parameters.tls_maximum_protocol_version = match settings.max_protocol_version.unwrap_or_default() {
            TlsProtocol::Auto => tls::tls_parameters::TlsProtocol::TlsAuto,
            TlsProtocol::V1_0 => tls::tls_parameters::TlsProtocol::TlSv10,
            TlsProtocol::V1_1 => tls::tls_parameters::TlsProtocol::TlSv11,
            TlsProtocol::V1_2 => tls::tls_parameters::TlsProtocol::TlSv12,
            TlsProtocol::V1_3 => tls::tls_parameters::TlsProtocol::TlSv13,
        } as i32;
        if !settings.cipher_suites.is_empty() {
            parameters.cipher_suites.clone_from(&settings.cipher_suites);
        }
        if !settings.ecdh_curves.is_empty() {
            parameters.ecdh_curves.clone_from(&settings.ecdh_curves);
        }
    }
    Some(context)
}

/// A server's certificates in files, where it names no Secret.
fn server_files(settings: &GatewayTls) -> Vec<tls::TlsCertificate> {
    if credentials(settings).next().is_some() {
        return Vec::new();
    }
    let pair = |certificate: &Option<String>, key: &Option<String>| {
        Some(certificate_files(certificate.as_deref()?, key.as_deref()?))
    };
    let several = settings.tls_certificates.iter();
    let several = several.filter_map(|files| pair(&files.server_certificate, &files.private_key));
    pair(&settings.server_certificate, &settings.private_key).into_iter().chain(several).collect()
}

/// The Secrets a server names for its certificates, the plural before the singular.
pub(crate) fn credentials(settings: &GatewayTls) -> impl Iterator<Item = &str> {
    let singular = settings.credential_name.as_deref().filter(|_| settings.credential_names.is_empty());
    settings.credential_names.iter().map(String::as_str).chain(singular)
}

/// The Secret that holds the authorities of a server's clients.
pub(crate) fn authority_credential(settings: &GatewayTls) -> Option<String> {
    let named = settings.ca_cert_credential_name.clone();
    named.or_else(|| credentials(settings).next().map(|name| format!("{name}-cacert")))
}

fn client_validation(proxy: &Proxy, settings: &GatewayTls) -> tls::common_tls_context::ValidationContextType {
    let mut validation = tls::CertificateValidationContext {
        match_typed_subject_alt_names: named(&settings.subject_alt_names),
        verify_certificate_spki: settings.verify_certificate_spki.clone(),
        verify_certificate_hash: settings.verify_certificate_hash.clone(),
        ..Default::default()
    };
    match (authority_credential(settings), &settings.ca_certificates) {
        (Some(name), _) => combined(validation, secret(format!("kubernetes://{name}"))),
        (None, Some(path)) => {
            validation.trusted_ca = Some(file(path));
            validation.crl = settings.ca_crl.as_deref().map(file);
            tls::common_tls_context::ValidationContextType::ValidationContext(validation)
        }
        (None, None) => combined(validation, own_secret(proxy, MESH_AUTHORITIES)),
    }
}
