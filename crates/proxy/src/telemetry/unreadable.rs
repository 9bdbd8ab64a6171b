//! What came on a connection was no request: the line in the access log that Envoy writes for it.

use super::entry::{Entry, HttpEntry};
use super::{AccessLog, ResponseFlags};
use crate::connection::Downstream;
use http::{StatusCode, Version};
use std::sync::Arc;
use std::time::Duration;

/// Why there is no request to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The bytes are not HTTP.
    Broken,
    /// The head of a request did not come to its end in time.
    Late,
}

/// Logs a connection that ended before there was a request. `status` is what the client was told, if anything.
pub fn log_unreadable(
    logs: &[Arc<AccessLog>],
    downstream: &Downstream,
    what: Unreadable,
    version: Version,
    status: Option<StatusCode>,
    duration: Duration,
) {
    let details = match (what, version, status) {
        (Unreadable::Late, ..) => "request_header_timeout",
        (_, Version::HTTP_2, _) => "http2.violation.of.messaging.rule",
        (.., Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)) => "http1.headers_too_large",
        _ => "http1.codec_error",
    };
    let flags = match (what, status) {
        (Unreadable::Broken, _) => ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
        // As in Envoy, the status says it.
        (Unreadable::Late, Some(_)) => ResponseFlags::NONE,
        (Unreadable::Late, None) => ResponseFlags::STREAM_IDLE_TIMEOUT,
    };
    let entry = Entry {
        downstream,
        remote: downstream.peer,
        started_at: downstream.started_at,
        duration,
        received: 0,
        sent: 0,
        flags,
        details,
        termination: None,
        upstream_failure: None,
        cluster: None,
        upstream: None,
        upstream_local: None,
        upstream_principal: None,
        attempts: 0,
        route: "",
        http: Some(HttpEntry {
            method: None,
            path: "",
            authority: "",
            scheme: "",
            version,
            request_names: &[],
            request_values: &[],
            response_names: &[],
            response_values: &[],
            live: None,
            trailers: None,
            status,
            grpc_status: None,
            virtual_host: "",
            trace: None,
            request_read: None,
            response_began: None,
        }),
    };
    for log in logs {
        log.write(downstream.worker.index, &entry);
    }
}
