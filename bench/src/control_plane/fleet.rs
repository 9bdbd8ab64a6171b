//! Thousands of simulated proxies: each a TLS connection with a delta stream of its own, which comes back
//! when it breaks, as sidecars do.

use super::conversation::{Conversation, Response, Shared};
use super::credentials::connect;
use super::objects::{SERVICE_ACCOUNT, Service, Size};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
use http::uri::PathAndQuery;
use mizzen_xds::client::Backoff;
use prost::Message as _;
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

const PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Running proxies. Dropping them ends their streams.
pub struct Fleet {
    /// What they share.
    pub shared: Arc<Shared>,
    counts: Arc<Counts>,
    size: usize,
    _proxies: JoinSet<()>,
}

/// What all proxies together have received.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Received {
    /// Messages.
    pub responses: u64,
    /// Resources in them.
    pub resources: u64,
    /// Bytes of the messages, before TLS.
    pub bytes: u64,
}

#[derive(Default)]
struct Counts {
    open: AtomicUsize,
    complete: AtomicUsize,
    responses: AtomicU64,
    bytes: AtomicU64,
    /// Resources by namespace.
    resources: Vec<AtomicU64>,
}

impl Fleet {
    /// Starts `count` proxies, dealt out to the services of the mesh; `credentials` are by namespace.
    pub fn start(address: SocketAddr, credentials: &[Arc<ClientConfig>], size: Size, count: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let resources = credentials.iter().map(|_| AtomicU64::new(0)).collect();
        let counts = Arc::new(Counts { resources, ..Counts::default() });
        let mut proxies = JoinSet::new();
        for index in 0..count {
            let (service, number) = size.pod_of_proxy(index);
            let namespace = service.namespace_index();
            let Some(tls) = credentials.get(namespace).cloned() else { continue };
            let proxy = Proxy {
                address,
                tls,
                namespace,
                node: node(service, number),
                shared: shared.clone(),
                counts: counts.clone(),
            };
            proxies.spawn(proxy.live());
        }
        Self { shared, counts, size: count, _proxies: proxies }
    }

    /// How many proxies there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many have a stream.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// How many have ever got everything that they had asked for.
    pub fn complete(&self) -> usize {
        self.counts.complete.load(Ordering::Relaxed)
    }

    /// What was received until now.
    pub fn received(&self) -> Received {
        Received {
            responses: self.counts.responses.load(Ordering::Relaxed),
            resources: self.resources().iter().sum(),
            bytes: self.counts.bytes.load(Ordering::Relaxed),
        }
    }

    /// Resources received until now, by namespace.
    pub fn resources(&self) -> Vec<u64> {
        self.counts.resources.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl std::ops::Sub for Received {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            responses: self.responses - other.responses,
            resources: self.resources - other.resources,
            bytes: self.bytes - other.bytes,
        }
    }
}

/// One proxy.
struct Proxy {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    namespace: usize,
    node: Node,
    shared: Arc<Shared>,
    counts: Arc<Counts>,
}

impl Proxy {
    async fn live(self) {
        let backoff = Backoff::default().spread(&self.node.id);
        let mut conversation = Conversation::new(self.node.clone());
        let mut failures = 0;
        loop {
            let mut worked = false;
            if let Err(error) = self.stream(&mut conversation, &mut worked).await {
                tracing::debug!(node = self.node.id, "no stream: {error:#}");
            }
            failures = if worked { 1 } else { failures + 1 };
            tokio::time::sleep(backoff.after(failures)).await;
        }
    }

    /// One stream, to its end.
    async fn stream(&self, conversation: &mut Conversation, worked: &mut bool) -> anyhow::Result<()> {
        let channel = connect(self.address, self.tls.clone()).await?;
        let (requests, receiver) = mpsc::unbounded_channel();
        for request in conversation.open() {
            requests.send(request)?;
        }
        let mut grpc = Grpc::new(channel).max_decoding_message_size(usize::MAX);
        grpc.ready().await?;
        let request = tonic::Request::new(UnboundedReceiverStream::new(receiver));
        let answer = grpc.streaming(request, PathAndQuery::from_static(PATH), AdsCodec).await?;
        *worked = true;
        let _open = Open::new(&self.counts.open);
        let mut responses = answer.into_inner();
        while let Some((response, bytes)) = responses.message().await? {
            let at = Instant::now();
            self.counts.responses.fetch_add(1, Ordering::Relaxed);
            self.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            if let Some(count) = self.counts.resources.get(self.namespace) {
                count.fetch_add(response.resources.len() as u64, Ordering::Relaxed);
            }
            let incomplete = !conversation.is_complete();
            for request in conversation.receive(response, &self.shared, at)? {
                requests.send(request)?;
            }
            if incomplete && conversation.is_complete() {
                self.counts.complete.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// Counts a stream for as long as it is open.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests as they are; of responses what [`Response`] has, and the bytes of the message.
struct AdsCodec;

impl Codec for AdsCodec {
    type Encode = DeltaDiscoveryRequest;
    type Decode = (Response, usize);
    type Encoder = ProstEncoder<DeltaDiscoveryRequest>;
    type Decoder = ResponseDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ResponseDecoder
    }
}

struct ResponseDecoder;

impl Decoder for ResponseDecoder {
    type Item = (Response, usize);
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        use bytes::Buf as _;
        let bytes = buffer.remaining();
        let response = Response::decode(buffer).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some((response, bytes)))
    }
}

/// A sidecar's node, as our agent makes it.
fn node(service: Service, number: usize) -> Node {
    let (namespace, pod, address) = (service.namespace(), service.pod(number), service.address(number));
    let metadata = serde_json::json!({
        "NAMESPACE": namespace,
        "SERVICE_ACCOUNT": SERVICE_ACCOUNT,
        "ISTIO_VERSION": mizzen_base::version::ISTIO,
        "ISTIO_PROXY_SHA": format!("mizzen-{}", mizzen_base::version::MIZZEN),
        "MIZZEN_FEATURES": "istio-filters,vhds",
        "INSTANCE_IPS": address,
        "NAME": pod,
        "LABELS": service.labels(),
        "CLUSTER_ID": "Kubernetes",
        "MESH_ID": "cluster.local",
        "NODE_NAME": "simulated",
        "WORKLOAD_NAME": service.name(),
        "INTERCEPTION_MODE": "REDIRECT"
    });
    Node {
        id: format!("sidecar~{address}~{pod}.{namespace}~{namespace}.svc.cluster.local"),
        cluster: format!("{}.{namespace}", service.name()),
        metadata: Some(to_struct(&metadata)),
        user_agent_name: "mizzen".to_owned(),
        ..Node::default()
    }
}

/// Texts and objects of texts, which is all that a node's metadata has here.
fn to_struct(json: &serde_json::Value) -> Struct {
    let value = |json: &serde_json::Value| {
        let kind = match json.as_str() {
            Some(text) => Kind::StringValue(text.to_owned()),
            None => Kind::StructValue(to_struct(json)),
        };
        Value { kind: Some(kind) }
    };
    let fields = json.as_object().into_iter().flatten();
    Struct { fields: fields.map(|(name, json)| (name.clone(), value(json))).collect() }
}
