//! `portforward.k8s.io` over SPDY, as kubectl speaks it: for each connection the client opens a stream for errors and
//! one for data, with the port and the same request id.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::node::{AsyncReadWrite, NodeRuntime, PodRef};
use crate::spdy::{self, Arrival, Headers, Input, Output, Stream};

/// Connections of which only one stream has been opened.
const MOST_HALVES: usize = 64;

/// Bytes read from a connection at a time.
const CHUNK: usize = 16 * 1024;

/// Forwards a session's connections to the pod, until the client leaves.
pub(super) async fn serve(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    node: Arc<dyn NodeRuntime>,
    pod: PodRef,
) {
    let name = pod.name.clone();
    let mut forwarder = Forwarder { node, pod, halves: HashMap::new(), relays: JoinSet::new() };
    if let Err(error) = spdy::serve(reader, writer, |stream| forwarder.accept(stream)).await {
        tracing::debug!(pod = name, %error, "a port-forward was ended");
    }
}

/// What a stream is for.
enum Half {
    Error(Output),
    Data(Input, Output),
}

struct Forwarder {
    node: Arc<dyn NodeRuntime>,
    pod: PodRef,
    /// By request id: connections whose other stream is still to come.
    halves: HashMap<String, Half>,
    relays: JoinSet<()>,
}

impl Forwarder {
    fn accept(&mut self, stream: Stream) -> Result<(), String> {
        while self.relays.try_join_next().is_some() {}
        let (port, request) = read_headers(&stream.headers)?;
        let half = match stream.headers.get("streamtype") {
            Some("error") => Half::Error(stream.output),
            Some("data") => Half::Data(stream.input, stream.output),
            other => return Err(format!("streamtype must be \"error\" or \"data\", not {other:?}")),
        };
        match (self.halves.remove(&request), half) {
            (Some(Half::Error(error)), Half::Data(input, output))
            | (Some(Half::Data(input, output)), Half::Error(error)) => {
                let (node, pod) = (self.node.clone(), self.pod.clone());
                self.relays.spawn(forward(node, pod, port, input, output, error));
                Ok(())
            }
            (Some(_), _) => Err(format!("request {request} has opened the same stream twice")),
            (None, _) if self.halves.len() >= MOST_HALVES => {
                Err(format!("{MOST_HALVES} connections wait for their second stream"))
            }
            (None, half) => {
                self.halves.insert(request, half);
                Ok(())
            }
        }
    }
}

/// Port and request id.
fn read_headers(headers: &Headers) -> Result<(u16, String), String> {
    let port = headers.get("port").unwrap_or_default();
    let number = port.parse::<u16>().ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| format!("{port:?} is not a port"))?;
    let request = headers.get("requestid").ok_or("the header requestID is missing")?;
    Ok((number, request.to_owned()))
}

/// One connection, from its begin to its end.
async fn forward(
    node: Arc<dyn NodeRuntime>,
    pod: PodRef,
    port: u16,
    input: Input,
    output: Output,
    errors: Output,
) {
    match node.connect(pod.clone(), port).await {
        Ok(connection) => copy(connection, input, &output).await,
        Err(error) => {
            // In the words of a kubelet, which people know to look for.
            let PodRef { name, uid, .. } = pod;
            let text = format!("error forwarding port {port} to pod {name}, uid {uid}: {error}");
            errors.send(Bytes::from(text)).await;
        }
    }
    // The client takes the end of the data for the end of the connection, and reads the errors before.
    errors.finish().await;
    output.finish().await;
}

/// Copies both ways until the pod has sent all it will. A client that only stops sending still wants the answer.
async fn copy(connection: Box<dyn AsyncReadWrite>, mut input: Input, output: &Output) {
    let (mut reader, mut writer) = tokio::io::split(connection);
    let upstream = async {
        loop {
            match input.next().await {
                Some(Arrival::Data(data)) => {
                    if writer.write_all(&data).await.is_err() {
                        // The pod reads no more; it may still have something to say.
                        return std::future::pending().await;
                    }
                }
                Some(Arrival::End) => {
                    // Fails only when the pod has closed already.
                    let _ = writer.shutdown().await;
                    return std::future::pending().await;
                }
                None => return,
            }
        }
    };
    let downstream = async {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        while let Ok(1..) = reader.read_buf(&mut buffer).await {
            if !output.send(buffer.split().freeze()).await {
                return;
            }
            buffer.reserve(CHUNK);
        }
    };
    tokio::select! {
        () = upstream => {}
        () = downstream => {}
    }
}
