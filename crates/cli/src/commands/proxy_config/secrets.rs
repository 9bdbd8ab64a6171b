//! `proxy-config secrets`.

use super::dump::text;
use crate::table::Table;
use base64::Engine as _;
use jiff::Timestamp;
use serde_json::Value;
use x509_parser::pem::Pem;

/// One row a certificate chain or trust bundle; `now` decides which are valid.
pub fn table(secrets: &[Value], now: Timestamp) -> Table {
    let mut table = Table::new(
        5,
        ["RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"],
    );
    for entry in secrets {
        for (kind, pem) in bundles(&entry["secret"]) {
            let mut row =
                vec![text(entry, "name").to_owned(), kind.to_owned(), text(entry, "state").to_owned()];
            row.extend(certificate_cells(&pem, now));
            table.row(row);
        }
    }
    table
}

/// The PEM texts in a secret, with what they are.
fn bundles(secret: &Value) -> Vec<(&'static str, Vec<u8>)> {
    [
        ("Cert Chain", &secret["tls_certificate"]["certificate_chain"]),
        ("CA", &secret["validation_context"]["trusted_ca"]),
    ]
    .into_iter()
    .filter_map(|(kind, source)| Some((kind, inline(source)?)))
    .collect()
}

fn inline(source: &Value) -> Option<Vec<u8>> {
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    let bytes = source["inline_bytes"].as_str().and_then(decode);
    bytes.or_else(|| source["inline_string"].as_str().map(|text| text.as_bytes().to_vec()))
}

/// Validity, serial number and dates of the first certificate.
fn certificate_cells(pem: &[u8], now: Timestamp) -> [String; 4] {
    let Some((serial, not_before, not_after)) = first_certificate(pem) else {
        return ["false".to_owned(), String::new(), String::new(), String::new()];
    };
    let valid = not_before <= now && now <= not_after;
    [valid.to_string(), serial, not_after.to_string(), not_before.to_string()]
}

fn first_certificate(pem: &[u8]) -> Option<(String, Timestamp, Timestamp)> {
    let pem = Pem::iter_from_buffer(pem).next()?.ok()?;
    let certificate = pem.parse_x509().ok()?;
    let validity = certificate.validity();
    let instant = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    let serial = certificate.tbs_certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
    Some((serial, instant(validity.not_before)?, instant(validity.not_after)?))
}
