//! gRPC on the same port: any method gives back the messages it gets, unary or streaming, without
//! knowing their types. Besides, `grpc.health.v1.Health`, and `mizzen.echo.v1.Echo/Describe`, whose
//! answer has one string field (number 1) with the JSON description.

use super::controls::Controls;
use crate::server::{Body, BodyError, Connection, full};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, stream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Channel, StreamBody};
use hyper::body::{Frame, Incoming};
use mizzen_base::drain::DrainWatcher;
use prost::Message;
use std::time::Duration;
use tokio::time::timeout;

const GRPC_STATUS: &str = "grpc-status";
const UNAVAILABLE: u16 = 14;
/// How long a stream may be silent.
const SILENCE: Duration = Duration::from_secs(3600);

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    /// `SERVING` is 1 (grpc/health/v1/health.proto).
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct DescribeResponse {
    #[prost(string, tag = "1")]
    description: String,
}

/// Whether the request is gRPC (not gRPC-Web, which is another framing).
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value == "application/grpc" || value.starts_with("application/grpc+"))
}

/// Answers one call; `describe` is the JSON description.
pub fn answer(
    parts: &Parts,
    body: Incoming,
    connection: &Connection,
    controls: &Controls,
    roll: f64,
    describe: String,
) -> Response<Body> {
    let (path, headers) = (parts.uri.path(), &parts.headers);
    let status =
        if controls.fails(roll) { Some(UNAVAILABLE) } else { controls.status.filter(|status| *status != 0) };
    let mut response = match (status, path) {
        (Some(status), _) => failed(status),
        (None, "/grpc.health.v1.Health/Check") => {
            messages(vec![frame(&HealthCheckResponse { status: 1 })], None)
        }
        // A watch stays open: the caller hears of changes, of which there are none.
        (None, "/grpc.health.v1.Health/Watch") => {
            messages(vec![frame(&HealthCheckResponse { status: 1 })], Some(connection.drain.clone()))
        }
        (None, "/mizzen.echo.v1.Echo/Describe") => {
            messages(vec![frame(&DescribeResponse { description: describe })], None)
        }
        (None, _) => echo(body, headers),
    };
    let content_type = headers.get(header::CONTENT_TYPE).cloned();
    response.headers_mut().extend(content_type.map(|value| (header::CONTENT_TYPE, value)));
    for (name, value) in &controls.headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}

/// A call that fails before any message: the trailers come as headers (gRPC over HTTP/2, "Trailers-Only").
fn failed(status: u16) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::OK;
    // Callers that think in HTTP get the nearest code.
    let code = match status {
        0..=16 => status,
        400 => 3,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => UNAVAILABLE,
        _ => 2,
    };
    response.headers_mut().insert(GRPC_STATUS, HeaderValue::from(code));
    response.headers_mut().insert("grpc-message", HeaderValue::from_static("asked for by the caller"));
    response
}

/// One uncompressed message with its prefix.
fn frame(message: &impl Message) -> Bytes {
    let encoded = message.encode_to_vec();
    let mut framed = BytesMut::with_capacity(encoded.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(encoded.len()).unwrap_or(u32::MAX));
    framed.put_slice(&encoded);
    framed.freeze()
}

fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

/// Sends messages; with `until` the call stays open until the server ends.
fn messages(frames: Vec<Bytes>, until: Option<DrainWatcher>) -> Response<Body> {
    let messages = stream::iter(frames.into_iter().map(Frame::data));
    let end = stream::once(async move {
        if let Some(mut drain) = until {
            drain.started().await;
        }
        Frame::trailers(ok_trailers())
    });
    Response::new(StreamBody::new(messages.chain(end).map(Ok::<_, BodyError>)).boxed_unsync())
}

/// Gives every message back as it comes, framing and compression untouched.
fn echo(mut received: Incoming, headers: &HeaderMap) -> Response<Body> {
    let (mut sender, body) = Channel::<Bytes, BodyError>::new(8);
    tokio::spawn(async move {
        loop {
            match timeout(SILENCE, received.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if sender.send_data(data).await.is_err() {
                        return;
                    }
                }
                Ok(Some(Err(error))) => return sender.abort(Box::new(error)),
                Ok(None) | Err(_) => break,
            }
        }
        let _ = sender.send_trailers(ok_trailers()).await;
    });
    let mut response = Response::new(body.boxed_unsync());
    let encoding = headers.get("grpc-encoding").cloned();
    response
        .headers_mut()
        .extend(encoding.map(|value| (http::HeaderName::from_static("grpc-encoding"), value)));
    response
}
