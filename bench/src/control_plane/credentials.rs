//! Certificates of the mesh for simulated proxies: one for each namespace, obtained as a sidecar does.

use super::objects::SERVICE_ACCOUNT;
use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{Api, PostParams};
use mizzen_identity::SpiffeId;
use mizzen_proto::ca::IstioCertificateRequest;
use mizzen_proto::ca::istio_certificate_service_client::IstioCertificateServiceClient;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

const CONTROL_PLANE: &str = "istiod.istio-system.svc";
const TRUST_DOMAIN: &str = "cluster.local";
const POLL: Duration = Duration::from_millis(20);

/// How the proxies of a namespace prove who they are: obtains a certificate for its workloads.
pub async fn obtain(
    client: &kube::Client,
    control_plane: SocketAddr,
    namespace: &str,
) -> anyhow::Result<Arc<ClientConfig>> {
    let roots = root_store(&root_certificate(client, namespace).await?)?;
    let token = token(client, namespace).await?;
    let mut anonymous = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
    anonymous.alpn_protocols = vec![b"h2".to_vec()];

    let identity = SpiffeId::of_service_account(TRUST_DOMAIN, namespace, SERVICE_ACCOUNT)?;
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.subject_alt_names = vec![SanType::URI(identity.as_str().try_into()?)];
    let csr = parameters.serialize_request(&key)?.pem()?;

    let channel = connect(control_plane, Arc::new(anonymous)).await?;
    let mut request = tonic::Request::new(IstioCertificateRequest { csr, ..Default::default() });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let answer = IstioCertificateServiceClient::new(channel).create_certificate(request).await?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(answer.into_inner().cert_chain.concat().as_bytes())
        .collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
    let mut tls = ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(tls))
}

/// A channel to the control plane.
pub async fn connect(address: SocketAddr, tls: Arc<ClientConfig>) -> anyhow::Result<Channel> {
    let connector = tower::service_fn(move |_: Uri| {
        let tls = tls.clone();
        async move { handshake(address, tls).await.map(TokioIo::new) }
    });
    // The connector does the TLS, so that configurations are shared by thousands of proxies.
    let endpoint = Endpoint::from_shared(format!("http://{CONTROL_PLANE}:{}", address.port()))?;
    Ok(endpoint.connect_with_connector(connector).await?)
}

async fn handshake(address: SocketAddr, tls: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(CONTROL_PLANE).map_err(std::io::Error::other)?;
    TlsConnector::from(tls).connect(name, stream).await
}

/// The mesh's root certificate, once it is distributed to the namespace.
async fn root_certificate(client: &kube::Client, namespace: &str) -> anyhow::Result<String> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    loop {
        let map = maps.get_opt("istio-ca-root-cert").await?;
        if let Some(root) = map.and_then(|map| map.data).and_then(|mut data| data.remove("root-cert.pem")) {
            return Ok(root);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn root_store(pem: &str) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

async fn token(client: &kube::Client, namespace: &str) -> anyhow::Result<String> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": ["istio-ca"]}}))?;
    let answer = accounts.create_token_request(SERVICE_ACCOUNT, &PostParams::default(), &request).await?;
    Ok(answer.status.context("the API gave no token")?.token)
}
