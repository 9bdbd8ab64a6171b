//! What makes TLS settings of a client or a server valid.

use super::findings::Findings;
use crate::networking::{ClientTls, ClientTlsMode, ServerTls, ServerTlsMode, TlsProtocol};

/// Checks the client's side.
pub(super) fn check_client_tls(tls: &ClientTls, path: &str, findings: &mut Findings) {
    let mode = tls.mode.unwrap_or_default();
    let files = [
        ("clientCertificate", tls.client_certificate.is_some()),
        ("privateKey", tls.private_key.is_some()),
        ("caCertificates", tls.ca_certificates.is_some()),
    ];
    let files: Vec<_> = files.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
    if tls.credential_name.is_some() && !files.is_empty() {
        let message =
            format!("is set beside {}; take them from the Secret or from files, not both", files.join(", "));
        findings.error(format!("{path}.credentialName"), message);
    }
    match mode {
        ClientTlsMode::IstioMutual => {
            for name in files.iter().copied().chain(tls.credential_name.as_ref().map(|_| "credentialName")) {
                findings.error(
                    format!("{path}.{name}"),
                    "is not used by ISTIO_MUTUAL, which has the mesh's certificates",
                );
            }
        }
        ClientTlsMode::Mutual if tls.credential_name.is_none() => {
            for name in ["clientCertificate", "privateKey"].into_iter().filter(|name| !files.contains(name)) {
                findings.error(format!("{path}.{name}"), "is required by MUTUAL; or set credentialName");
            }
        }
        ClientTlsMode::Mutual | ClientTlsMode::Simple => {}
        ClientTlsMode::Disable => {
            if !files.is_empty()
                || tls.credential_name.is_some()
                || tls.sni.is_some()
                || !tls.subject_alt_names.is_empty()
            {
                findings.warning(path, "has settings that mode DISABLE does not use");
            }
        }
    }
    if tls.insecure_skip_verify == Some(true) && tls.ca_certificates.is_some() {
        findings.error(format!("{path}.insecureSkipVerify"), "makes caCertificates useless; set only one");
    }
}

/// Checks the server's side.
pub(super) fn check_server_tls(tls: &ServerTls, path: &str, findings: &mut Findings) {
    check_credentials(tls, path, findings);
    let (oldest, newest) =
        (tls.min_protocol_version.unwrap_or_default(), tls.max_protocol_version.unwrap_or_default());
    if oldest != TlsProtocol::Auto && newest != TlsProtocol::Auto && oldest > newest {
        findings.error(format!("{path}.minProtocolVersion"), "is newer than maxProtocolVersion");
    }
    if matches!(newest, TlsProtocol::V1_0 | TlsProtocol::V1_1) {
        findings
            .error(format!("{path}.maxProtocolVersion"), "TLS before 1.2 is broken and not spoken; raise it");
    } else if matches!(oldest, TlsProtocol::V1_0 | TlsProtocol::V1_1) {
        findings.warning(
            format!("{path}.minProtocolVersion"),
            "TLS before 1.2 is broken and not spoken; 1.2 is used",
        );
    }
    for (index, hash) in tls.verify_certificate_hash.iter().enumerate() {
        let digits = hash.bytes().filter(|b| *b != b':').count();
        if digits != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
            findings.error(format!("{path}.verifyCertificateHash[{index}]"), "is not a SHA-256 in hex");
        }
    }
    for (index, hash) in tls.verify_certificate_spki.iter().enumerate() {
        if hash.len() != 44 || !hash.ends_with('=') {
            findings.error(format!("{path}.verifyCertificateSpki[{index}]"), "is not a SHA-256 in base64");
        }
    }
}

/// The certificate comes from one place, and is there when the mode needs it.
fn check_credentials(tls: &ServerTls, path: &str, findings: &mut Findings) {
    let sources = [
        ("credentialName", tls.credential_name.is_some()),
        ("credentialNames", !tls.credential_names.is_empty()),
        ("tlsCertificates", !tls.tls_certificates.is_empty()),
        ("serverCertificate", tls.server_certificate.is_some() || tls.private_key.is_some()),
    ];
    let set: Vec<_> = sources.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
    if set.len() > 1 {
        findings.error(path, format!("has {} set; take the certificate from one of them", set.join(" and ")));
    }
    let from_secret = tls.credential_name.is_some() || !tls.credential_names.is_empty();
    let mode = tls.mode.unwrap_or_default();
    match mode {
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            if set.is_empty() {
                let message = "has no certificate; set credentialName, or serverCertificate and privateKey";
                findings.error(path, message);
            }
            if set == ["serverCertificate"] && (tls.server_certificate.is_none() || tls.private_key.is_none())
            {
                findings.error(path, "needs both serverCertificate and privateKey");
            }
            for (index, pair) in tls.tls_certificates.iter().enumerate() {
                if pair.server_certificate.is_none() || pair.private_key.is_none() {
                    let path = format!("{path}.tlsCertificates[{index}]");
                    findings.error(path, "needs both serverCertificate and privateKey");
                }
            }
            let needs_authorities = mode != ServerTlsMode::Simple && !from_secret && !set.is_empty();
            if needs_authorities && tls.ca_certificates.is_none() && tls.ca_cert_credential_name.is_none() {
                findings.error(format!("{path}.caCertificates"), "is required to check client certificates");
            }
        }
        ServerTlsMode::IstioMutual => {
            for name in set.into_iter().chain(tls.ca_certificates.as_ref().map(|_| "caCertificates")) {
                findings.error(
                    format!("{path}.{name}"),
                    "is not used by ISTIO_MUTUAL, which has the mesh's certificates",
                );
            }
        }
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            for name in set {
                findings.warning(
                    format!("{path}.{name}"),
                    "is not used: the mode passes TLS on without ending it",
                );
            }
        }
    }
}
