//! Every way a request can fail, and what the client, the log and the metrics are told of it. The
//! only place where failures become responses. Words are Envoy's.

use crate::telemetry::ResponseFlags;
use crate::upstream::SendFailure;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::borrow::Cow;

/// Why a request is answered by us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request cannot be read in one way only, or breaks a rule of HTTP.
    BadRequest(&'static str),
    /// Its headers are too large or too many.
    HeadersTooLarge,
    /// It was not received in time.
    RequestTimeout,
    /// An upgrade or `CONNECT` that is not allowed here.
    UpgradeRefused,
    /// The HTTP version is not served.
    VersionNotServed,
    /// No route.
    NoRoute,
    /// Refused by policy; the details name it.
    Denied(String),
    /// The route's cluster does not exist.
    NoCluster(StatusCode),
    /// No host takes traffic.
    NoHealthyHost,
    /// A circuit breaker is open.
    Overflow,
    /// No connection could be made; why.
    Connect(String),
    /// No connection could be made in time.
    ConnectTimeout,
    /// The upstream gave no response; how, and why.
    Upstream(SendFailure, String),
    /// The route's timeout has passed.
    Timeout,
    /// The last attempt's timeout has passed.
    PerTryTimeout,
    /// The stream was idle for too long; 408 while the client had not sent all of its request.
    StreamIdle(StatusCode),
    /// The stream has lived too long; 408 while the client had not sent all of its request.
    StreamDuration(StatusCode),
    /// A fault on purpose.
    Fault(StatusCode),
    /// The client should come again by the normal form of its path.
    Normalized(String),
}

/// What a failure becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// Status.
    pub status: StatusCode,
    /// Body, in plain text.
    pub body: Bytes,
    /// Response flags.
    pub flags: ResponseFlags,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: Cow<'static, str>,
    /// Whether the connection must not be used for another request.
    pub close: bool,
    /// Whether it says that a circuit breaker was open.
    pub overloaded: bool,
}

impl Failure {
    /// What the client, the log and the metrics are told.
    pub fn reply(&self) -> LocalReply {
        let reply =
            |status: StatusCode, body: Cow<'static, str>, flags, details: Cow<'static, str>| LocalReply {
                status,
                body: match body {
                    Cow::Borrowed(body) => Bytes::from_static(body.as_bytes()),
                    Cow::Owned(body) => Bytes::from(body),
                },
                flags,
                details,
                close: false,
                overloaded: false,
            };
        let none = ResponseFlags::NONE;
        match self {
            Self::BadRequest(details) => LocalReply {
                close: true,
                ..reply(
                    StatusCode::BAD_REQUEST,
                    "Bad Request".into(),
                    ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
                    (*details).into(),
                )
            },
            Self::HeadersTooLarge => LocalReply {
                close: true,
                ..reply(
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "".into(),
                    none,
                    "request_headers_too_large".into(),
                )
            },
            Self::RequestTimeout => LocalReply {
                close: true,
                ..reply(
                    StatusCode::REQUEST_TIMEOUT,
                    "request timeout".into(),
                    none,
                    "request_overall_timeout".into(),
                )
            },
            Self::UpgradeRefused => LocalReply {
                close: true,
                ..reply(StatusCode::FORBIDDEN, "".into(), none, "upgrade_failed".into())
            },
            Self::VersionNotServed => LocalReply {
                close: true,
                ..reply(StatusCode::UPGRADE_REQUIRED, "".into(), none, "low_version".into())
            },
            Self::NoRoute => {
                reply(StatusCode::NOT_FOUND, "".into(), ResponseFlags::NO_ROUTE, "route_not_found".into())
            }
            Self::Denied(details) => {
                reply(StatusCode::FORBIDDEN, "RBAC: access denied".into(), none, details.clone().into())
            }
            Self::NoCluster(status) => {
                reply(*status, "".into(), ResponseFlags::NO_CLUSTER, "cluster_not_found".into())
            }
            Self::NoHealthyHost => reply(
                StatusCode::SERVICE_UNAVAILABLE,
                "no healthy upstream".into(),
                ResponseFlags::NO_HEALTHY_UPSTREAM,
                "no_healthy_upstream".into(),
            ),
            Self::Overflow => {
                LocalReply { overloaded: true, ..reset("overflow", ResponseFlags::UPSTREAM_OVERFLOW, "") }
            }
            Self::Connect(reason) => {
                reset("remote connection failure", ResponseFlags::UPSTREAM_CONNECTION_FAILURE, reason)
            }
            Self::ConnectTimeout => {
                reset("connection timeout", ResponseFlags::UPSTREAM_CONNECTION_FAILURE, "")
            }
            Self::Upstream(failure, reason) => match failure {
                SendFailure::ConnectionTermination => {
                    reset("connection termination", ResponseFlags::UPSTREAM_TERMINATION, "")
                }
                SendFailure::RemoteReset => reset("remote reset", ResponseFlags::UPSTREAM_REMOTE_RESET, ""),
                SendFailure::RefusedStream => {
                    reset("remote refused stream reset", ResponseFlags::UPSTREAM_REMOTE_RESET, "")
                }
                SendFailure::Protocol => LocalReply {
                    status: StatusCode::BAD_GATEWAY,
                    ..reset("protocol error", ResponseFlags::UPSTREAM_PROTOCOL_ERROR, reason)
                },
                SendFailure::RequestBody => reset("local reset", ResponseFlags::DOWNSTREAM_TERMINATION, ""),
            },
            Self::Timeout => reply(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream request timeout".into(),
                ResponseFlags::UPSTREAM_TIMEOUT,
                "response_timeout".into(),
            ),
            Self::PerTryTimeout => reply(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream request timeout".into(),
                ResponseFlags::UPSTREAM_TIMEOUT,
                "upstream_per_try_timeout".into(),
            ),
            Self::StreamIdle(status) => reply(
                *status,
                "stream timeout".into(),
                ResponseFlags::STREAM_IDLE_TIMEOUT,
                "stream_idle_timeout".into(),
            ),
            Self::StreamDuration(status) => reply(
                *status,
                "downstream duration timeout".into(),
                ResponseFlags::DURATION_TIMEOUT,
                "max_duration_timeout".into(),
            ),
            Self::Normalized(_) => {
                reply(StatusCode::TEMPORARY_REDIRECT, "".into(), none, "path_normalization_redirect".into())
            }
            Self::Fault(status) => reply(
                *status,
                "fault filter abort".into(),
                ResponseFlags::FAULT_INJECTED,
                "fault_filter_abort".into(),
            ),
        }
    }
}

/// `upstream connect error or disconnect/reset before headers. reset reason: …`
fn reset(reason: &str, flags: ResponseFlags, transport: &str) -> LocalReply {
    let mut body =
        format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}");
    if !transport.is_empty() {
        body.push_str(", transport failure reason: ");
        body.push_str(transport);
    }
    let words: String = reason.chars().map(|letter| if letter == ' ' { '_' } else { letter }).collect();
    let details = match transport {
        "" => format!("upstream_reset_before_response_started{{{words}}}"),
        transport => {
            let transport: String =
                transport.chars().map(|letter| if letter.is_whitespace() { '_' } else { letter }).collect();
            format!("upstream_reset_before_response_started{{{words}|{transport}}}")
        }
    };
    LocalReply {
        status: StatusCode::SERVICE_UNAVAILABLE,
        body: Bytes::from(body),
        flags,
        details: details.into(),
        close: false,
        overloaded: false,
    }
}

/// The head and body of a local reply; for gRPC, the status that stands for it and no body.
pub fn message(
    status: StatusCode,
    body: Bytes,
    grpc: bool,
    grpc_code: Option<u32>,
) -> (StatusCode, HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    if grpc {
        let code = grpc_code.unwrap_or_else(|| grpc_status_of(status));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(super::headers::GRPC_STATUS, HeaderValue::from(code));
        if !body.is_empty() {
            let text = String::from_utf8_lossy(&body);
            let encoded = percent_encoding::utf8_percent_encode(&text, GRPC_MESSAGE_ESCAPES).to_string();
            if let Ok(value) = HeaderValue::from_str(&encoded) {
                headers.insert(super::headers::GRPC_MESSAGE, value);
            }
        }
        return (StatusCode::OK, headers, Bytes::new());
    }
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    (status, headers, body)
}

/// What `grpc-message` must escape: all but printable ASCII, and the percent sign.
const GRPC_MESSAGE_ESCAPES: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');

/// Source: gRPC, "HTTP to gRPC Status Code Mapping".
pub fn grpc_status_of(status: StatusCode) -> u32 {
    match status.as_u16() {
        200 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// The HTTP status that a `grpc-status` stands for in outlier detection. Source: Envoy's
/// `Grpc::Utility::grpcToHttpStatus`.
pub fn http_status_of(grpc: u8) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        2 | 13 | 15 => 500,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

#[cfg(test)]
#[path = "error_response_tests.rs"]
mod tests;
