//! The certificate service, as a client: a signing request goes out with the service account's
//! token, a chain with the mesh's roots comes back.

use crate::options::AgentOptions;
use crate::outbound;
use hyper_util::rt::TokioIo;
use mizzen_identity::{SpiffeId, ca::csr};
use mizzen_proto::ca::IstioCertificateRequest;
use mizzen_proto::ca::istio_certificate_service_client::IstioCertificateServiceClient;
use mizzen_proxy::WorkloadSecrets;
use std::time::Duration;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Uri};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaError {
    /// A file that the kubelet mounts cannot be read yet.
    #[error("cannot read {path}: {source}")]
    File { path: String, source: std::io::Error },
    /// The request could not be made.
    #[error("cannot make a signing request: {0}")]
    Request(#[from] rcgen::Error),
    /// The control plane cannot be reached.
    #[error("cannot reach the certificate service at {address}: {source}")]
    Unreachable { address: String, source: tonic::transport::Error },
    /// The control plane said no.
    #[error("the certificate service refused: {0}")]
    Refused(#[from] Box<tonic::Status>),
    /// The identity is not one.
    #[error(transparent)]
    Identity(#[from] mizzen_identity::SpiffeIdError),
    /// The answer holds no chain.
    #[error("the certificate service answered with {0} certificates; a leaf and a root are needed")]
    Chain(usize),
}

/// Asks for a certificate for a fresh key.
pub(crate) async fn request(options: &AgentOptions) -> Result<WorkloadSecrets, CaError> {
    let roots = read(&options.root_certificate).await?;
    let token = read(&options.token).await?;
    let identity =
        SpiffeId::of_service_account(&options.trust_domain, &options.namespace, &options.service_account)?;
    // The key never leaves this process.
    let (key, csr) = csr::generate(&identity)?;

    let mut client = IstioCertificateServiceClient::new(channel(&options.ca_address, &roots).await?);
    let mut request = tonic::Request::new(IstioCertificateRequest {
        csr,
        validity_duration: i64::try_from(options.certificate_lifetime.as_secs()).unwrap_or(i64::MAX),
        metadata: None,
    });
    request.set_timeout(TIMEOUT);
    let bearer = format!("Bearer {}", token.trim());
    let bearer =
        bearer.parse().map_err(|_| Box::new(tonic::Status::internal("the token file holds no token")))?;
    request.metadata_mut().insert("authorization", bearer);
    let chain = client.create_certificate(request).await.map_err(Box::new)?.into_inner().cert_chain;
    let [certificates @ .., root] = chain.as_slice() else { return Err(CaError::Chain(chain.len())) };
    if certificates.is_empty() {
        return Err(CaError::Chain(chain.len()));
    }
    // The roots mounted by the kubelet may hold more than one while the root is being replaced.
    let trust_bundle =
        if roots.contains(root.trim()) { roots } else { format!("{}\n{roots}", root.trim_end()) };
    Ok(WorkloadSecrets { certificate_chain: certificates.concat(), private_key: key, trust_bundle })
}

async fn read(path: &std::path::Path) -> Result<String, CaError> {
    tokio::fs::read_to_string(path)
        .await
        .map_err(|source| CaError::File { path: path.display().to_string(), source })
}

async fn channel(address: &str, roots: &str) -> Result<tonic::transport::Channel, CaError> {
    let unreachable = |source| CaError::Unreachable { address: address.to_owned(), source };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots)).domain_name(host);
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(unreachable)?
        .connect_timeout(TIMEOUT);
    let connector = tower::service_fn(|uri: Uri| async move {
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        outbound::connect(&authority, TIMEOUT).await.map(TokioIo::new)
    });
    endpoint.connect_with_connector(connector).await.map_err(unreachable)
}
