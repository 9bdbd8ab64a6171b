//! Headers as Envoy treats them under Istio: hop-by-hop ones end here, those of the mesh are trusted
//! only from inside, and the client's address and certificate are passed on.

use super::connection_manager::{ClientCertDetails, Connection, ForwardClientCert, HttpConnectionManager};
use crate::connection::TlsInfo;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const PEER_METADATA: HeaderName = HeaderName::from_static("x-envoy-peer-metadata");
pub const PEER_METADATA_ID: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");
pub const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
pub const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
pub const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
pub const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
pub const TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-ms");
pub const PER_TRY_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms");
pub const RETRY_ON: HeaderName = HeaderName::from_static("x-envoy-retry-on");
pub const RETRY_GRPC_ON: HeaderName = HeaderName::from_static("x-envoy-retry-grpc-on");
pub const MAX_RETRIES: HeaderName = HeaderName::from_static("x-envoy-max-retries");
pub const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
pub const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
pub const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");
pub const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
pub const DECORATOR_OPERATION: HeaderName = HeaderName::from_static("x-envoy-decorator-operation");
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What one look over a request's headers finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Bytes of names and values, counted as HTTP/2 does (RFC 9113 §6.5.2).
    pub bytes: usize,
    /// Any `x-envoy-*`.
    pub envoy: bool,
    /// Any name with an underscore.
    pub underscore: bool,
    /// Whether there is a hop-by-hop header.
    pub hop_by_hop: bool,
}

/// Looks over all headers once.
pub fn survey(headers: &HeaderMap) -> Survey {
    let mut survey = Survey::default();
    for (name, value) in headers {
        let text = name.as_str();
        survey.bytes += text.len() + value.len() + 32;
        survey.envoy |= text.starts_with("x-envoy-");
        survey.underscore |= text.as_bytes().contains(&b'_');
        survey.hop_by_hop |= matches!(
            text,
            "connection"
                | "keep-alive"
                | "proxy-connection"
                | "te"
                | "transfer-encoding"
                | "upgrade"
                | "http2-settings"
                | "trailer"
        );
    }
    survey
}

/// Removes hop-by-hop headers (RFC 9110 §7.6.1). Headers that `connection` names go too, unless they
/// are ones that proxies and policies rely on: a client must not be able to remove those.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !is_relied_on(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    let wants_trailers = headers.get_all(header::TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    for name in [
        header::CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
    if wants_trailers {
        // gRPC asks for trailers end to end.
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

fn is_relied_on(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("x-envoy-")
        || text.starts_with("x-forwarded-")
        || text.starts_with("x-b3-")
        || text.starts_with("x-istio-")
        || text.starts_with("grpc-")
        || matches!(
            text,
            "host"
                | "authorization"
                | "x-request-id"
                | "traceparent"
                | "tracestate"
                | "b3"
                | "baggage"
                | "forwarded"
                | "content-length"
                | "content-type"
                | "cookie"
                | "via"
        )
}

/// Removes headers that only the mesh may set, as at every edge. Source: Envoy's
/// `HeaderUtility::stripEnvoyHeaders` and the HTTP connection manager's documentation.
pub fn strip_at_edge(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-envoy-")).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The client's address as headers and connection tell it, and whether it is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: SocketAddr,
    /// Whether the request was made inside of our network: only then are `x-envoy-*` believed.
    pub internal: bool,
}

/// Finds the client and writes `x-forwarded-for` and `x-forwarded-proto`. Source: Envoy's
/// documentation of `x-forwarded-for`, `use_remote_address` and `xff_num_trusted_hops`.
pub fn forwarded_for(
    manager: &HttpConnectionManager,
    peer: SocketAddr,
    secure: bool,
    headers: &mut HeaderMap,
) -> Client {
    let hops = manager.trusted_hops;
    let given = addresses(headers);
    let client = if manager.use_remote_address {
        let trusted =
            (hops > 0).then(|| given.len().checked_sub(hops).and_then(|index| given.get(index))).flatten();
        let address = trusted.map_or(peer, |ip| SocketAddr::new(*ip, 0));
        // A private address is not trust: what comes to an edge comes from outside.
        Client { address, internal: false }
    } else {
        let from_end = hops + 1;
        let told = given.len().checked_sub(from_end).and_then(|index| given.get(index));
        let address = told.map_or(peer, |ip| SocketAddr::new(*ip, 0));
        let internal = match given.as_slice() {
            [] => is_private(peer.ip()),
            [only] => is_private(*only),
            _ => false,
        };
        Client { address, internal }
    };
    if manager.use_remote_address && !manager.skip_forwarded_for {
        append_address(headers, peer.ip());
    }
    let scheme = HeaderValue::from_static(if secure { "https" } else { "http" });
    let told_by_nobody_trusted = manager.use_remote_address && hops == 0;
    if told_by_nobody_trusted || !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, scheme);
    }
    client
}

fn addresses(headers: &HeaderMap) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        let Ok(text) = value.to_str() else { continue };
        for part in text.split(',') {
            // An entry that is no address breaks the chain of who told what.
            match part.trim().parse() {
                Ok(address) => found.push(address),
                Err(_) => found.clear(),
            }
        }
    }
    found
}

fn append_address(headers: &mut HeaderMap, ip: IpAddr) {
    let mut text = super::matcher::joined(headers, &FORWARDED_FOR).into_owned();
    if !text.is_empty() {
        text.push(b',');
    }
    text.extend_from_slice(ip.to_canonical().to_string().as_bytes());
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// RFC 1918, RFC 4193 and loopback, Envoy's default of what is internal.
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

/// Writes or removes `x-forwarded-client-cert`. Source: Envoy's documentation of that header.
pub fn client_cert(manager: &HttpConnectionManager, tls: Option<&TlsInfo>, headers: &mut HeaderMap) {
    let mutual = tls.is_some_and(|tls| tls.peer.is_some());
    let element = || tls.and_then(|tls| cert_element(tls, manager.client_cert_details));
    match manager.forward_client_cert {
        ForwardClientCert::AlwaysForwardOnly => {}
        ForwardClientCert::ForwardOnly if mutual => {}
        ForwardClientCert::AppendForward if mutual => {
            let mut text = super::matcher::joined(headers, &CLIENT_CERT).into_owned();
            let Some(element) = element() else { return };
            if !text.is_empty() {
                text.push(b',');
            }
            text.extend_from_slice(element.as_bytes());
            if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
                headers.insert(CLIENT_CERT, value);
            }
        }
        ForwardClientCert::SanitizeSet if mutual => {
            match element().and_then(|element| HeaderValue::from_str(&element).ok()) {
                Some(value) => {
                    headers.insert(CLIENT_CERT, value);
                }
                None => {
                    headers.remove(CLIENT_CERT);
                }
            }
        }
        _ => {
            headers.remove(CLIENT_CERT);
        }
    }
}

/// `By=…;Hash=…;Subject="…";URI=…;DNS=…` of one connection.
fn cert_element(tls: &TlsInfo, details: ClientCertDetails) -> Option<String> {
    let peer = tls.peer.as_ref()?;
    let mut out = String::with_capacity(256);
    for by in tls.local.iter().flat_map(|local| &local.uri_sans) {
        let _ = write!(out, "By={by};");
    }
    let _ = write!(out, "Hash={}", peer.sha256());
    if details.cert {
        let _ = write!(out, ";Cert=\"{}\"", escaped_pem(&peer.der));
    }
    if details.subject {
        let _ = write!(out, ";Subject=\"{}\"", peer.subject.replace('\\', "\\\\").replace('"', "\\\""));
    }
    if details.uri {
        for uri in &peer.uri_sans {
            let _ = write!(out, ";URI={uri}");
        }
        if peer.uri_sans.is_empty() {
            out.push_str(";URI=");
        }
    }
    if details.dns {
        for name in &peer.dns_sans {
            let _ = write!(out, ";DNS={name}");
        }
    }
    Some(out)
}

fn escaped_pem(der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).unwrap_or_default());
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Keeps, removes or makes `x-request-id`.
pub fn request_id(manager: &HttpConnectionManager, edge: bool, headers: &mut HeaderMap) {
    let replace = edge && !manager.preserve_request_id;
    if replace && manager.generate_request_id {
        headers.remove(REQUEST_ID);
    }
    if manager.generate_request_id && !headers.contains_key(REQUEST_ID) {
        let mut buffer = uuid::Uuid::encode_buffer();
        // The thread's own generator: asking the kernel costs a system call for each request.
        let made = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let text = made.hyphenated().encode_lower(&mut buffer);
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(REQUEST_ID, value);
        }
    }
}

/// Whether a content type is gRPC's: `application/grpc`, with or without a suffix.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.starts_with(b"application/grpc") && matches!(value.get(16), None | Some(b'+' | b';' | b' '))
    })
}

/// `grpc-status` of headers or trailers.
pub fn grpc_status(headers: &HeaderMap) -> Option<u8> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.trim().parse().ok()
}

/// `grpc-timeout`: at most eight digits and a unit. Source: gRPC over HTTP/2.
pub fn grpc_timeout(headers: &HeaderMap) -> Option<std::time::Duration> {
    use std::time::Duration;
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = (digits.len() <= 8).then(|| digits.parse().ok()).flatten()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// The type of an upgrade that a request asks for, in lower case.
pub fn upgrade_type(headers: &HeaderMap) -> Option<String> {
    let asks = headers.get_all(header::CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    let kind = headers.get(header::UPGRADE).filter(|_| asks)?.to_str().ok()?;
    Some(kind.trim().to_ascii_lowercase()).filter(|kind| !kind.is_empty())
}

/// A header that holds a whole number.
pub fn number<N: std::str::FromStr>(headers: &HeaderMap, name: &HeaderName) -> Option<N> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Adds our own metadata exchange headers.
pub fn add_peer_metadata(connection: &Connection, headers: &mut HeaderMap) {
    let (metadata, id) = connection.downstream.worker.recorder.telemetry().local_peer_headers();
    if let (Some(metadata), Some(id)) = (metadata, id) {
        headers.insert(PEER_METADATA, metadata.clone());
        headers.insert(PEER_METADATA_ID, id.clone());
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
