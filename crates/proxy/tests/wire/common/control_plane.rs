//! A tiny control plane that speaks delta ADS: the test says what it sends and sees what it is asked.

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::Any;
use futures::stream::BoxStream;
use mizzen_xds::json::read;
use serde_json::Value;
use std::net::SocketAddr;

use tokio::sync::{Mutex, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// The test's side.
pub struct ControlPlane {
    pub address: SocketAddr,
    streams: mpsc::UnboundedReceiver<Stream>,
    stream: Option<Stream>,
    nonce: u64,
}

/// One open stream.
struct Stream {
    requests: mpsc::UnboundedReceiver<DeltaDiscoveryRequest>,
    responses: mpsc::UnboundedSender<Result<DeltaDiscoveryResponse, Status>>,
}

struct Service(Mutex<mpsc::UnboundedSender<Stream>>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = UnboundedReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let mut incoming = request.into_inner();
        let (seen, requests) = mpsc::unbounded_channel();
        let (responses, outgoing) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(request)) = incoming.next().await {
                if seen.send(request).is_err() {
                    break;
                }
            }
        });
        self.0.lock().await.send(Stream { requests, responses }).map_err(|_| Status::cancelled("over"))?;
        Ok(Response::new(UnboundedReceiverStream::new(outgoing)))
    }
}

impl ControlPlane {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("control plane");
        let address = listener.local_addr().expect("address");
        let (sender, streams) = mpsc::unbounded_channel();
        let service = AggregatedDiscoveryServiceServer::new(Service(Mutex::new(sender)));
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { address, streams, stream: None, nonce: 0 }
    }

    /// Waits for the proxy to open a stream.
    pub async fn connected(&mut self) {
        self.stream = self.streams.recv().await;
    }

    /// Breaks the stream.
    pub fn disconnect(&mut self) {
        self.stream = None;
    }

    /// The next request of this type.
    pub async fn request(&mut self, kind: &str) -> DeltaDiscoveryRequest {
        let stream = self.stream.as_mut().expect("a stream");
        loop {
            let request = stream.requests.recv().await.expect("a request");
            if request.type_url.ends_with(kind) {
                return request;
            }
        }
    }

    /// Sends resources given as JSON.
    pub fn send(&mut self, type_url: &str, resources: &[Value], removed: &[&str]) {
        let encode = |value: &Value| {
            let name = value.get("name").or_else(|| value.get("cluster_name"));
            let name = name.and_then(Value::as_str).expect("a name").to_owned();
            Resource {
                version: self.nonce.to_string(),
                resource: Some(Any { type_url: type_url.to_owned(), value: encoded(type_url, value) }),
                name,
                ..Resource::default()
            }
        };
        let response = DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            resources: resources.iter().map(encode).collect(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            nonce: self.nonce.to_string(),
            ..DeltaDiscoveryResponse::default()
        };
        self.nonce += 1;
        self.stream.as_ref().expect("a stream").responses.send(Ok(response)).expect("an open stream");
    }

    /// Sends and waits for the answer: `None` for an ACK, the message of a NACK otherwise.
    pub async fn push(&mut self, type_url: &str, resources: &[Value], removed: &[&str]) -> Option<String> {
        let nonce = self.nonce.to_string();
        self.send(type_url, resources, removed);
        loop {
            let request = self.request(type_url).await;
            if request.response_nonce == nonce {
                return request.error_detail.map(|status| status.message);
            }
        }
    }
}

fn encoded(type_url: &str, value: &Value) -> Vec<u8> {
    use envoy_types::pb::envoy::config::{cluster, endpoint, listener, route};
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
    use prost::Message;
    let name = type_url.rsplit('.').next().unwrap_or_default();
    match name {
        "Cluster" => read::<cluster::v3::Cluster>(value).expect("cluster").encode_to_vec(),
        "ClusterLoadAssignment" => {
            read::<endpoint::v3::ClusterLoadAssignment>(value).expect("endpoints").encode_to_vec()
        }
        "Listener" => read::<listener::v3::Listener>(value).expect("listener").encode_to_vec(),
        "RouteConfiguration" => read::<route::v3::RouteConfiguration>(value).expect("routes").encode_to_vec(),
        "VirtualHost" => read::<route::v3::VirtualHost>(value).expect("virtual host").encode_to_vec(),
        _ => read::<Secret>(value).expect("secret").encode_to_vec(),
    }
}
