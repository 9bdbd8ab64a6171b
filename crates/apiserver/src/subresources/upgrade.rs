//! Connections that leave HTTP.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{HeaderName, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use crate::http::response::{self, Answer};

/// How long the client may take to go on after it was answered.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// A header's text; empty if it is missing.
pub(super) fn header(parts: &Parts, name: HeaderName) -> &str {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether the client asks to go on with `protocol`.
pub(super) fn wants(parts: &Parts, protocol: &str) -> bool {
    let names = |name, wanted: &str| {
        header(parts, name).split(',').any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    names(UPGRADE, protocol) && names(CONNECTION, "upgrade")
}

/// Serves the connection once it has been handed over, until `serve` or the server is done.
pub(super) fn serve_upgraded<F, R>(on_upgrade: OnUpgrade, stopping: CancellationToken, serve: F)
where
    F: FnOnce(TokioIo<Upgraded>) -> R + Send + 'static,
    R: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        let upgraded = match tokio::time::timeout(UPGRADE_TIMEOUT, on_upgrade).await {
            Ok(Ok(upgraded)) => upgraded,
            Ok(Err(error)) => {
                return tracing::debug!(%error, "the client did not go on after the upgrade");
            }
            Err(_) => return tracing::debug!("the client took too long to go on after the upgrade"),
        };
        tokio::select! {
            () = serve(TokioIo::new(upgraded)) => {}
            () = stopping.cancelled() => {}
        }
    });
}

/// The answer that hands the connection over.
pub(super) fn switching(protocol: &'static str) -> Answer {
    let mut answer = Response::new(response::full(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
    answer
}
