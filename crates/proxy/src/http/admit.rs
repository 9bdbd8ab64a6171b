//! A request brought into the one form that routing, policy and upstream see, or refused.

use super::connection_manager::{Connection, HttpConnectionManager, StripPort};
use super::error_response::Failure;
use super::headers::{self, Client};
use super::normalize;
use crate::telemetry::RequestRecord;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Version, header};
use std::borrow::Cow;

/// A request that was found to be in order.
pub(super) struct Admitted {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) authority: HeaderValue,
    pub(super) headers: HeaderMap,
    pub(super) client: Client,
    pub(super) grpc: bool,
    pub(super) secure: bool,
    pub(super) edge: bool,
    pub(super) tells_peer: bool,
    /// Whether there are `x-envoy-*` headers, which may change timeouts and retries.
    pub(super) steered: bool,
    pub(super) upgrade: Option<String>,
    pub(super) random: u64,
}

/// Checks a request and brings it into the one form that everything after looks at.
pub(super) fn admit(
    connection: &Connection,
    parts: http::request::Parts,
    record: &mut RequestRecord,
) -> Result<Admitted, Failure> {
    let manager = &connection.manager;
    let http::request::Parts { method, uri, version, mut headers, .. } = parts;
    let survey = headers::survey(&headers);
    record.request_header_bytes = survey.bytes as u64;
    if headers.len() > manager.max_headers || survey.bytes > manager.max_header_bytes {
        manager.counts.of(connection.downstream.worker.index).downstream_rq_too_large.increment();
        return Err(Failure::HeadersTooLarge);
    }
    if version < Version::HTTP_11 && !manager.http1.accept_http_10 {
        return Err(Failure::VersionNotServed);
    }
    if survey.underscore {
        match manager.underscores {
            None => {}
            Some(true) => return Err(Failure::BadRequest("http1.unexpected_underscore")),
            Some(false) => drop_underscored(&mut headers),
        }
    }
    let authority = authority(connection, &uri, version, &mut headers)?;
    let upgrade = if version == Version::HTTP_11 { headers::upgrade_type(&headers) } else { None };
    if survey.hop_by_hop {
        headers::strip_hop_by_hop(&mut headers);
    }
    // The server answers `Expect: 100-continue` itself, as soon as the body is wanted.
    headers.remove(header::EXPECT);
    let path = path(manager, &method, &uri)?;
    let secure = connection.downstream.tls.is_some();
    let client = headers::forwarded_for(manager, connection.downstream.peer, secure, &mut headers);
    record.remote = client.address;
    let edge = manager.use_remote_address && !client.internal;
    let mut tells_peer = false;
    if survey.envoy {
        if let Some(value) = headers.get(headers::PEER_METADATA) {
            tells_peer = headers.contains_key(headers::PEER_METADATA_ID);
            if manager.filters.metadata_exchange.is_some_and(|exchange| exchange.discover_downstream) {
                record.peer = connection.peer_of_header(value);
            }
        }
        if edge {
            headers::strip_at_edge(&mut headers);
        }
    }
    headers::client_cert(manager, connection.downstream.tls.as_ref(), &mut headers);
    headers::request_id(manager, edge, &mut headers);
    let grpc = headers::is_grpc(&headers);
    record.grpc = grpc;
    record.authority = Some(authority.clone());
    record.target = http::Uri::from(path.clone());
    Ok(Admitted {
        method,
        path,
        authority,
        headers,
        client,
        grpc,
        secure,
        edge,
        tells_peer,
        steered: survey.envoy,
        upgrade,
        random: rand::random(),
    })
}

fn drop_underscored(headers: &mut HeaderMap) {
    let names: Vec<_> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The host a request is for. The target's own authority beats `host` (RFC 9112 §3.2.2).
fn authority(
    connection: &Connection,
    uri: &http::Uri,
    version: Version,
    headers: &mut HeaderMap,
) -> Result<HeaderValue, Failure> {
    let manager = &connection.manager;
    let mut hosts = headers.get_all(header::HOST).iter();
    let (first, more) = (hosts.next().cloned(), hosts.next().is_some());
    if more {
        return Err(Failure::BadRequest("http1.invalid_host"));
    }
    headers.remove(header::HOST);
    let given = match uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => first,
    };
    let given = match given {
        Some(given) => given,
        None if version < Version::HTTP_11 => match &manager.http1.default_host {
            Some(host) => host.clone(),
            None => return Err(Failure::BadRequest("missing_host_header")),
        },
        None => return Err(Failure::BadRequest("missing_host_header")),
    };
    let text = given.to_str().map_err(|_| Failure::BadRequest("http1.invalid_host"))?;
    if !normalize::is_host(text) {
        return Err(Failure::BadRequest("http1.invalid_host"));
    }
    let mut changed: Cow<'_, str> = Cow::Borrowed(text);
    if manager.strip_host_dot {
        let host = normalize::without_port(text);
        if let Some(bare) = host.strip_suffix('.') {
            changed = Cow::Owned(format!("{bare}{}", text.get(host.len()..).unwrap_or_default()));
        }
    }
    let strips = match manager.strip_port {
        None => false,
        Some(StripPort::Any) => true,
        Some(StripPort::Matching) => normalize::port(&changed) == Some(connection.downstream.local.port()),
    };
    if strips {
        changed = Cow::Owned(normalize::without_port(&changed).to_owned());
    }
    match changed {
        Cow::Borrowed(_) => Ok(given.clone()),
        Cow::Owned(changed) => {
            HeaderValue::from_str(&changed).map_err(|_| Failure::BadRequest("http1.invalid_host"))
        }
    }
}

/// The path in the form that routing, policy and upstream see.
fn path(manager: &HttpConnectionManager, method: &Method, uri: &http::Uri) -> Result<PathAndQuery, Failure> {
    let Some(given) = uri.path_and_query() else {
        return match *method {
            Method::CONNECT => Ok(PathAndQuery::from_static("/")),
            _ => Err(Failure::BadRequest("missing_path_rejected")),
        };
    };
    if !given.path().starts_with('/') && given.path() != "*" {
        return Err(Failure::BadRequest("path_normalization_failed"));
    }
    let normal = normalize::path(given.path(), manager.path_rules)
        .map_err(|_| Failure::BadRequest("path_normalization_failed"))?;
    let target = match (normal.text, given.query()) {
        (Cow::Borrowed(_), _) => given.clone(),
        (Cow::Owned(path), query) => {
            let text = match query {
                Some(query) => format!("{path}?{query}"),
                None => path,
            };
            PathAndQuery::try_from(text).map_err(|_| Failure::BadRequest("path_normalization_failed"))?
        }
    };
    if normal.redirect {
        return Err(Failure::Normalized(target.to_string()));
    }
    Ok(target)
}
