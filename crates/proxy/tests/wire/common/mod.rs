//! What the integration tests share: certificates, an echo server, bootstraps.

pub mod control_plane;

use mizzen_proxy::{Proxy, ProxyConfig, ProxyHandle, SecretSource, WorkloadSecrets};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A throw-away certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub root: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("root").pem();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// Certificate and key for one name: a SPIFFE id or a host.
    pub fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.subject_alt_names = vec![match name.strip_prefix("spiffe://") {
            Some(_) => SanType::URI(name.try_into().expect("URI")),
            None => SanType::DnsName(name.try_into().expect("host")),
        }];
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// What an agent would give a workload of this id.
    pub fn workload(&self, id: &str) -> Arc<WorkloadSecrets> {
        let (certificate_chain, private_key) = self.issue(id);
        Arc::new(WorkloadSecrets { certificate_chain, private_key, trust_bundle: self.root.clone() })
    }
}

/// A client's TLS: trusts `root`, shows a certificate where given, verifies no names.
pub async fn tls(
    address: SocketAddr,
    server_name: &str,
    root: &str,
    certificate: Option<(String, String)>,
    protocols: &[&str],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    mizzen_identity::install_crypto_provider();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).expect("root")).expect("root");
    let builder = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ChainOnly::new(roots)));
    let mut config = match certificate {
        Some((chain, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).expect("certificate")];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("key");
            builder.with_client_auth_cert(chain, key).expect("client certificate")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let socket = TcpStream::connect(address).await?;
    let name = ServerName::try_from(server_name.to_owned()).expect("server name");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

/// Verifies the chain; the tests look at names themselves.
#[derive(Debug)]
struct ChainOnly(mizzen_identity::verify::ServerVerifier);

impl ChainOnly {
    fn new(roots: rustls::RootCertStore) -> Self {
        let _ = roots;
        Self(mizzen_identity::verify::ServerVerifier::new(mizzen_identity::verify::Verification {
            roots: None,
            names: [].into(),
            spiffe: false,
            server_name: false,
        }))
    }
}

impl rustls::client::danger::ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// An application that says its name and then sends back what it gets.
pub async fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("echo");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                write.write_all(name.as_bytes()).await?;
                tokio::io::copy(&mut read, &mut write).await?;
                write.shutdown().await
            });
        }
    });
    address
}

/// Sends a word and returns all that came until the other side was done.
pub async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, word: &str) -> std::io::Result<String> {
    stream.write_all(word.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

pub fn start(bootstrap: &Value, secrets: Option<SecretSource>) -> ProxyHandle {
    let bootstrap = mizzen_proxy::read_bootstrap(&bootstrap.to_string()).expect("bootstrap");
    Proxy::start(ProxyConfig { bootstrap, concurrency: 2, secrets, ..ProxyConfig::default() }).expect("proxy")
}

pub fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

pub fn anywhere() -> Value {
    socket("127.0.0.1:0".parse().expect("address"))
}

pub fn tcp_proxy(cluster: &str) -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": cluster, "cluster": cluster
        }
    })
}

pub fn cluster(name: &str, address: SocketAddr) -> Value {
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": assignment(name, address)
    })
}

pub fn assignment(name: &str, address: SocketAddr) -> Value {
    json!({
        "cluster_name": name,
        "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(address) } }] }]
    })
}

pub fn listener_filter(name: &str, kind: &str) -> Value {
    json!({
        "name": format!("envoy.filters.listener.{name}"),
        "typed_config": { "@type": format!("type.googleapis.com/envoy.extensions.filters.listener.{name}.v3.{kind}") }
    })
}

/// A transport socket that terminates mutual TLS with the workload's own secrets.
pub fn mutual_tls(protocols: &[&str]) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": {
                "alpn_protocols": protocols,
                "tls_certificate_sds_secret_configs": [{ "name": "default", "sds_config": { "ads": {} } }],
                "combined_validation_context": {
                    "default_validation_context": {},
                    "validation_context_sds_secret_config": { "name": "ROOTCA", "sds_config": { "ads": {} } }
                }
            }
        }
    })
}

/// A transport socket that starts mutual TLS towards this identity.
pub fn upstream_tls(identity: &str, protocols: &[&str]) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": "outbound_.80_._.echo.default.svc.cluster.local",
            "common_tls_context": {
                "alpn_protocols": protocols,
                "tls_certificate_sds_secret_configs": [{ "name": "default", "sds_config": { "ads": {} } }],
                "combined_validation_context": {
                    "default_validation_context": {
                        "match_typed_subject_alt_names":
                            [{ "san_type": "URI", "matcher": { "exact": identity } }]
                    },
                    "validation_context_sds_secret_config": { "name": "ROOTCA", "sds_config": { "ads": {} } }
                }
            }
        }
    })
}
