//! Moving the messages: connect, talk until the stream breaks, wait, connect again.

use super::{Handler, Protocol, delta, state_of_the_world};
use crate::TypeUrl;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use futures::future::BoxFuture;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// Longest message we take: a large mesh's first push of one type.
const LONGEST_MESSAGE: usize = 200 * 1024 * 1024;

/// Opens a channel to the server. Called for each attempt, so that rotated roots, tokens and
/// addresses are used.
pub trait Dial {
    /// A channel, and what to send with the stream's request (credentials).
    fn dial(&self) -> BoxFuture<'_, Result<(Channel, MetadataMap), DialError>>;
}

/// Why the server could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DialError(pub String);

/// Waiting times between attempts: doubled each time, started over by a stream that worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait. Three seconds by default: a proxy that finds its control plane late serves old
    /// configuration for so long, and an attempt that is refused costs next to nothing.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(10), longest: Duration::from_secs(3) }
    }
}

impl Backoff {
    /// The same with all waits stretched or shortened by up to a quarter, by the node's own measure,
    /// so that a mesh does not come back all at once.
    pub fn spread(self, node: &str) -> Self {
        let permille =
            750 + u32::try_from(crate::resource::content_hash(node.as_bytes()) % 501).unwrap_or(250);
        let stretch = |wait: Duration| wait * permille / 1000;
        Self { first: stretch(self.first), longest: stretch(self.longest) }
    }

    /// The wait after this many failures in a row.
    pub fn after(&self, failures: u32) -> Duration {
        self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.longest)
    }
}

/// How to be a client.
pub struct Settings {
    /// Who we are.
    pub node: Node,
    /// Which variant to speak.
    pub protocol: Protocol,
    /// Types to ask for, in the order of the first requests.
    pub kinds: Vec<TypeUrl>,
    /// Waiting times.
    pub backoff: Backoff,
}

/// Runs the client for ever. `changed` says that what the handler wants may have changed for other
/// reasons than an update.
pub async fn run<H: Handler>(
    settings: Settings,
    dial: impl Dial,
    handler: &mut H,
    mut changed: watch::Receiver<u64>,
) -> std::convert::Infallible {
    let backoff = settings.backoff.spread(&settings.node.id);
    let mut talk = match settings.protocol {
        Protocol::Delta => Talk::Delta(delta::Conversation::new(settings.node, &settings.kinds)),
        Protocol::StateOfTheWorld => {
            Talk::StateOfTheWorld(state_of_the_world::Conversation::new(settings.node, &settings.kinds))
        }
    };
    let mut failures = 0u32;
    loop {
        let mut worked = false;
        let end = talk.once(&dial, handler, &mut changed, &mut worked).await;
        handler.connected(false);
        failures = if worked { 1 } else { failures.saturating_add(1) };
        let wait = backoff.after(failures);
        tracing::info!(reason = %end, retry_in = ?wait, "no stream to the control plane; configuration stays as it is");
        sleep(wait).await;
    }
}

enum Talk {
    Delta(delta::Conversation),
    StateOfTheWorld(state_of_the_world::Conversation),
}

impl Talk {
    /// One stream, from connecting to its end, whose reason is returned.
    async fn once<H: Handler>(
        &mut self,
        dial: &impl Dial,
        handler: &mut H,
        changed: &mut watch::Receiver<u64>,
        worked: &mut bool,
    ) -> String {
        let (channel, credentials) = match dial.dial().await {
            Ok(dialled) => dialled,
            Err(error) => return error.to_string(),
        };
        let mut client = AggregatedDiscoveryServiceClient::new(channel)
            .max_decoding_message_size(LONGEST_MESSAGE)
            .max_encoding_message_size(LONGEST_MESSAGE);
        let status = match self {
            Talk::Delta(conversation) => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let first = conversation.open(handler);
                first.into_iter().for_each(|request| send(&sender, request));
                let request = with(credentials, UnboundedReceiverStream::new(receiver));
                match client.delta_aggregated_resources(request).await {
                    Ok(response) => {
                        let mut side = DeltaSide { conversation, handler };
                        exchange(&mut side, response.into_inner(), &sender, changed, worked).await
                    }
                    Err(status) => status,
                }
            }
            Talk::StateOfTheWorld(conversation) => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let first = conversation.open(handler);
                first.into_iter().for_each(|request| send(&sender, request));
                let request = with(credentials, UnboundedReceiverStream::new(receiver));
                match client.stream_aggregated_resources(request).await {
                    Ok(response) => {
                        let mut side = StateSide { conversation, handler };
                        exchange(&mut side, response.into_inner(), &sender, changed, worked).await
                    }
                    Err(status) => status,
                }
            }
        };
        format!("{}: {}", status.code(), status.message())
    }
}

/// What the two variants do differently.
trait Side {
    type Response;
    type Request;
    fn opened(&mut self);
    fn receive(&mut self, response: Self::Response) -> Vec<Self::Request>;
    fn follow(&mut self) -> Vec<Self::Request>;
}

struct DeltaSide<'a, H> {
    conversation: &'a mut delta::Conversation,
    handler: &'a mut H,
}

struct StateSide<'a, H> {
    conversation: &'a mut state_of_the_world::Conversation,
    handler: &'a mut H,
}

impl<H: Handler> Side for DeltaSide<'_, H> {
    type Response = envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
    type Request = envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

    fn opened(&mut self) {
        self.handler.connected(true);
    }

    fn receive(&mut self, response: Self::Response) -> Vec<Self::Request> {
        self.conversation.receive(response, self.handler)
    }

    fn follow(&mut self) -> Vec<Self::Request> {
        self.conversation.follow(self.handler)
    }
}

impl<H: Handler> Side for StateSide<'_, H> {
    type Response = envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
    type Request = envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;

    fn opened(&mut self) {
        self.handler.connected(true);
    }

    fn receive(&mut self, response: Self::Response) -> Vec<Self::Request> {
        self.conversation.receive(response, self.handler)
    }

    fn follow(&mut self) -> Vec<Self::Request> {
        self.conversation.follow(self.handler)
    }
}

async fn exchange<S: Side>(
    side: &mut S,
    mut responses: Streaming<S::Response>,
    sender: &mpsc::UnboundedSender<S::Request>,
    changed: &mut watch::Receiver<u64>,
    worked: &mut bool,
) -> Status {
    side.opened();
    loop {
        let requests = tokio::select! {
            response = responses.message() => match response {
                Ok(Some(response)) => {
                    *worked = true;
                    side.receive(response)
                }
                Ok(None) => return Status::unavailable("the server ended the stream"),
                Err(status) => return status,
            },
            Ok(()) = changed.changed() => side.follow(),
        };
        requests.into_iter().for_each(|request| send(sender, request));
    }
}

/// The stream takes what is sent; once it is broken, its end is seen on the receiving side.
fn send<T>(sender: &mpsc::UnboundedSender<T>, request: T) {
    let _ = sender.send(request);
}

fn with<T>(credentials: MetadataMap, stream: T) -> Request<T> {
    let mut request = Request::new(stream);
    *request.metadata_mut() = credentials;
    request
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
