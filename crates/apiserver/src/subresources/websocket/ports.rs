//! `v4.channel.k8s.io` for port-forward: for the nth port, channel 2n is data and channel 2n+1 is for errors. Each begins
//! with a message from the server that holds the port, little-endian.

use std::sync::Arc;

use bytes::Bytes;
use futures::SinkExt as _;
use futures::stream::{SplitSink, SplitStream, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{Socket, message};
use crate::node::{NodeRuntime, PodRef};

/// Messages that may wait for one port's connection, or for the websocket.
const QUEUE: usize = 16;

/// Bytes read from a connection at a time.
const CHUNK: usize = 16 * 1024;

/// Relays until the client has left or every connection has ended.
pub(in crate::subresources) async fn relay(
    socket: Socket,
    node: Arc<dyn NodeRuntime>,
    pod: PodRef,
    ports: Vec<u16>,
) {
    // Channels are numbered in one byte.
    let ports: Vec<(u8, u16)> = (0..=u8::MAX).step_by(2).zip(ports).collect();
    let (sink, stream) = socket.split();
    let (to_client, from_ports) = mpsc::channel(QUEUE);
    let mut to_ports = Vec::new();
    let mut relays = Vec::new();
    for (channel, port) in &ports {
        let (to_port, from_client) = mpsc::channel(QUEUE);
        to_ports.push(to_port);
        relays.push(relay_port(node.clone(), pod.clone(), *port, *channel, from_client, to_client.clone()));
    }
    drop(to_client);
    let all = async {
        tokio::join!(futures::future::join_all(relays), send(sink, from_ports));
    };
    tokio::select! {
        () = all => {}
        () = distribute(stream, to_ports) => {}
    }
}

async fn send(mut sink: SplitSink<Socket, Message>, mut from_ports: mpsc::Receiver<Message>) {
    while let Some(message) = from_ports.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    let _ = sink.send(super::normal_close()).await;
    let _ = sink.close().await;
}

/// Hands the client's messages to their connections; ends when the client has left.
async fn distribute(mut stream: SplitStream<Socket>, to_ports: Vec<mpsc::Sender<Bytes>>) {
    while let Some(Ok(received)) = stream.next().await {
        match received {
            Message::Binary(data) => {
                let Some(channel) = data.first().copied().filter(|channel| channel % 2 == 0) else {
                    continue;
                };
                if let Some(to_port) = to_ports.get(usize::from(channel) / 2) {
                    // A connection that has ended takes nothing more; the others go on.
                    let _ = to_port.send(data.slice(1..)).await;
                }
            }
            Message::Close(_) => return,
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

async fn relay_port(
    node: Arc<dyn NodeRuntime>,
    pod: PodRef,
    port: u16,
    channel: u8,
    mut from_client: mpsc::Receiver<Bytes>,
    to_client: mpsc::Sender<Message>,
) {
    let error_channel = channel.saturating_add(1);
    for opened in [channel, error_channel] {
        if to_client.send(message(opened, &port.to_le_bytes())).await.is_err() {
            return;
        }
    }
    let connection = match node.connect(pod, port).await {
        Ok(connection) => connection,
        Err(error) => {
            let _ = to_client.send(message(error_channel, error.to_string().as_bytes())).await;
            return;
        }
    };
    let (mut reader, mut writer) = tokio::io::split(connection);
    let upstream = async {
        while let Some(data) = from_client.recv().await {
            if writer.write_all(&data).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    };
    let downstream = async {
        let mut buffer = vec![0; CHUNK];
        while let Ok(count) = reader.read(&mut buffer).await {
            let Some(data) = buffer.get(..count).filter(|data| !data.is_empty()) else { return };
            if to_client.send(message(channel, data)).await.is_err() {
                return;
            }
        }
    };
    // The connection is over when the pod closes it; a client that only stops sending still wants the answer.
    tokio::pin!(upstream, downstream);
    tokio::select! {
        () = &mut downstream => {}
        () = &mut upstream => downstream.await,
    }
}
