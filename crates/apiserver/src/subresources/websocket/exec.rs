//! `v5.channel.k8s.io` and `v4.channel.k8s.io`: a command's streams over one websocket.

use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use futures::stream::{self, SplitSink, SplitStream, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{Socket, message};
use crate::node::{ByteStream, ExecSession, NodeError, TerminalSize};
use crate::object::integer;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const OUTCOME: u8 = 3;
const RESIZE: u8 = 4;
/// Version 5: the next byte names a channel that the client has closed.
const CLOSE: u8 = 255;

/// How long output may go on after the command has ended; a child left behind may hold the stream open for ever.
const DRAIN: Duration = Duration::from_secs(5);

/// Relays a session until the command or the client is done.
pub(in crate::subresources) async fn relay(socket: Socket, session: ExecSession) {
    let (sink, stream) = socket.split();
    let ExecSession { stdin, stdout, stderr, resize, exit } = session;
    let input = take_input(stream, stdin, resize);
    let output = send_output(sink, [(STDOUT, stdout), (STDERR, stderr)], exit);
    tokio::select! {
        () = input => tracing::debug!("the client left before the command ended"),
        () = output => {}
    }
}

/// Hands the client's messages on. Ends when the client has left, not when it has closed its input.
async fn take_input(
    mut stream: SplitStream<Socket>,
    mut stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
) {
    while let Some(Ok(received)) = stream.next().await {
        let data: Bytes = match received {
            Message::Binary(data) => data,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        match data.split_first() {
            Some((&STDIN, rest)) => {
                if let Some(open) = &mut stdin
                    && (open.write_all(rest).await.is_err() || open.flush().await.is_err())
                {
                    // The command no longer reads. It goes on, and so do its outputs.
                    stdin = None;
                }
            }
            Some((&RESIZE, rest)) => {
                if let (Some(resize), Some(size)) = (&resize, terminal_size(rest)) {
                    // Only the newest size counts; a full queue will bring another.
                    let _ = resize.try_send(size);
                }
            }
            Some((&CLOSE, [STDIN])) => {
                if let Some(mut open) = stdin.take() {
                    let _ = open.shutdown().await;
                }
            }
            _ => {}
        }
    }
}

/// `{"Width":80,"Height":24}`.
fn terminal_size(data: &[u8]) -> Option<TerminalSize> {
    let size: Value = serde_json::from_slice(data).ok()?;
    let side = |name| u16::try_from(integer(&size, &[name])?).ok();
    Some(TerminalSize { width: side("Width")?, height: side("Height")? })
}

/// Sends what the command writes and then how it ended.
async fn send_output(
    mut sink: SplitSink<Socket, Message>,
    outputs: [(u8, Option<ByteStream>); 2],
    exit: impl Future<Output = Result<i32, NodeError>>,
) {
    let streams = outputs
        .into_iter()
        .filter_map(|(channel, output)| Some(output?.map(move |chunk| (channel, chunk)).boxed()));
    let mut merged = stream::select_all(streams);
    tokio::pin!(exit);
    let mut ended = None;
    let drained = tokio::time::sleep(DRAIN);
    tokio::pin!(drained);
    loop {
        tokio::select! {
            next = merged.next() => match next {
                Some((channel, Ok(chunk))) => {
                    if sink.send(message(channel, &chunk)).await.is_err() {
                        return;
                    }
                }
                Some((_, Err(error))) => tracing::debug!(%error, "an output of a command broke"),
                None => break,
            },
            outcome = &mut exit, if ended.is_none() => {
                ended = Some(outcome);
                drained.as_mut().reset(tokio::time::Instant::now() + DRAIN);
            }
            () = &mut drained, if ended.is_some() => break,
        }
    }
    let outcome = match ended {
        Some(outcome) => outcome,
        None => exit.await,
    };
    let _ = sink.send(message(OUTCOME, status(&outcome).to_string().as_bytes())).await;
    // kubectl takes any other close than a normal one for a broken stream.
    let _ = sink.send(super::normal_close()).await;
    let _ = sink.close().await;
}

/// How a command ended, as a `Status`.
fn status(outcome: &Result<i32, NodeError>) -> Value {
    match outcome {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => super::super::streams::node_failure(error).status(),
    }
}
