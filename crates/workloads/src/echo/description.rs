//! What the echo application says of a request.

use super::controls::Format;
use crate::Identity;
use http::request::Parts;
use http::{HeaderMap, Version};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::net::SocketAddr;

/// Where a proxy tells whose certificate the caller showed (Envoy, `x-forwarded-client-cert`).
const CLIENT_CERTIFICATE: &str = "x-forwarded-client-cert";

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    pub pod: String,
    pub namespace: String,
    pub version: String,
    pub method: String,
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    pub authority: String,
    pub protocol: &'static str,
    /// Address of the caller: the pod itself, or 127.0.0.6 behind a sidecar.
    pub peer: String,
    /// The header `x-forwarded-client-cert`, absent without mTLS.
    pub client_certificate: Option<String>,
    pub received_bytes: u64,
    /// Header names in lower case; a repeated header is a list.
    pub headers: Map<String, Value>,
}

impl Description {
    /// Describes a request whose body had `received_bytes`.
    pub fn of(identity: &Identity, request: &Parts, peer: SocketAddr, received_bytes: u64) -> Self {
        let host = request.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let authority = request.uri.authority().map(http::uri::Authority::as_str).or(host);
        let certificate = request.headers.get(CLIENT_CERTIFICATE);
        Self {
            pod: identity.pod.clone(),
            namespace: identity.namespace.clone(),
            version: identity.version.clone(),
            method: request.method.to_string(),
            path: request.uri.path().to_owned(),
            query: request.uri.query().map(str::to_owned),
            authority: authority.unwrap_or_default().to_owned(),
            protocol: protocol(request.version),
            peer: peer.to_string(),
            client_certificate: certificate
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            received_bytes,
            headers: headers(&request.headers),
        }
    }

    /// The answer's body and its content type.
    pub fn render(&self, format: Format) -> (String, &'static str) {
        match format {
            Format::Json => {
                let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
                text.push('\n');
                (text, "application/json")
            }
            Format::Text => (self.text(), "text/plain; charset=utf-8"),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let fields = [
            ("pod", self.pod.as_str()),
            ("namespace", &self.namespace),
            ("version", &self.version),
            ("method", &self.method),
            ("path", &self.path),
            ("query", self.query.as_deref().unwrap_or_default()),
            ("authority", &self.authority),
            ("protocol", self.protocol),
            ("peer", &self.peer),
            ("client_certificate", self.client_certificate.as_deref().unwrap_or_default()),
        ];
        for (name, value) in fields {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name}={value}");
        }
        let _ = writeln!(text, "received_bytes={}", self.received_bytes);
        for (name, value) in &self.headers {
            let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            for value in values {
                let _ = writeln!(text, "header.{name}={}", value.as_str().unwrap_or_default());
            }
        }
        text
    }
}

/// The version as it stands on the wire.
pub fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in headers.keys() {
        let mut values: Vec<Value> = headers
            .get_all(name)
            .iter()
            .map(|value| Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        map.insert(name.as_str().to_owned(), value);
    }
    map
}
