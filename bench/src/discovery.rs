//! A control plane with nothing but one route configuration, and what a change of it costs a proxy.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::Any;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use mizzen_xds::TypeUrl;
use prost::Message as _;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tonic::{Request, Response, Status, Streaming};

/// How long a proxy may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is served now.
#[derive(Clone, Default)]
struct Served {
    version: u64,
    routes: Bytes,
}

/// The control plane; it ends with this.
pub struct Discovery {
    served: watch::Sender<Served>,
    answers: mpsc::Receiver<Result<u64, String>>,
    /// Dropping it ends the thread.
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Discovery {
    /// Serves `routes` to whoever asks at `address`.
    pub fn start(address: SocketAddr, routes: &RouteConfiguration) -> anyhow::Result<Self> {
        let (served, watched) = watch::channel(Served { version: 1, routes: routes.encode_to_vec().into() });
        let (answered, answers) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = runtime.block_on(tokio::net::TcpListener::bind(address))?;
        let service = Service { served: watched, answered };
        std::thread::Builder::new().name("discovery".to_owned()).spawn(move || {
            let serving = tonic::transport::Server::builder()
                .add_service(
                    AggregatedDiscoveryServiceServer::new(service).max_encoding_message_size(usize::MAX),
                )
                .serve_with_incoming(TcpListenerStream::new(socket));
            runtime.block_on(futures::future::select(Box::pin(serving), stopped));
        })?;
        Ok(Self { served, answers, _stop: stop })
    }

    /// Waits until the proxy has taken what is served now.
    pub fn taken(&self) -> anyhow::Result<()> {
        let version = self.served.borrow().version;
        loop {
            match self.answers.recv_timeout(PATIENCE).context("the proxy does not answer")? {
                Ok(taken) if taken == version => return Ok(()),
                Ok(_) => {}
                Err(refusal) => bail!("refused: {refusal}"),
            }
        }
    }

    /// Serves other routes, and waits until the proxy has taken them.
    pub fn change(&self, routes: &RouteConfiguration) -> anyhow::Result<()> {
        let routes = routes.encode_to_vec().into();
        self.served.send_modify(|served| *served = Served { version: served.version + 1, routes });
        self.taken()
    }
}

struct Service {
    served: watch::Receiver<Served>,
    answered: mpsc::Sender<Result<u64, String>>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let mut requests = request.into_inner();
        let answered = self.answered.clone();
        let (asked, asking) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut asked = Some(asked);
            while let Some(Ok(request)) = requests.next().await {
                if request.type_url != TypeUrl::ROUTE.as_str() {
                    continue;
                }
                asked.take().map(|asked| asked.send(()));
                let answer = match request.error_detail {
                    Some(error) => Err(error.message),
                    None => Ok(request.response_nonce.parse().unwrap_or_default()),
                };
                // Nobody listens when the run is over.
                let _ = answered.send(answer);
            }
        });
        let served = WatchStream::new(self.served.clone()).map(|served| Ok(response(served)));
        // Nothing is sent that was not asked for.
        let responses =
            futures::stream::once(asking).flat_map(move |_| futures::stream::empty()).chain(served);
        Ok(Response::new(Box::pin(responses)))
    }

    async fn delta_aggregated_resources(
        &self,
        _request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("only the state of the world"))
    }
}

fn response(served: Served) -> DiscoveryResponse {
    let kind = TypeUrl::ROUTE.as_str().to_owned();
    DiscoveryResponse {
        version_info: served.version.to_string(),
        nonce: served.version.to_string(),
        resources: vec![Any { type_url: kind.clone(), value: served.routes.to_vec() }],
        type_url: kind,
        ..DiscoveryResponse::default()
    }
}
