//! Connections that change their protocol, such as WebSocket. Bytes that a client sends early are
//! held until the upstream has agreed; if it refuses, the connection is closed, so that they can
//! never be taken for a request.

use super::body::Exchange;
use super::error_response::Failure;
use crate::telemetry::ResponseFlags;
use http::Method;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mizzen_net::{CopyCounters, CopyOptions, copy_bidirectional_buffered};
use std::time::Duration;

/// The upgrade a request may have: `None` when it asks for none, or for one that is served as a
/// plain request.
pub(super) fn allowed(
    manager: &[(String, bool)],
    route: &[(String, bool)],
    wanted: Option<String>,
    method: &Method,
) -> Result<Option<String>, Failure> {
    let wanted = match wanted {
        Some(wanted) => wanted,
        None if *method == Method::CONNECT => "connect".to_owned(),
        None => return Ok(None),
    };
    // HTTP/2 in clear text by upgrade is not offered; RFC 9113 §3.1 did away with it.
    if wanted == "h2c" {
        return Ok(None);
    }
    let setting =
        |list: &[(String, bool)]| list.iter().find(|(kind, _)| *kind == wanted).map(|(_, enabled)| *enabled);
    match setting(route).or_else(|| setting(manager)) {
        Some(true) if wanted != "connect" => Ok(Some(wanted)),
        _ => Err(Failure::UpgradeRefused),
    }
}

/// Copies bytes both ways until both ends have closed, then closes the record.
pub(super) fn start(
    client: OnUpgrade,
    upstream: OnUpgrade,
    mut exchange: Box<Exchange>,
    idle: Option<Duration>,
) {
    tokio::task::spawn_local(async move {
        let (client, upstream) = match tokio::try_join!(client, upstream) {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!("upgrade did not happen: {error}");
                return;
            }
        };
        let counters = CopyCounters::default();
        let options = CopyOptions { idle_timeout: idle };
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        let copied = copy_bidirectional_buffered(&mut client, &mut upstream, &options, &counters).await;
        let (received, sent) = counters.totals();
        exchange.record.received += received;
        exchange.record.sent += sent;
        if copied.is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
            exchange.record.flags.insert(ResponseFlags::STREAM_IDLE_TIMEOUT);
            exchange.record.details = "stream_idle_timeout".into();
        }
        exchange.complete = true;
    });
}
