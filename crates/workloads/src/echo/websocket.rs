//! WebSocket echo (RFC 6455): every message comes back.

use crate::server::{Body, Connection, full};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

const MOST_MESSAGE: usize = 4 << 20;

/// Whether the request wants to become a WebSocket.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Agrees, and echoes messages on the connection afterwards.
pub fn answer(mut request: Request<Incoming>, connection: Connection) -> Response<Body> {
    let Some(key) = request.headers().get("sec-websocket-key").and_then(|key| key.to_str().ok()) else {
        let mut response = Response::new(full("a WebSocket needs the header Sec-WebSocket-Key\n"));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let accept = derive_accept_key(key.as_bytes());
    let offered =
        request.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.to_str().ok());
    let protocol = offered.and_then(|offered| offered.split(',').next()).map(|first| first.trim().to_owned());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => echo(TokioIo::new(upgraded), connection).await,
            Err(error) => tracing::debug!(%error, "a WebSocket did not come about"),
        }
    });
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol.and_then(|protocol| HeaderValue::from_str(&protocol).ok()) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

async fn echo(stream: TokioIo<hyper::upgrade::Upgraded>, mut connection: Connection) {
    let config =
        WebSocketConfig::default().max_message_size(Some(MOST_MESSAGE)).max_frame_size(Some(MOST_MESSAGE));
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            () = connection.drain.started() => {
                let going_away = CloseFrame { code: CloseCode::Away, reason: "the server is ending".into() };
                // The peer may be gone already, which is as good.
                let _ = socket.close(Some(going_away)).await;
                return;
            }
        };
        let outcome = match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => socket.send(message).await,
            // The library answers pings and closes.
            Some(Ok(_)) => continue,
            Some(Err(error)) => Err(error),
            None => return,
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, peer = %connection.peer, "a WebSocket ended early");
            return;
        }
    }
}
