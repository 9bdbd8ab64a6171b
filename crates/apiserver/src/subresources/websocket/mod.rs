//! Websockets with Kubernetes' channel protocols: the first byte of a message says which stream it belongs to.

pub(super) mod exec;
pub(super) mod ports;
pub(super) mod tunnel;

use std::future::Future;

use http::Request;
use http::header::{HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;

use super::upgrade::{header, serve_upgraded, switching, wants};
use crate::error::ApiError;
use crate::http::response::Answer;

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Largest message a client may send.
const MAX_MESSAGE: usize = 1024 * 1024;

/// An upgrade that can be accepted.
pub(super) struct Upgrade {
    on_upgrade: OnUpgrade,
    accept_key: String,
    /// The protocol that was agreed on.
    pub protocol: &'static str,
}

/// Reads an upgrade request. `protocols` are those spoken here, preferred first.
pub(super) fn upgrade(
    parts: &Parts,
    incoming: Incoming,
    protocols: &[&'static str],
) -> Result<Upgrade, ApiError> {
    if !wants(parts, "websocket") {
        return Err(ApiError::bad_request("Upgrade request required: this is served over a websocket"));
    }
    let key = header(parts, SEC_WEBSOCKET_KEY);
    if key.is_empty() {
        return Err(ApiError::bad_request("Sec-WebSocket-Key is missing"));
    }
    let offered: Vec<&str> = parts
        .headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .collect();
    let protocol = protocols.iter().find(|known| offered.contains(*known)).ok_or_else(|| {
        ApiError::bad_request(format!(
            "none of the websocket protocols {offered:?} is known: {protocols:?} are"
        ))
    })?;
    let accept_key = derive_accept_key(key.as_bytes());
    let on_upgrade = hyper::upgrade::on(Request::from_parts(parts.clone(), incoming));
    Ok(Upgrade { on_upgrade, accept_key, protocol })
}

impl Upgrade {
    /// Answers the upgrade and relays until the relay, or the server, is done.
    pub fn accept<F, R>(self, stopping: CancellationToken, relay: R) -> Answer
    where
        R: FnOnce(Socket) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        serve_upgraded(self.on_upgrade, stopping, |upgraded| async move {
            let config = WebSocketConfig::default()
                .max_message_size(Some(MAX_MESSAGE))
                .max_frame_size(Some(MAX_MESSAGE));
            relay(WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await).await;
        });
        let mut answer = switching("websocket");
        let headers = answer.headers_mut();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(self.protocol));
        if let Ok(key) = HeaderValue::from_str(&self.accept_key) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, key);
        }
        answer
    }
}

/// The message that ends a session in order.
pub(super) fn normal_close() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// A message of a channel.
pub(super) fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(bytes.into())
}
