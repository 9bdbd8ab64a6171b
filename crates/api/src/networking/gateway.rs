//! Gateway: the ports a load balancer at the edge of the mesh opens.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::Port;

/// The ports some gateway proxies open, the hosts they serve there, and their TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// What the proxies open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Server>,
    /// Labels of the proxies' pods, in any namespace. None selects every gateway proxy.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
}

/// One port, the hosts served there and the TLS they are served with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["port", "hosts"]))]
pub struct Server {
    /// The port, as clients of the gateway's Service see it.
    pub port: Port,
    /// The address to listen on; every address when absent.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub bind: Option<String>,
    /// The hosts, each optionally after the namespace of the VirtualServices that may serve it:
    /// `app.example.com`, `*.example.com`, `*`, `team/app.example.com`, `./app.example.com`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// TLS of the port; required for protocol HTTPS and TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// Where the loopback side listens. Not used by Istio either.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub default_endpoint: Option<String>,
    /// A name of the server, unique in the Gateway; used in statistics.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The server's side of TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.credentialName) || !has(self.credentialNames)", "message": "set credentialName or credentialNames, not both" },
    { "rule": "!has(self.tlsCertificates) || !has(self.credentialNames)", "message": "set tlsCertificates or credentialNames, not both" },
]))]
pub struct ServerTls {
    /// Answer plain HTTP requests with a redirect to https. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub https_redirect: bool,
    /// What is done with TLS. Default PASSTHROUGH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ServerTlsMode>,
    /// File of the certificate chain, PEM.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub server_certificate: Option<String>,
    /// File of the private key, PEM.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
    /// File of the certificate authorities that client certificates are checked with, PEM.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
    /// File of the revoked client certificates, PEM.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub ca_crl: Option<String>,
    /// The Secret, in the namespace of the gateway's pods, with the certificate and key.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub credential_name: Option<String>,
    /// Up to two Secrets, so that an RSA and an ECDSA certificate can be served.
    #[schemars(length(min = 1, max = 2))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credential_names: Vec<String>,
    /// The Secret with the certificate authorities for client certificates, where it is not that of
    /// `credential_name`.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub ca_cert_credential_name: Option<String>,
    /// Up to two certificates as files.
    #[schemars(length(min = 1, max = 2))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_certificates: Vec<TlsCertificate>,
    /// Names of which a client certificate must have one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<String>,
    /// Hex SHA-256 of client certificates that are accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verify_certificate_spki: Vec<String>,
    /// Base64 SHA-256 of public keys of client certificates that are accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verify_certificate_hash: Vec<String>,
    /// The oldest protocol spoken. Default TLS 1.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_protocol_version: Option<TlsProtocol>,
    /// The newest protocol spoken. Default the newest known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_protocol_version: Option<TlsProtocol>,
    /// The cipher suites offered for TLS 1.2, by OpenSSL's names. Default a safe list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    /// The curves offered for key exchange. Default a safe list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ecdh_curves: Vec<String>,
    /// Skip checking the client certificate's authority. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

/// A certificate and its key as files of the gateway's container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsCertificate {
    /// File of the certificate chain, PEM.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub server_certificate: Option<String>,
    /// File of the private key, PEM.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
    /// File of the certificate authorities of clients, PEM.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
}

/// What a server does with TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// Passed on untouched, routed by server name.
    #[default]
    Passthrough,
    /// Ended here; clients show no certificate.
    Simple,
    /// Ended here; clients must show a certificate.
    Mutual,
    /// Passed on untouched; the server name is the name of a cluster.
    AutoPassthrough,
    /// Ended here with the mesh's own certificates.
    IstioMutual,
    /// Ended here; a certificate the client shows is checked.
    OptionalMutual,
}

/// A version of TLS.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum TlsProtocol {
    /// The default.
    #[default]
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// TLS 1.0.
    #[serde(rename = "TLSV1_0")]
    V1_0,
    /// TLS 1.1.
    #[serde(rename = "TLSV1_1")]
    V1_1,
    /// TLS 1.2.
    #[serde(rename = "TLSV1_2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "TLSV1_3")]
    V1_3,
}
