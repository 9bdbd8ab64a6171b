//! The authority behind the serving certificate: made on the first start and kept, so that a kubeconfig stays good.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::server::StartError;
use crate::state;

/// The names every server of a cluster answers to.
const ALWAYS: &[&str] = &[
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// The authority's certificate and the TLS settings of the server.
pub(crate) struct Serving {
    pub authority_pem: String,
    pub tls: Arc<ServerConfig>,
}

fn failed(error: impl std::fmt::Display) -> StartError {
    StartError::Certificate(error.to_string())
}

/// Takes the authority from the folder, or makes it, and has it sign a fresh certificate for these names.
pub(crate) fn serving(folder: &Path, names: &[String]) -> Result<Serving, StartError> {
    let (authority_pem, key) = authority(folder)?;
    let damaged = |reason: rcgen::Error| StartError::Damaged {
        path: folder.join("ca.crt").display().to_string(),
        reason: reason.to_string(),
    };
    let issuer = Issuer::from_ca_cert_pem(&authority_pem, key).map_err(damaged)?;

    let mut all: Vec<String> = ALWAYS.iter().map(|name| (*name).to_owned()).collect();
    all.extend(names.iter().cloned());
    all.sort();
    all.dedup();
    let mut parameters = CertificateParams::new(all).map_err(failed)?;
    parameters.distinguished_name = named("kube-apiserver");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    let serving_key = KeyPair::generate().map_err(failed)?;
    let certificate = parameters.signed_by(&serving_key, &issuer).map_err(failed)?;

    let authority = CertificateDer::from_pem_slice(authority_pem.as_bytes()).map_err(failed)?;
    let private = PrivateKeyDer::from_pem_slice(serving_key.serialize_pem().as_bytes()).map_err(failed)?;
    let mut tls =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone(), authority], private)
            .map_err(failed)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Serving { authority_pem, tls: Arc::new(tls) })
}

fn authority(folder: &Path) -> Result<(String, KeyPair), StartError> {
    let key_path = folder.join("ca.key");
    let key_bytes = state::load_or_create(&key_path, || {
        Ok(KeyPair::generate().map_err(failed)?.serialize_pem().into_bytes())
    })?;
    let damaged = |reason: String| StartError::Damaged { path: key_path.display().to_string(), reason };
    let key_text = String::from_utf8(key_bytes).map_err(|error| damaged(error.to_string()))?;
    let key = KeyPair::from_pem(&key_text).map_err(|error| damaged(error.to_string()))?;
    let certificate = state::load_or_create(&folder.join("ca.crt"), || {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = named("kubernetes");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(parameters.self_signed(&key).map_err(failed)?.pem().into_bytes())
    })?;
    Ok((String::from_utf8_lossy(&certificate).into_owned(), key))
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// The first address of a network and others that the certificate needs, as text.
pub(crate) fn address_names(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<String> {
    addresses.into_iter().map(|address| address.to_string()).collect()
}
