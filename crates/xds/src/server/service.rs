//! The gRPC service: one task a stream, which waits for requests, changes and room to send.

use super::codec::{AdsCodec, Response, ResponseKind};
use super::connection::{Connection, Hub, Listed};
use super::conversation::{Conversation, Request};
use super::held::Lists;
use super::source::Source;
use crate::TypeUrl;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use futures::StreamExt;
use futures::stream::BoxStream;
use mizzen_base::drain::DrainWatcher;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{Body, BoxFuture, Service, StdError};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Status, Streaming};

const DELTA_PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const WORLD_PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// What one client, and all together, may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open streams at a time.
    pub streams: usize,
    /// Names of one type on one stream.
    pub names: usize,
    /// Bytes of one request.
    pub request_bytes: usize,
    /// From the opening of a stream to its first request.
    pub first_request: Duration,
    /// How long a client may leave a response unread before its stream is ended.
    pub send: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 20_000,
            names: 100_000,
            request_bytes: 16 << 20,
            first_request: Duration::from_secs(10),
            send: Duration::from_secs(60),
        }
    }
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// The types served; requests for others get no answer.
    pub types: Vec<TypeUrl>,
    /// Sent as `control_plane.identifier` with every response.
    pub identifier: Arc<str>,
    /// Bounds.
    pub limits: Limits,
}

/// Aggregated discovery over `S`, to be added to a `tonic` server's routes.
pub struct AdsService<S: Source> {
    shared: Arc<Shared<S>>,
}

struct Shared<S: Source> {
    source: S,
    options: Options,
    hub: Arc<Hub<S::Session>>,
    drain: DrainWatcher,
    lists: Arc<Lists>,
}

impl<S: Source> AdsService<S> {
    /// A service that lists its streams in `hub` and ends them when `drain` starts.
    pub fn new(source: S, options: Options, hub: Arc<Hub<S::Session>>, drain: DrainWatcher) -> Self {
        Self { shared: Arc::new(Shared { source, options, hub, drain, lists: Arc::default() }) }
    }
}

impl<S: Source> Clone for AdsService<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S: Source> NamedService for AdsService<S> {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl<S, B> Service<http::Request<B>> for AdsService<S>
where
    S: Source,
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shared = self.shared.clone();
        let limit = Some(shared.options.limits.request_bytes);
        match request.uri().path() {
            DELTA_PATH => Box::pin(async move {
                let mut grpc = Grpc::new(AdsCodec::<DeltaDiscoveryRequest>::default())
                    .apply_max_message_size_config(limit, Some(usize::MAX));
                Ok(grpc.streaming(Delta(shared), request).await)
            }),
            WORLD_PATH => Box::pin(async move {
                let mut grpc = Grpc::new(AdsCodec::<DiscoveryRequest>::default())
                    .apply_max_message_size_config(limit, Some(usize::MAX));
                Ok(grpc.streaming(World(shared), request).await)
            }),
            path => {
                let status = Status::unimplemented(format!("{path} is not served here"));
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}

struct Delta<S: Source>(Arc<Shared<S>>);
struct World<S: Source>(Arc<Shared<S>>);

type Responses = ReceiverStream<Result<Response, Status>>;
type Requests = BoxStream<'static, Result<Request, Status>>;

impl<S: Source> StreamingService<DeltaDiscoveryRequest> for Delta<S> {
    type Response = Response;
    type ResponseStream = Responses;
    type Future = BoxFuture<tonic::Response<Responses>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        let (_, extensions, requests) = request.into_parts();
        let requests = requests.map(|request| request.map(Request::Delta)).boxed();
        let responses = open(self.0.clone(), ResponseKind::Delta, extensions, requests);
        Box::pin(std::future::ready(responses))
    }
}

impl<S: Source> StreamingService<DiscoveryRequest> for World<S> {
    type Response = Response;
    type ResponseStream = Responses;
    type Future = BoxFuture<tonic::Response<Responses>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        let (_, extensions, requests) = request.into_parts();
        let requests = requests.map(|request| request.map(Request::World)).boxed();
        let responses = open(self.0.clone(), ResponseKind::World, extensions, requests);
        Box::pin(std::future::ready(responses))
    }
}

/// Starts a stream's task.
fn open<S: Source>(
    shared: Arc<Shared<S>>,
    kind: ResponseKind,
    extensions: http::Extensions,
    requests: Requests,
) -> Result<tonic::Response<Responses>, Status> {
    if shared.hub.len() >= shared.options.limits.streams {
        return Err(Status::resource_exhausted("too many open streams; try another replica or later"));
    }
    // One response in the channel and one at the transport: the newest state is pulled as late as
    // possible.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(status) = converse(shared, kind, &extensions, requests, &sender).await {
            // A client that is gone needs no status.
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(tonic::Response::new(ReceiverStream::new(receiver)))
}

/// Runs a stream to its end: `Ok` when the client has ended it.
async fn converse<S: Source>(
    shared: Arc<Shared<S>>,
    kind: ResponseKind,
    extensions: &http::Extensions,
    mut requests: Requests,
    sender: &mpsc::Sender<Result<Response, Status>>,
) -> Result<(), Status> {
    let limits = shared.options.limits;
    let first = tokio::time::timeout(limits.first_request, requests.next())
        .await
        .map_err(|_| Status::deadline_exceeded("no request on this stream; it is closed"))?;
    let Some(mut first) = first.transpose()? else { return Ok(()) };
    let node = take_node(&mut first)
        .ok_or_else(|| Status::invalid_argument("the first request on a stream must carry the node"))?;
    let session = shared.source.connect(&node, extensions)?;
    let id = shared.hub.next_id();
    let conversation = Conversation::new(
        id,
        &shared.options.types,
        limits.names,
        shared.options.identifier.clone(),
        shared.lists.clone(),
    );
    let listed = Listed::new(shared.hub.clone(), Connection::new(id, node, kind, session, conversation));
    let connection = listed.connection.clone();
    connection.receive(first)?;
    let mut drain = shared.drain.clone();
    let mut stalled_at: Option<Instant> = None;
    loop {
        let sending = connection.wants_to_send();
        let deadline = match stalled_at {
            Some(deadline) if sending => deadline,
            _ => Instant::now() + limits.send,
        };
        stalled_at = sending.then_some(deadline);
        tokio::select! {
            request = requests.next() => match request {
                Some(request) => connection.receive(request?)?,
                None => return Ok(()),
            },
            () = connection.notified() => connection.absorb(),
            permit = sender.reserve(), if sending => {
                let Ok(permit) = permit else { return Ok(()) };
                stalled_at = None;
                if let Some(response) = connection.next() {
                    permit.send(Ok(response));
                }
            }
            () = tokio::time::sleep_until(deadline), if sending => {
                return Err(Status::deadline_exceeded("the client does not read; its stream is closed"));
            }
            () = drain.started() => {
                return Err(Status::unavailable("the control plane is shutting down; connect to another"));
            }
        }
    }
}

fn take_node(request: &mut Request) -> Option<Node> {
    match request {
        Request::Delta(request) => request.node.take(),
        Request::World(request) => request.node.take(),
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
