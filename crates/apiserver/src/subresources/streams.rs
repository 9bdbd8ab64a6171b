//! Logs, commands and port-forwards: streams between a client and the node.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request};
use hyper::body::Incoming;
use serde_json::Value;

use super::{options, port_forward, upgrade, websocket};
use crate::admission::{self, Review};
use crate::api::Api;
use crate::error::ApiError;
use crate::http::response::{self, Answer};
use crate::http::service::Call;
use crate::node::{AttachRequest, ByteStream, ExecRequest, NodeError, PodRef};

const SPDY: &str = "SPDY/3.1";
const PORT_FORWARD: &str = "portforward.k8s.io";
/// SPDY's bytes inside a websocket: kubectl from 1.31 on.
const TUNNELLED: &str = "SPDY/3.1+portforward.k8s.io";
/// What ports are forwarded over in a websocket, preferred first.
const PORT_FORWARD_PROTOCOLS: [&str; 3] = [TUNNELLED, "v4.channel.k8s.io", PORT_FORWARD];
/// Kubernetes' header for what is spoken inside SPDY.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Answers of the node that failed, as a kubelet answers them.
pub(super) fn node_failure(error: &NodeError) -> ApiError {
    match error {
        NodeError::NotRunning { .. } | NodeError::NoPreviousContainer { .. } | NodeError::Unsupported(_) => {
            ApiError::bad_request(error.to_string())
        }
        NodeError::CannotStart { .. } | NodeError::CannotConnect { .. } | NodeError::Failed(_) => {
            ApiError::internal(error)
        }
    }
}

/// `pods/NAME/log`.
pub(super) async fn log(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let (namespace, name, _) = call.place();
    let pod = api.find(&call.resource, namespace, name)?;
    let request = options::log_request(&pod.object, &call.query)?;
    let limit = request.limit_bytes;
    let stopping = api.stopping.clone();
    let stream = api.node.logs(request).await.map_err(|error| node_failure(&error))?;
    let stream = stream.take_until(stopping.cancelled_owned()).boxed();
    let stream = match limit {
        Some(limit) => limited(stream, limit),
        None => stream,
    };
    Ok(response::with_type(200, "text/plain", response::streamed(stream)))
}

/// The first bytes of a stream.
fn limited(stream: ByteStream, limit: u64) -> ByteStream {
    stream::unfold((stream, limit), |(mut stream, left)| async move {
        if left == 0 {
            return None;
        }
        match stream.next().await? {
            Ok(chunk) => {
                let keep = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let chunk: Bytes = chunk.slice(..keep);
                Some((Ok(chunk), (stream, left - keep as u64)))
            }
            Err(error) => Some((Err(error), (stream, 0))),
        }
    })
    .boxed()
}

/// Webhooks may have a say about connecting.
async fn admit(api: &Api, call: &Call) -> Result<(), ApiError> {
    let options = call.write_options()?;
    let (namespace, name, subresource) = call.place();
    let review = Review {
        operation: "CONNECT",
        resource: &call.resource,
        subresource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        old: None,
        options: &options,
    };
    let mut warnings = Vec::new();
    admission::mutate(api, &review, Value::Null, &mut warnings).await?;
    admission::validate(api, &review, &Value::Null, &mut warnings).await
}

/// `pods/NAME/exec` and `pods/NAME/attach`.
pub(super) async fn execute(
    api: &Arc<Api>,
    call: &Call,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Answer, ApiError> {
    let (namespace, name, subresource) = call.place();
    let stored = api.find(&call.resource, namespace, name)?;
    let container = options::container(&stored.object, &call.query)?;
    let pod = options::pod_ref(&stored.object);
    let (stdin, stdout, tty) =
        (call.query.flag("stdin")?, call.query.flag("stdout")?, call.query.flag("tty")?);
    // A terminal has one output.
    let stderr = call.query.flag("stderr")? && !tty;
    if !stdin && !stdout && !stderr {
        return Err(ApiError::bad_request("you must specify at least one of stdin, stdout, stderr"));
    }
    let upgrade = websocket::upgrade(parts, incoming, &["v5.channel.k8s.io", "v4.channel.k8s.io"])?;
    admit(api, call).await?;
    let session = if subresource == "attach" {
        api.node.attach(AttachRequest { pod, container, stdin, stdout, stderr, tty }).await
    } else {
        let command: Vec<String> = call.query.all("command").map(str::to_owned).collect();
        if command.is_empty() {
            return Err(ApiError::bad_request("you must specify a command to execute"));
        }
        api.node.exec(ExecRequest { pod, container, command, stdin, stdout, stderr, tty }).await
    };
    let session = session.map_err(|error| node_failure(&error))?;
    Ok(upgrade.accept(api.stopping.clone(), move |socket| websocket::exec::relay(socket, session)))
}

/// `pods/NAME/portforward`.
pub(super) async fn forward(
    api: &Arc<Api>,
    call: &Call,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Answer, ApiError> {
    let (namespace, name, _) = call.place();
    let stored = api.find(&call.resource, namespace, name)?;
    let pod = options::pod_ref(&stored.object);
    let mut ports = Vec::new();
    for text in call.query.all("ports").flat_map(|list| list.split(',')).filter(|text| !text.is_empty()) {
        let port = text.parse::<u16>().ok().filter(|port| *port > 0);
        ports.push(port.ok_or_else(|| {
            ApiError::bad_request(format!("{text:?} is not a port: must be between 1 and 65535"))
        })?);
    }
    admit(api, call).await?;
    let node = api.node.clone();
    if call.method != Method::GET {
        return forward_over_spdy(api, parts, incoming, pod);
    }
    let upgrade = websocket::upgrade(parts, incoming, &PORT_FORWARD_PROTOCOLS)?;
    if upgrade.protocol == TUNNELLED {
        return Ok(upgrade.accept(api.stopping.clone(), move |socket| async move {
            let (reader, writer) = websocket::tunnel::open(socket);
            port_forward::serve(reader, writer, node, pod).await;
        }));
    }
    if ports.is_empty() {
        return Err(ApiError::bad_request("query parameter \"ports\" is required"));
    }
    Ok(upgrade.accept(api.stopping.clone(), move |socket| websocket::ports::relay(socket, node, pod, ports)))
}

/// How kubectl up to 1.30, and newer ones behind proxies that break websockets, forward ports.
fn forward_over_spdy(api: &Api, parts: &Parts, incoming: Incoming, pod: PodRef) -> Result<Answer, ApiError> {
    if !upgrade::wants(parts, SPDY) {
        return Err(ApiError::bad_request("Upgrade request required: ports are forwarded over SPDY/3.1"));
    }
    let offered = upgrade::header(parts, STREAM_PROTOCOL);
    if !offered.split(',').any(|protocol| protocol.trim() == PORT_FORWARD) {
        return Err(ApiError::bad_request(format!(
            "none of the protocols {offered:?} in X-Stream-Protocol-Version is known: {PORT_FORWARD} is"
        )));
    }
    let on_upgrade = hyper::upgrade::on(Request::from_parts(parts.clone(), incoming));
    let node = api.node.clone();
    upgrade::serve_upgraded(on_upgrade, api.stopping.clone(), |connection| async move {
        let (reader, writer) = tokio::io::split(connection);
        port_forward::serve(reader, writer, node, pod).await;
    });
    let mut answer = upgrade::switching(SPDY);
    answer.headers_mut().insert(STREAM_PROTOCOL, HeaderValue::from_static(PORT_FORWARD));
    Ok(answer)
}
