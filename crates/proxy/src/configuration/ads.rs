//! The way to the control plane: ADS over the cluster the bootstrap names.

use super::Manager;
use crate::compile::{self, CompileError, Context};
use crate::stream::Stream;
use crate::tls::{ConnectRequest, Connector};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::api_config_source::ApiType;
use envoy_types::pb::envoy::config::core::v3::grpc_service::TargetSpecifier;
use envoy_types::pb::envoy::config::core::v3::{ApiConfigSource, HeaderValue, Node, address, socket_address};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use mizzen_net::{ConnectOptions, PROXY_MARK};
use mizzen_xds::TypeUrl;
use mizzen_xds::client::{
    self, Backoff, Dial, DialError, Handler, Names, Protocol, Rejection, Settings, Update,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Room for a large push on its way.
const WINDOW: u32 = 4 << 20;

/// How to reach the control plane, as compiled from the bootstrap.
pub(crate) struct Ads {
    protocol: Protocol,
    kinds: Vec<TypeUrl>,
    target: Target,
}

struct Target {
    host: String,
    port: u16,
    tls: Option<Arc<Connector>>,
    metadata: MetadataMap,
}

impl Ads {
    /// Compiles `ads_config`. `kinds` are the types to ask for, in order.
    pub fn compile(
        source: &ApiConfigSource,
        clusters: &[Cluster],
        kinds: Vec<TypeUrl>,
        context: &Context,
    ) -> Result<Self, CompileError> {
        let protocol = match source.api_type() {
            ApiType::DeltaGrpc | ApiType::AggregatedDeltaGrpc => Protocol::Delta,
            ApiType::Grpc | ApiType::AggregatedGrpc => Protocol::StateOfTheWorld,
            other => {
                return Err(CompileError::unsupported("api_type", other.as_str_name()));
            }
        };
        let [service] = source.grpc_services.as_slice() else {
            return Err(CompileError::invalid("grpc_services", "must have exactly one entry"));
        };
        let Some(TargetSpecifier::EnvoyGrpc(grpc)) = &service.target_specifier else {
            return Err(CompileError::unsupported("grpc_services[0]", "a target other than envoy_grpc"));
        };
        let field = "grpc_services[0].envoy_grpc.cluster_name";
        let cluster = clusters.iter().find(|cluster| cluster.name == grpc.cluster_name).ok_or_else(|| {
            CompileError::invalid(field, format!("'{}' is not a static cluster", grpc.cluster_name))
        })?;
        let (host, port) = first_endpoint(cluster).ok_or_else(|| {
            CompileError::invalid(field, format!("'{}' has no endpoint with an address", cluster.name))
        })?;
        let tls = compile::tls_context::upstream_socket(cluster.transport_socket.as_ref(), false, context)
            .map_err(|error| error.at(format!("the cluster '{}'", cluster.name)))?;
        let metadata = metadata(&service.initial_metadata).map_err(|error| error.at("grpc_services[0]"))?;
        let target = Target { host, port, tls: tls.map(Arc::new), metadata };
        Ok(Self { protocol, kinds, target })
    }
}

fn first_endpoint(cluster: &Cluster) -> Option<(String, u16)> {
    let assignment = cluster.load_assignment.as_ref()?;
    let endpoint = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints).next()?;
    let HostIdentifier::Endpoint(endpoint) = endpoint.host_identifier.as_ref()? else { return None };
    let address::Address::SocketAddress(socket) = endpoint.address.as_ref()?.address.as_ref()? else {
        return None;
    };
    match socket.port_specifier.as_ref()? {
        socket_address::PortSpecifier::PortValue(port) => {
            Some((socket.address.clone(), u16::try_from(*port).ok()?))
        }
        socket_address::PortSpecifier::NamedPort(_) => None,
    }
}

fn metadata(headers: &[HeaderValue]) -> Result<MetadataMap, CompileError> {
    let mut map = MetadataMap::new();
    for (index, header) in headers.iter().enumerate() {
        let invalid = |reason: String| CompileError::invalid(format!("initial_metadata[{index}]"), reason);
        let key = AsciiMetadataKey::from_bytes(header.key.as_bytes())
            .map_err(|_| invalid(format!("'{}' is not a header name", header.key)))?;
        let value = AsciiMetadataValue::try_from(header.value.as_bytes())
            .map_err(|_| invalid(format!("the value of '{}' is not printable ASCII", header.key)))?;
        map.append(key, value);
    }
    Ok(map)
}

/// Runs the ADS client for ever.
pub(crate) async fn run(ads: Ads, node: Node, manager: Arc<Mutex<Manager>>, secrets: watch::Receiver<u64>) {
    let settings = Settings { node, protocol: ads.protocol, kinds: ads.kinds, backoff: Backoff::default() };
    let mut handler = Shared(manager);
    match client::run(settings, ads.target, &mut handler, secrets).await {}
}

/// The manager as a handler, shared with the admin port.
struct Shared(Arc<Mutex<Manager>>);

impl Handler for Shared {
    fn apply(&mut self, update: &Update) -> Vec<Rejection> {
        self.0.lock().apply(update)
    }

    fn wanted(&self, kind: TypeUrl) -> Names {
        self.0.lock().wanted(kind)
    }

    fn connected(&mut self, connected: bool) {
        self.0.lock().connected(connected);
    }
}

impl Dial for Target {
    fn dial(&self) -> BoxFuture<'_, Result<(Channel, MetadataMap), DialError>> {
        Box::pin(async move {
            let (host, port, tls) = (self.host.clone(), self.port, self.tls.clone());
            let connect = tower::service_fn(move |_: http::Uri| {
                let (host, tls) = (host.clone(), tls.clone());
                async move { open(&host, port, tls.as_deref()).await.map(TokioIo::new) }
            });
            let channel = Endpoint::from_shared(format!("http://{}:{}", bracketed(&self.host), self.port))
                .map_err(|error| DialError(error.to_string()))?
                .http2_keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(KEEPALIVE_TIMEOUT)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .connect_with_connector(connect)
                .await
                .map_err(|error| DialError(with_causes(&error)))?;
            Ok((channel, self.metadata.clone()))
        })
    }
}

/// Connects to the first address that answers.
async fn open(host: &str, port: u16, tls: Option<&Connector>) -> Result<Stream, DialError> {
    let fail = |reason: String| DialError(format!("{host}:{port}: {reason}"));
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| fail(format!("the name does not resolve: {error}")))?;
    let options = ConnectOptions {
        mark: Some(PROXY_MARK),
        timeout: Some(CONNECT_TIMEOUT),
        ..ConnectOptions::default()
    };
    let mut socket: Result<TcpStream, String> = Err("the name has no address".to_owned());
    for address in addresses {
        match mizzen_net::connect(address, &options).await {
            Ok(connected) => {
                socket = Ok(connected);
                break;
            }
            Err(error) => socket = Err(format!("{address}: {error}")),
        }
    }
    let socket = socket.map_err(fail)?;
    let Some(tls) = tls else { return Ok(socket.into()) };
    let request = ConnectRequest { application_protocols: Some(&[b"h2"]), ..ConnectRequest::default() };
    let (stream, _) = tls.connect(socket, request).await.map_err(|error| fail(error.to_string()))?;
    Ok(stream)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
