//! Over a real connection, with the generated client.

use super::*;
use crate::server::testing::{World as Resources, named};
use crate::server::{Changes, Touched};
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use mizzen_base::drain::{self, DrainTrigger};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

struct Server {
    address: std::net::SocketAddr,
    resources: Resources,
    hub: Arc<Hub<Resources>>,
    drain: DrainTrigger,
}

async fn serve(resources: &[(&str, &str)], limits: Limits) -> Server {
    let resources = Resources::of(resources);
    let hub = Arc::new(Hub::default());
    let (trigger, watcher) = drain::channel();
    let options = Options {
        types: vec![TypeUrl::CLUSTER, TypeUrl::ENDPOINT, TypeUrl::LISTENER],
        identifier: "test".into(),
        limits,
    };
    let service = AdsService::new(resources.clone(), options, hub.clone(), watcher);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Server { address, resources, hub, drain: trigger }
}

struct Client {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Client {
    async fn connect(server: &Server, first: DeltaDiscoveryRequest) -> Result<Self, Status> {
        let mut client = AggregatedDiscoveryServiceClient::connect(format!("http://{}", server.address))
            .await
            .expect("connect");
        let (requests, receiver) = mpsc::channel(8);
        requests.send(first).await.expect("room");
        let responses = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Self { requests, responses })
    }

    async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        self.responses.next().await.unwrap_or_else(|| Err(Status::cancelled("ended")))
    }

    async fn acknowledge(&self, response: &DeltaDiscoveryResponse) {
        let request = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..Default::default()
        };
        self.requests.send(request).await.expect("open");
    }
}

fn first(type_url: TypeUrl, node: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node { id: node.to_owned(), ..Default::default() }),
        type_url: type_url.as_str().to_owned(),
        ..Default::default()
    }
}

fn change(generation: u64, name: &str) -> Arc<Changes> {
    Arc::new(Changes {
        generation,
        types: vec![(TypeUrl::CLUSTER, Touched::Names(Arc::from([named(name)])))],
    })
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_is_sent_everything_then_changes_and_counts_as_current_when_it_says_so() {
    let server = serve(&[("a", "1"), ("b", "1")], Limits::default()).await;
    let mut client = Client::connect(&server, first(TypeUrl::CLUSTER, "n")).await.expect("accepted");
    let response = client.next().await.expect("all");
    assert_eq!(response.resources.len(), 2);
    client.acknowledge(&response).await;

    server.resources.set("b", Some("2"));
    let connection = server.hub.connections().pop().expect("listed");
    connection.notify(&change(5, "b"));
    let response = client.next().await.expect("the change");
    assert_eq!(response.resources.iter().map(|resource| &*resource.name).collect::<Vec<_>>(), ["b"]);
    assert!(!connection.is_current(5));
    assert!(!connection.is_current(4), "it owes an answer, whatever was asked about");
    client.acknowledge(&response).await;
    until(|| connection.is_current(5)).await;
    let status = connection.status();
    assert_eq!((status.node.id.as_str(), status.live_generation, status.delta), ("n", 5, true));
    assert_eq!(status.types[0].nonce_acknowledged, response.nonce);
    assert_eq!(status.types[0].resources, 2);

    drop(client);
    until(|| server.hub.is_empty()).await;
}

#[tokio::test]
async fn a_reconnecting_client_is_sent_only_what_it_does_not_have() {
    let server = serve(&[("a", "1"), ("b", "1")], Limits::default()).await;
    let mut client = Client::connect(&server, first(TypeUrl::CLUSTER, "n")).await.expect("accepted");
    let response = client.next().await.expect("all");
    let kept = response.resources.into_iter().map(|resource| (resource.name, resource.version));
    let mut again = first(TypeUrl::CLUSTER, "n");
    again.initial_resource_versions = kept.collect();
    server.resources.set("a", Some("2"));
    let mut client = Client::connect(&server, again).await.expect("accepted");
    let response = client.next().await.expect("the difference");
    assert_eq!(response.resources.iter().map(|resource| &*resource.name).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn strangers_and_streams_without_a_node_are_refused() {
    let server = serve(&[], Limits::default()).await;
    let mut stranger = Client::connect(&server, first(TypeUrl::CLUSTER, "stranger")).await.expect("opened");
    assert_eq!(stranger.next().await.expect_err("refused").code(), tonic::Code::PermissionDenied);
    let request = DeltaDiscoveryRequest::default();
    let mut nameless = Client::connect(&server, request).await.expect("opened");
    assert_eq!(nameless.next().await.expect_err("refused").code(), tonic::Code::InvalidArgument);
    until(|| server.hub.is_empty()).await;
}

#[tokio::test]
async fn streams_are_bounded() {
    let server = serve(&[("a", "1")], Limits { streams: 1, ..Limits::default() }).await;
    let mut client = Client::connect(&server, first(TypeUrl::CLUSTER, "n")).await.expect("accepted");
    client.next().await.expect("served");
    let refused = Client::connect(&server, first(TypeUrl::CLUSTER, "n")).await.map(drop);
    assert_eq!(refused.expect_err("one too many").code(), tonic::Code::ResourceExhausted);
}

#[tokio::test]
async fn a_silent_stream_is_closed() {
    let limits = Limits { first_request: Duration::ZERO, ..Limits::default() };
    let server = serve(&[], limits).await;
    let mut client = AggregatedDiscoveryServiceClient::connect(format!("http://{}", server.address))
        .await
        .expect("connect");
    let silence = futures::stream::pending::<DeltaDiscoveryRequest>();
    let mut responses = client.delta_aggregated_resources(silence).await.expect("opened").into_inner();
    let status = responses.next().await.expect("a status").expect_err("closed");
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_drain_ends_streams_with_unavailable() {
    let server = serve(&[("a", "1")], Limits::default()).await;
    let mut client = Client::connect(&server, first(TypeUrl::CLUSTER, "n")).await.expect("accepted");
    client.next().await.expect("served");
    server.drain.start();
    assert_eq!(client.next().await.expect_err("ended").code(), tonic::Code::Unavailable);
}
