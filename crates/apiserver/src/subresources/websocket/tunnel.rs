//! A byte stream inside a websocket: the messages are its bytes, whatever their borders.

use std::io;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, future};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use super::Socket;

/// The two directions of the byte stream. Reading ends when the client closes the websocket.
pub(in crate::subresources) fn open(socket: Socket) -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin) {
    let (sink, stream) = socket.split();
    let bytes = stream.filter_map(|message| {
        future::ready(match message {
            Ok(Message::Binary(data)) => Some(Ok(data)),
            // The end of the stream follows; pings are answered by the websocket itself.
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    let messages = sink
        .sink_map_err(io::Error::other)
        .with(|data: Bytes| future::ready(Ok::<_, io::Error>(Message::Binary(data))));
    (StreamReader::new(bytes), SinkWriter::new(CopyToBytes::new(messages)))
}
