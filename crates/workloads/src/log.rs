//! One line a request on standard output, where `kubectl logs` finds it.

use http::{Method, StatusCode};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// Writes `2026-01-01T00:00:00.000Z GET /path HTTP/1.1 200 1.2ms 127.0.0.6:4711`.
pub fn request(
    method: &Method,
    path: &str,
    protocol: &str,
    status: StatusCode,
    took: Duration,
    peer: SocketAddr,
) {
    let milliseconds = took.as_secs_f64() * 1000.0;
    line(&format!("{method} {path} {protocol} {} {milliseconds:.1}ms {peer}", status.as_u16()));
}

/// Writes any line with the time in front. A closed output is no reason to stop serving.
pub fn line(text: &str) {
    let now = jiff::Timestamp::now();
    let _ = writeln!(std::io::stdout().lock(), "{now:.3} {text}");
}
