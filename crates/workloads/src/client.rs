//! A small HTTP/1.1 client for calls between the services of the shop, with what a trace needs kept.

use crate::WorkloadError;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;
use tokio::time::timeout;

/// A call that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer taken.
const MOST_ANSWER: usize = 1 << 20;

/// What an application passes on so that the spans of its calls belong to its own: W3C trace context,
/// B3, and the request id (Istio's documentation on distributed tracing lists them).
const TRACING: [HeaderName; 11] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
    HeaderName::from_static("b3"),
    HeaderName::from_static("x-b3-traceid"),
    HeaderName::from_static("x-b3-spanid"),
    HeaderName::from_static("x-b3-parentspanid"),
    HeaderName::from_static("x-b3-sampled"),
    HeaderName::from_static("x-b3-flags"),
    HeaderName::from_static("x-ot-span-context"),
];

/// The headers of a request that its calls must carry.
pub fn tracing_headers(received: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in &TRACING {
        for value in received.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{url} could not be reached: {source}")]
    Unreachable { url: Uri, source: hyper_util::client::legacy::Error },
    #[error("{url} did not answer within {TIMEOUT:?}")]
    Slow { url: Uri },
    #[error("the answer of {url} broke off: {reason}")]
    Broken { url: Uri, reason: String },
    #[error("the request for {url} cannot be made: {source}")]
    Request { url: Uri, source: http::Error },
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// Calls others. Clones share connections.
#[derive(Clone)]
pub struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Default for Caller {
    fn default() -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http() }
    }
}

impl Caller {
    /// Calls `url` with these headers.
    pub async fn call(&self, method: Method, url: &Uri, headers: HeaderMap) -> Result<Answer, CallError> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .body(Full::default())
            .map_err(|source| CallError::Request { url: url.clone(), source })?;
        *request.headers_mut() = headers;
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|source| CallError::Unreachable { url: url.clone(), source })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST_ANSWER)
                .collect()
                .await
                .map_err(|error| CallError::Broken { url: url.clone(), reason: error.to_string() })?;
            Ok(Answer { status, body: body.to_bytes() })
        };
        timeout(TIMEOUT, exchange).await.map_err(|_| CallError::Slow { url: url.clone() })?
    }
}

/// Checks a URL someone configured: http, with a host.
pub fn base_url(text: &str) -> Result<Uri, WorkloadError> {
    let invalid = || WorkloadError::Url { url: text.to_owned() };
    let url: Uri = text.parse().map_err(|_| invalid())?;
    let usable = url.scheme_str() == Some("http") && url.host().is_some();
    usable.then_some(url).ok_or_else(invalid)
}

/// `path` on the same server.
pub fn at(base: &Uri, path: &str) -> Result<Uri, WorkloadError> {
    let text = format!("http://{}{path}", base.authority().map(ToString::to_string).unwrap_or_default());
    text.parse().map_err(|_| WorkloadError::Url { url: text })
}
