//! The workload's certificate and the mesh's authorities for Envoy: secret discovery over a Unix socket, the state
//! of the world, under Istio's names.

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use envoy_types::pb::google::protobuf::Any;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use mizzen_proxy::WorkloadSecrets;
use prost::Message as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
/// The workload's certificate and its key.
const OWN_CERTIFICATE: &str = "default";
/// The mesh's authorities.
const MESH_AUTHORITIES: &str = "ROOTCA";

type Certificates = watch::Receiver<Option<Arc<WorkloadSecrets>>>;

/// Serves on `socket` until the task is ended.
pub(super) async fn serve(socket: &Path, certificates: Certificates) -> io::Result<JoinHandle<()>> {
    if let Some(folder) = socket.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    // Left by a container that ended before this one.
    if let Err(error) = tokio::fs::remove_file(socket).await
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(socket)?;
    let server = tonic::transport::Server::builder()
        .add_service(SecretDiscoveryServiceServer::new(SecretService { certificates }))
        .serve_with_incoming(connections(listener));
    Ok(tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!("the secret service for Envoy ended: {error}");
        }
    }))
}

fn connections(listener: UnixListener) -> impl Stream<Item = io::Result<UnixStream>> {
    stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    })
}

struct SecretService {
    certificates: Certificates,
}

#[tonic::async_trait]
impl SecretDiscoveryService for SecretService {
    type DeltaSecretsStream = BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>;
    type StreamSecretsStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;

    async fn delta_secrets(
        &self,
        _: Request<tonic::Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("ask for secrets by StreamSecrets"))
    }

    async fn stream_secrets(
        &self,
        request: Request<tonic::Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let requests = request.into_inner().boxed();
        Ok(Response::new(answers(self.certificates.clone(), requests).boxed()))
    }

    async fn fetch_secrets(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("ask for secrets by StreamSecrets"))
    }
}

/// One stream: what it asked for last, and how often it was answered.
struct Conversation {
    certificates: Certificates,
    requests: BoxStream<'static, Result<DiscoveryRequest, Status>>,
    names: Vec<String>,
    answered: u64,
}

fn answers(
    certificates: Certificates,
    requests: BoxStream<'static, Result<DiscoveryRequest, Status>>,
) -> impl Stream<Item = Result<DiscoveryResponse, Status>> {
    let conversation = Conversation { certificates, requests, names: Vec::new(), answered: 0 };
    stream::unfold(conversation, |mut conversation| async move {
        let answer = conversation.next().await?;
        Some((Ok(answer), conversation))
    })
}

impl Conversation {
    /// The next answer: to a new question, or because the certificate was renewed. None when the client has gone.
    async fn next(&mut self) -> Option<DiscoveryResponse> {
        loop {
            tokio::select! {
                request = self.requests.next() => {
                    let request = request?.ok()?;
                    if let Some(error) = &request.error_detail {
                        tracing::warn!(names = ?request.resource_names, "Envoy refused a secret: {}", error.message);
                    }
                    let acknowledges = !request.response_nonce.is_empty() && request.resource_names == self.names;
                    self.names = request.resource_names;
                    if acknowledges {
                        continue;
                    }
                }
                renewed = self.certificates.changed() => renewed.ok()?,
            }
            let current = self.certificates.borrow_and_update().clone();
            if let Some(current) = current.filter(|_| !self.names.is_empty()) {
                self.answered += 1;
                return Some(answer(&current, &self.names, self.answered));
            }
        }
    }
}

fn answer(current: &WorkloadSecrets, names: &[String], number: u64) -> DiscoveryResponse {
    let resources = names.iter().filter_map(|name| secret_of_name(current, name));
    DiscoveryResponse {
        version_info: number.to_string(),
        nonce: number.to_string(),
        type_url: SECRET_TYPE.to_owned(),
        resources: resources
            .map(|secret| Any { type_url: SECRET_TYPE.to_owned(), value: secret.encode_to_vec() })
            .collect(),
        ..DiscoveryResponse::default()
    }
}

fn secret_of_name(current: &WorkloadSecrets, name: &str) -> Option<Secret> {
    let kind = match name {
        OWN_CERTIFICATE => secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(inline(&current.certificate_chain)),
            private_key: Some(inline(&current.private_key)),
            ..TlsCertificate::default()
        }),
        MESH_AUTHORITIES => secret::Type::ValidationContext(CertificateValidationContext {
            trusted_ca: Some(inline(&current.trust_bundle)),
            ..CertificateValidationContext::default()
        }),
        _ => return None,
    };
    Some(Secret { name: name.to_owned(), r#type: Some(kind) })
}

fn inline(text: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(text.as_bytes().to_vec())), ..DataSource::default() }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
