//! What came on a connection was not HTTP: the line in the access log that Envoy writes for it.

use super::entry::{Entry, HttpEntry};
use super::{AccessLog, ResponseFlags};
use crate::connection::Downstream;
use http::{StatusCode, Version};
use std::sync::Arc;
use std::time::Duration;

/// Logs a connection that ended because its bytes could not be read as HTTP. `status` is what the client
/// was told, if anything.
pub fn log_unreadable(
    logs: &[Arc<AccessLog>],
    downstream: &Downstream,
    version: Version,
    status: Option<StatusCode>,
    duration: Duration,
) {
    let details = match (version, status) {
        (Version::HTTP_2, _) => "http2.violation.of.messaging.rule",
        (_, Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)) => "http1.headers_too_large",
        _ => "http1.codec_error",
    };
    let entry = Entry {
        downstream,
        remote: downstream.peer,
        started_at: downstream.started_at,
        duration,
        received: 0,
        sent: 0,
        flags: ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
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
