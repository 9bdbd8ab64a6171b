//! The echo application: answers with what reached it, and delays, fails or streams on request. It
//! stands in for images that have no local program.

mod controls;
mod description;
mod grpc;
mod websocket;

use crate::server::{self, Application, Body, BodyError, Connection, RawStream, full};
use crate::{Identity, WorkloadError, log};
use bytes::Bytes;
use controls::Controls;
use description::{Description, protocol};
use futures::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const CHUNK: usize = 16 * 1024;
static FILLER: [u8; CHUNK] = [b'x'; CHUNK];
/// How long a caller may pause within a body or a TCP conversation.
const SILENCE: Duration = Duration::from_secs(3600);

/// How to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Ports to listen on; each takes HTTP/1.1, HTTP/2 without TLS, gRPC, WebSocket and plain TCP
    #[arg(long = "port", env = "MIZZEN_ECHO_PORTS", value_delimiter = ',', default_values_t = [8080])]
    pub ports: Vec<u16>,
    /// Greet every connection first and then echo its bytes, as mail and database servers do
    #[arg(long, env = "MIZZEN_ECHO_SERVER_FIRST")]
    pub server_first: bool,
}

/// Runs until told to end.
pub async fn run(options: Options) -> Result<(), WorkloadError> {
    let echo = Echo { identity: Identity::of_this_process(), server_first: options.server_first };
    log::line(&format!("echo {} listens on {:?}", echo.identity.pod, options.ports));
    server::run(&options.ports, echo).await
}

/// The application.
pub struct Echo {
    pub identity: Identity,
    pub server_first: bool,
}

impl Application for Echo {
    async fn answer(&self, request: Request<Incoming>, connection: Connection) -> Response<Body> {
        let began = Instant::now();
        let (method, version, peer) = (request.method().clone(), request.version(), connection.peer);
        let path = request.uri().path().to_owned();
        let response = self.respond(request, connection).await;
        log::request(&method, &path, protocol(version), response.status(), began.elapsed(), peer);
        response
    }

    async fn raw(&self, mut stream: RawStream, mut connection: Connection) {
        let began = Instant::now();
        let mut echoed = 0_u64;
        if self.server_first {
            let greeting = format!("220 {} ready\r\n", self.identity.pod);
            if stream.write_all(greeting.as_bytes()).await.is_err() {
                return;
            }
        }
        let mut buffer = vec![0_u8; CHUNK];
        loop {
            let read = tokio::select! {
                read = timeout(SILENCE, stream.read(&mut buffer)) => read,
                () = connection.drain.started() => break,
            };
            let Ok(Ok(count @ 1..)) = read else { break };
            if stream.write_all(buffer.get(..count).unwrap_or_default()).await.is_err() {
                break;
            }
            echoed += count as u64;
        }
        // The peer may be gone already.
        let _ = stream.shutdown().await;
        log::line(&format!(
            "TCP {echoed} bytes {:.1}ms {}",
            began.elapsed().as_secs_f64() * 1000.0,
            connection.peer
        ));
    }

    fn speaks_first(&self) -> bool {
        self.server_first
    }
}

impl Echo {
    async fn respond(&self, request: Request<Incoming>, connection: Connection) -> Response<Body> {
        if request.method() == Method::CONNECT {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "echo is no proxy: CONNECT is refused");
        }
        let controls = match controls::parse(request.uri().query(), request.headers()) {
            Ok(controls) => controls,
            Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        if !controls.delay.is_zero() {
            tokio::time::sleep(controls.delay).await;
        }
        if controls.close {
            connection.close.notify_one();
        }
        let roll = rand::random::<f64>();
        if grpc::is_grpc(request.headers()) {
            let (parts, body) = request.into_parts();
            let describe =
                Description::of(&self.identity, &parts, connection.peer, 0).render(controls.format).0;
            return grpc::answer(&parts, body, &connection, &controls, roll, describe);
        }
        if websocket::is_upgrade(request.headers()) {
            return websocket::answer(request, connection);
        }
        // `h2c` may be ignored (RFC 9113, 3.1); anything else the caller counts on.
        let upgrade = request.headers().get(header::UPGRADE).map(HeaderValue::as_bytes);
        if upgrade.is_some_and(|upgrade| !upgrade.eq_ignore_ascii_case(b"h2c")) {
            return refusal(StatusCode::NOT_IMPLEMENTED, "of upgrades only websocket is done");
        }
        let says_close = controls.close && request.version() < http::Version::HTTP_2;
        let mut response = self.http(request, &connection, &controls, roll).await;
        if says_close {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        for (name, value) in controls.headers {
            response.headers_mut().append(name, value);
        }
        response
    }

    async fn http(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
        controls: &Controls,
        roll: f64,
    ) -> Response<Body> {
        let status = if controls.fails(roll) { Some(503) } else { controls.status };
        let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK);
        let (parts, body) = request.into_parts();
        let mut response = if parts.uri.path() == "/echo" {
            let mut response =
                Response::new(body.map_err(|error| Box::new(error) as BodyError).boxed_unsync());
            let content_type = parts.headers.get(header::CONTENT_TYPE).cloned();
            response.headers_mut().extend(content_type.map(|value| (header::CONTENT_TYPE, value)));
            response
        } else {
            let received = match consume(body).await {
                Ok(received) => received,
                Err(reason) => return refusal(StatusCode::BAD_REQUEST, &reason),
            };
            if let Some(bytes) = controls.bytes {
                filler(bytes)
            } else if let Some(chunks) = controls.stream {
                chunked(chunks, controls.interval)
            } else {
                let description = Description::of(&self.identity, &parts, connection.peer, received);
                let (text, content_type) = description.render(controls.format);
                let mut response = Response::new(full(text));
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
                response
            }
        };
        *response.status_mut() = status;
        response
    }
}

/// Reads a body to its end and counts it.
async fn consume(mut body: Incoming) -> Result<u64, String> {
    let mut received = 0_u64;
    loop {
        match timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => received += frame.data_ref().map_or(0, Bytes::len) as u64,
            Ok(Some(Err(error))) => return Err(format!("the body broke off: {error}")),
            Ok(None) => return Ok(received),
            Err(_) => return Err("the body stalled".to_owned()),
        }
    }
}

/// A body of so many bytes.
fn filler(bytes: u64) -> Response<Body> {
    let chunks = stream::unfold(bytes, |left| async move {
        let size = usize::try_from(left.min(CHUNK as u64)).unwrap_or(CHUNK);
        (left > 0).then(|| {
            let data = Bytes::from_static(FILLER.get(..size).unwrap_or_default());
            (Ok::<_, BodyError>(Frame::data(data)), left - size as u64)
        })
    });
    let mut response = Response::new(StreamBody::new(chunks).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    response
}

/// A body of so many lines, one after each interval.
fn chunked(chunks: u32, interval: Duration) -> Response<Body> {
    let lines = stream::unfold(0_u32, move |sent| async move {
        if sent >= chunks {
            return None;
        }
        if sent > 0 && !interval.is_zero() {
            tokio::time::sleep(interval).await;
        }
        let line = format!("{{\"chunk\":{},\"of\":{chunks}}}\n", sent + 1);
        Some((Ok::<_, BodyError>(Frame::data(Bytes::from(line))), sent + 1))
    });
    let mut response = Response::new(StreamBody::new(lines).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

fn refusal(status: StatusCode, reason: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{reason}\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
#[path = "echo_tests.rs"]
mod tests;
