//! An embedded API with a control plane on free ports.

use envoy_types::pb::envoy::config::core::v3::{Node, address::Address};
use envoy_types::pb::envoy::config::endpoint::v3::{LbEndpoint, lb_endpoint::HostIdentifier};
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::protobuf::{Struct, Value as ProtobufValue, value::Kind};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use kube::discovery::{ApiCapabilities, Scope};
use mizzen_apiserver::{ApiServer, NoNode, RunningApiServer, ServerConfig};
use mizzen_control::ControlConfig;
use mizzen_proto::ca::IstioCertificateRequest;
use mizzen_proto::ca::istio_certificate_service_client::IstioCertificateServiceClient;
use mizzen_xds::TypeUrl;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

pub struct World {
    pub client: Client,
    /// The mesh's root certificate, PEM.
    pub root: String,
    config: ControlConfig,
    api: RunningApiServer,
    control: JoinHandle<()>,
    shutdown: oneshot::Sender<()>,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn start() -> Self {
        mizzen_identity::install_crypto_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let server = ServerConfig::new(folder.path().join("api"), vec![listener], Arc::new(NoNode));
        let api = ApiServer::start(server).await.expect("the API starts");
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, api.kubeconfig(&url)).expect("written");
        let file = kube::config::Kubeconfig::read_from(&kubeconfig).expect("a kubeconfig");
        let options = kube::config::KubeConfigOptions::default();
        let client = kube::Config::from_custom_kubeconfig(file, &options).await.expect("a configuration");
        let client = Client::try_from(client).expect("a client");
        furnish(&client).await;

        let config = ControlConfig {
            kubeconfig: Some(kubeconfig),
            tls_address: free_address(),
            plaintext_address: None,
            webhook_address: free_address(),
            monitoring_address: free_address(),
            http_address: free_address(),
            ..ControlConfig::default()
        };
        let (shutdown, stopped) = oneshot::channel::<()>();
        let running = mizzen_control::run(config.clone(), async move {
            let _ = stopped.await;
        });
        let control = tokio::spawn(async move { running.await.expect("the control plane runs") });
        let maps = Api::<ConfigMap>::namespaced(client.clone(), "default");
        let root = eventually("the root certificate is distributed", || async {
            assert!(!control.is_finished(), "the control plane has ended");
            maps.get_opt("istio-ca-root-cert").await.expect("the API answers")?.data?.remove("root-cert.pem")
        })
        .await;
        let world = Self { client, root, config, api, control, shutdown, _folder: folder };
        eventually("the ports are open", || async {
            tokio::net::TcpStream::connect(world.config.tls_address).await.ok()
        })
        .await;
        world
    }

    pub async fn stop(self) {
        let _ = self.shutdown.send(());
        tokio::time::timeout(PATIENCE, self.control).await.expect("the drain ends").expect("no panic");
        self.api.shutdown().await;
    }

    /// A token of a service account, which is made if need be, for the mesh's audience.
    pub async fn token(&self, namespace: &str, name: &str) -> String {
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), namespace);
        let mut account = ServiceAccount::default();
        account.metadata.name = Some(name.to_owned());
        let _ = accounts.create(&PostParams::default(), &account).await;
        let request: TokenRequest =
            serde_json::from_value(json!({"spec": {"audiences": ["istio-ca"]}})).expect("a request");
        let answer =
            accounts.create_token_request(name, &PostParams::default(), &request).await.expect("a token");
        answer.status.expect("a status").token
    }

    /// Asks for a certificate.
    pub async fn certificate(&self, request: &str, token: Option<&str>) -> Result<Vec<String>, Status> {
        let mut client = IstioCertificateServiceClient::new(self.channel(None).await);
        let mut request =
            Request::new(IstioCertificateRequest { csr: request.to_owned(), ..Default::default() });
        authorize(&mut request, token);
        client.create_certificate(request).await.map(|answer| answer.into_inner().cert_chain)
    }

    /// Opens a discovery stream that asks for all clusters.
    pub async fn discover(
        &self,
        token: Option<&str>,
        credential: Option<(String, String)>,
        node: Node,
    ) -> Stream {
        self.open(token, credential, node, Vec::new()).await
    }

    /// The same, of a proxy that has kept these clusters with these versions.
    pub async fn resume(&self, token: &str, node: Node, kept: Vec<(String, String)>) -> Stream {
        self.open(Some(token), None, node, kept).await
    }

    /// Makes an object.
    pub async fn create(&self, object: Value) {
        create(&self.client, object).await;
    }

    /// Deletes a Service of the default namespace.
    pub async fn delete_service(&self, name: &str) {
        let services = Api::<Service>::namespaced(self.client.clone(), "default");
        services.delete(name, &DeleteParams::default()).await.expect("deleted");
    }

    async fn open(
        &self,
        token: Option<&str>,
        credential: Option<(String, String)>,
        node: Node,
        kept: Vec<(String, String)>,
    ) -> Stream {
        let (requests, receiver) = mpsc::channel(8);
        let first = DeltaDiscoveryRequest {
            node: Some(node),
            type_url: TypeUrl::CLUSTER.as_str().to_owned(),
            initial_resource_versions: kept.into_iter().collect(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await.expect("room");
        let mut request = Request::new(ReceiverStream::new(receiver));
        authorize(&mut request, token);
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel(credential).await);
        let responses = client.delta_aggregated_resources(request).await.map(tonic::Response::into_inner);
        Stream { requests, responses }
    }

    pub async fn get(&self, path: &str) -> String {
        let stream = tokio::net::TcpStream::connect(self.config.monitoring_address).await.expect("connected");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let request = http::Request::get(path)
            .header("host", "istiod")
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.expect("a body").to_bytes();
        String::from_utf8(body.to_vec()).expect("text")
    }

    pub async fn get_json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await).expect("JSON")
    }

    /// Makes the webhook configurations of an installation, and waits until they are completed.
    pub async fn register_webhooks(&self) {
        let port = self.config.webhook_address.port();
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "istiod", "namespace": "istio-system"},
            "spec": {"ports": [{"name": "https-webhook", "port": 443, "targetPort": port}]}
        });
        let endpoints = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "istiod-1", "namespace": "istio-system",
                "labels": {"kubernetes.io/service-name": "istiod"}
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
            "ports": [{"name": "https-webhook", "port": port, "protocol": "TCP"}]
        });
        let config = |path: &str| json!({"service": {"name": "istiod", "namespace": "istio-system", "path": path, "port": 443}});
        let injector = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "istio-sidecar-injector"},
            "webhooks": [{
                "name": "namespace.sidecar-injector.istio.io", "clientConfig": config("/inject"),
                "sideEffects": "None", "failurePolicy": "Fail", "admissionReviewVersions": ["v1"],
                "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
                "namespaceSelector": {"matchExpressions": [{"key": "istio-injection", "operator": "In", "values": ["enabled"]}]}
            }]
        });
        let validator = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "istio-validator-istio-system"},
            "webhooks": [{
                "name": "rev.validation.istio.io", "clientConfig": config("/validate"),
                "sideEffects": "None", "failurePolicy": "Fail", "admissionReviewVersions": ["v1"],
                "rules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": ["security.istio.io"],
                           "apiVersions": ["*"], "resources": ["*"]}]
            }]
        });
        for object in [service, endpoints, injector, validator] {
            create(&self.client, object).await;
        }
        for (kind, name) in [
            ("mutatingwebhookconfigurations", "istio-sidecar-injector"),
            ("validatingwebhookconfigurations", "istio-validator-istio-system"),
        ] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{name}");
            eventually("the webhook trusts the mesh's root", || async {
                let request = http::Request::get(&path).body(Vec::new()).expect("a request");
                let object: Value = self.client.request(request).await.expect("the object");
                object["webhooks"][0]["clientConfig"]["caBundle"].as_str().map(drop)
            })
            .await;
        }
    }

    async fn channel(&self, credential: Option<(String, String)>) -> Channel {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.root))
            .domain_name("istiod.istio-system.svc");
        if let Some((chain, key)) = credential {
            tls = tls.identity(Identity::from_pem(chain, key));
        }
        Endpoint::from_shared(format!("https://{}", self.config.tls_address))
            .expect("an address")
            .tls_config(tls)
            .expect("TLS")
            .connect()
            .await
            .expect("connected")
    }
}

/// A discovery stream.
pub struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Result<Streaming<DeltaDiscoveryResponse>, Status>,
}

impl Stream {
    pub async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let responses = self.responses.as_mut().map_err(|status| status.clone())?;
        let next = tokio::time::timeout(PATIENCE, responses.message()).await.expect("in time")?;
        next.ok_or_else(|| Status::cancelled("the stream has ended"))
    }

    /// Says that a response was taken over.
    pub async fn acknowledge(&self, response: &DeltaDiscoveryResponse) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    /// Asks for one resource.
    pub async fn subscribe(&self, type_url: TypeUrl, name: &str) {
        self.send(DeltaDiscoveryRequest {
            type_url: type_url.as_str().to_owned(),
            resource_names_subscribe: vec![name.to_owned()],
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.expect("the stream is open");
    }
}

/// A sidecar's node.
pub fn node(namespace: &str, pod: &str, service_account: &str) -> Node {
    let text = |text: &str| ProtobufValue { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = [
        ("NAMESPACE", namespace),
        ("SERVICE_ACCOUNT", service_account),
        ("CLUSTER_ID", "Kubernetes"),
        ("ISTIO_VERSION", "1.30.0"),
    ];
    Node {
        id: format!("sidecar~10.244.0.7~{pod}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(Struct {
            fields: fields.into_iter().map(|(key, value)| (key.to_owned(), text(value))).collect(),
        }),
        ..Node::default()
    }
}

/// The IP address of an endpoint.
pub fn address_of(endpoint: &LbEndpoint) -> String {
    let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else { return String::new() };
    match endpoint.address.as_ref().and_then(|address| address.address.as_ref()) {
        Some(Address::SocketAddress(socket)) => socket.address.clone(),
        _ => String::new(),
    }
}

/// Waits until `condition` gives something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, condition: impl Fn() -> F) -> T {
    let wait = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"))
}

fn authorize<T>(request: &mut Request<T>, token: Option<&str>) {
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", value);
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

/// What an installation has before its control plane starts.
async fn furnish(client: &Client) {
    create(client, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}))
        .await;
    for definition in mizzen_api::custom_resource_definitions() {
        create(client, definition).await;
    }
}

async fn create(client: &Client, object: Value) {
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    let types = object.types.clone().expect("types");
    let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    let kind = kube::core::GroupVersionKind::gvk(group, version, &types.kind);
    let (resource, capabilities): (_, ApiCapabilities) =
        kube::discovery::pinned_kind(client, &kind).await.expect("the API knows the kind");
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Namespaced => Api::namespaced_with(client.clone(), &namespace, &resource),
        Scope::Cluster => Api::all_with(client.clone(), &resource),
    };
    let name = object.metadata.name.clone().unwrap_or_default();
    api.create(&PostParams::default(), &object).await.unwrap_or_else(|error| panic!("{name}: {error}"));
}
