//! Connections, with or without TLS.

use super::{Order, Trust};
use anyhow::Context as _;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// A connection.
pub type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Opens connections to one target.
#[derive(Clone)]
pub struct Connector {
    target: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    pub fn new(order: &Order) -> anyhow::Result<Self> {
        let tls = order.tls.as_ref().map(client).transpose()?;
        Ok(Self { target: order.target, tls })
    }

    pub async fn connect(&self) -> anyhow::Result<Stream> {
        let socket = TcpStream::connect(self.target)
            .await
            .with_context(|| format!("cannot connect to {}", self.target))?;
        socket.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Either::Left(socket),
            Some((connector, name)) => Either::Right(connector.connect(name.clone(), socket).await?),
        })
    }
}

/// TLS 1.3 without resumption, so that every connection is a full handshake.
fn client(trust: &Trust) -> anyhow::Result<(TlsConnector, ServerName<'static>)> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&trust.root)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok((TlsConnector::from(Arc::new(config)), ServerName::try_from(trust.name.clone())?))
}
