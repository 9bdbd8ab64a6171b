//! Answers.

use std::io;

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{CONTENT_TYPE, HeaderValue, WARNING};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;

use super::negotiate::Accepted;
use crate::error::ApiError;
use crate::node::ByteStream;

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type Answer = Response<Body>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn streamed(stream: ByteStream) -> Body {
    StreamBody::new(stream.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

/// An answer with a body of a content type.
pub(crate) fn with_type(code: u16, content_type: &str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = HeaderValue::from_str(content_type) {
        answer.headers_mut().insert(CONTENT_TYPE, value);
    }
    answer
}

/// A JSON answer.
pub(crate) fn json(code: u16, value: &Value) -> Answer {
    with_type(code, "application/json", full(value.to_string()))
}

/// A text answer.
pub(crate) fn text(code: u16, text: impl Into<Bytes>) -> Answer {
    with_type(code, "text/plain; charset=utf-8", full(text))
}

/// An object in the accepted encoding.
pub(crate) fn object(code: u16, value: &Value, accepted: Accepted) -> Answer {
    if !accepted.yaml {
        return json(code, value);
    }
    match serde_saphyr::to_string(value) {
        Ok(text) => with_type(code, "application/yaml", full(text)),
        Err(error) => failure(&ApiError::internal(error)),
    }
}

/// The answer to a failed request.
pub(crate) fn failure(error: &ApiError) -> Answer {
    let mut answer = json(error.code, &error.status());
    if error.code == 429 {
        answer.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// Adds what the caller should know (RFC 7234 `299 - "text"`, as kubectl prints it).
pub(crate) fn warn(answer: &mut Answer, warnings: &[String]) {
    /// A header has to end somewhere; kube-apiserver's own limit for all warnings together.
    const LONGEST: usize = 4096;
    let mut used = 0;
    for warning in warnings {
        let clean: String = warning
            .chars()
            .filter(|c| !c.is_control())
            .flat_map(|c| if matches!(c, '"' | '\\') { vec!['\\', c] } else { vec![c] })
            .collect();
        used += clean.len();
        if used > LONGEST {
            break;
        }
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{clean}\"").as_bytes()) {
            answer.headers_mut().append(WARNING, value);
        }
    }
}
