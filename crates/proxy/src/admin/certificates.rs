//! Certificates: `/certs`, and the secrets of `/config_dump` without their keys.

use super::config_dump::{dump, object};
use super::{Holder, json, moment};
use crate::tls::Secrets;
use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mizzen_identity::{PeerCertificate, SecretState, SecretValue};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const SECONDS_OF_A_DAY: i64 = 24 * 3600;

/// `envoy.admin.v3.Certificates`.
pub(super) async fn certs(State(shared): Holder) -> Response {
    let secrets = Arc::clone(&shared.manager.lock().context().secrets);
    let now = SystemTime::now();
    let certificates: Vec<_> = secrets
        .store()
        .slots()
        .iter()
        .filter_map(|slot| {
            let details = |list: &[Arc<PeerCertificate>]| -> Value {
                list.iter().map(|certificate| details(slot.name(), certificate, now)).collect()
            };
            match &slot.state().value {
                Some(SecretValue::Certificate(credential)) => {
                    Some(object([("cert_chain", details(credential.chain()))]))
                }
                Some(SecretValue::Trust(bundle)) => {
                    Some(object([("ca_cert", details(bundle.certificates()))]))
                }
                None => None,
            }
        })
        .collect();
    json(&object([("certificates", certificates.into())]))
}

fn details(name: &str, certificate: &PeerCertificate, now: SystemTime) -> Value {
    let uris = certificate.uri_sans.iter().map(|name| object([("uri", (&**name).into())]));
    let hosts = certificate.dns_sans.iter().map(|name| object([("dns", (&**name).into())]));
    let addresses =
        certificate.ip_sans.iter().map(|address| object([("ip_address", address.to_string().into())]));
    let names: Vec<_> = uris.chain(hosts).chain(addresses).collect();
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let days = (certificate.not_after - now).max(0) / SECONDS_OF_A_DAY;
    object([
        ("path", format!("<inline>: {name}").into()),
        ("serial_number", certificate.serial.as_str().into()),
        ("subject_alt_names", names.into()),
        ("days_until_expiration", days.to_string().into()),
        ("valid_from", second(certificate.not_before).into()),
        ("expiration_time", second(certificate.not_after).into()),
    ])
}

fn second(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// `envoy.admin.v3.SecretsConfigDump`: public parts only.
pub(super) fn secret_dump(secrets: &Secrets, wants: impl Fn(&str) -> bool) -> Value {
    let (mut fixed, mut active, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for slot in secrets.store().slots() {
        if !wants(slot.name()) {
            continue;
        }
        let state = slot.state();
        let entry = entry(slot.name(), &state);
        match (&state.value, &*state.version) {
            (Some(_), "static") => fixed.push(entry),
            (Some(_), _) => active.push(entry),
            (None, _) => waiting.push(entry),
        }
    }
    dump(
        "SecretsConfigDump",
        [
            ("static_secrets", fixed.into()),
            ("dynamic_active_secrets", active.into()),
            ("dynamic_warming_secrets", waiting.into()),
        ],
    )
}

fn entry(name: &str, state: &SecretState) -> Value {
    let secret = match &state.value {
        None => object([("@type", SECRET.into()), ("name", name.into())]),
        Some(SecretValue::Certificate(credential)) => {
            let certificate = object([
                ("certificate_chain", inline(&pem(credential.chain()))),
                ("private_key", inline("[redacted]")),
            ]);
            object([("@type", SECRET.into()), ("name", name.into()), ("tls_certificate", certificate)])
        }
        Some(SecretValue::Trust(bundle)) => {
            let context = object([("trusted_ca", inline(&pem(bundle.certificates())))]);
            object([("@type", SECRET.into()), ("name", name.into()), ("validation_context", context)])
        }
    };
    let version = if state.value.is_some() { &*state.version } else { "uninitialized" };
    let updated = moment(state.updated.unwrap_or(UNIX_EPOCH + Duration::ZERO));
    let mut entry = object([
        ("name", name.into()),
        ("version_info", version.into()),
        ("last_updated", updated.into()),
        ("secret", secret),
    ]);
    if let (Some(error), Some(fields)) = (&state.error, entry.as_object_mut()) {
        fields.insert("error_state".to_owned(), object([("details", (&**error).into())]));
    }
    entry
}

fn inline(text: &str) -> Value {
    object([("inline_bytes", STANDARD.encode(text).into())])
}

/// Certificates in PEM (RFC 7468).
fn pem(certificates: &[Arc<PeerCertificate>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        let body = STANDARD.encode(&certificate.der);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = body.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(64));
            text.push_str(line);
            text.push('\n');
            rest = more;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}
