//! ProxyConfig: settings of one proxy, in the mesh's `defaultConfig` and in the annotation `proxy.istio.io/config`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{duration::Duration, networking::ProxyImage, telemetry::CustomTag};

/// Settings of a proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// Worker threads; 0 means one per core. Default from the container's CPU limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// The program of the proxy: stock Envoy in place of the built-in data plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_path: Option<String>,
    /// How long open connections may go on when listeners change. Default 45s.
    pub drain_duration: Duration,
    /// How long open connections may go on when the proxy ends. Default 5s.
    pub termination_drain_duration: Duration,
    /// The control plane's xDS. Default `istiod.istio-system.svc:15012`.
    pub discovery_address: String,
    /// The control plane's certificate authority. Default that of `discovery_address`.
    pub ca_addr: String,
    /// The port of the proxy's admin interface, on the loopback. Default 15000.
    pub proxy_admin_port: u16,
    /// The port of health and merged metrics. Default 15020.
    pub status_port: u16,
    /// Environment of the proxy, and settings of its agent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub proxy_metadata: BTreeMap<String, String>,
    /// Start the application only when the proxy is ready. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hold_application_until_proxy_starts: bool,
    /// How connections are intercepted. Default REDIRECT.
    pub interception_mode: InterceptionMode,
    /// What stands in front of gateways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_topology: Option<GatewayTopology>,
    /// Tracing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<ProxyTracing>,
    /// The identity of the mesh among meshes.
    pub mesh_id: String,
    /// The image of the proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ProxyImage>,
    /// Readiness probe of the application on a machine that is not a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Value>,
    /// PEM certificates of authorities that are trusted besides the mesh's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca_certificates_pem: Vec<String>,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            concurrency: None,
            binary_path: None,
            drain_duration: Duration::from_secs(45),
            termination_drain_duration: Duration::from_secs(5),
            discovery_address: "istiod.istio-system.svc:15012".to_owned(),
            ca_addr: String::new(),
            proxy_admin_port: 15000,
            status_port: 15020,
            proxy_metadata: BTreeMap::new(),
            hold_application_until_proxy_starts: false,
            interception_mode: InterceptionMode::Redirect,
            gateway_topology: None,
            tracing: None,
            mesh_id: String::new(),
            image: None,
            readiness_probe: None,
            ca_certificates_pem: Vec::new(),
        }
    }
}

/// How connections are intercepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InterceptionMode {
    /// By redirection: the application sees its own address as the client's.
    #[default]
    Redirect,
    /// Transparently: the application sees the client's address.
    Tproxy,
    /// Not at all.
    None,
}

/// What stands in front of gateways.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayTopology {
    /// How many proxies in front add to X-Forwarded-For. Default 0.
    pub num_trusted_proxies: u32,
    /// What becomes of X-Forwarded-Client-Cert. Default SANITIZE.
    pub forward_client_cert_details: ForwardClientCertificate,
    /// Expect the PROXY protocol. Default not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolExpected>,
}

/// Expect the PROXY protocol. Has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyProtocolExpected {}

/// What becomes of X-Forwarded-Client-Cert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ForwardClientCertificate {
    /// As SANITIZE on gateways, APPEND_FORWARD on sidecars.
    #[default]
    Undefined,
    /// Taken out.
    Sanitize,
    /// Passed on where the client's connection has mutual TLS.
    ForwardOnly,
    /// The client's certificate is added where its connection has mutual TLS.
    AppendForward,
    /// Replaced by the client's certificate where its connection has mutual TLS.
    SanitizeSet,
    /// Passed on always.
    AlwaysForwardOnly,
}

/// Tracing by a proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyTracing {
    /// The share of requests that are traced, percent. Default 1.
    #[schemars(range(min = 0, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<f64>,
    /// Tags of spans.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// The most characters of a path in a span. Default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_path_tag_length: Option<u32>,
    /// Where Zipkin is, for meshes without a tracing provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<ZipkinAddress>,
}

/// Where Zipkin is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ZipkinAddress {
    /// `HOST:PORT`.
    pub address: String,
}
