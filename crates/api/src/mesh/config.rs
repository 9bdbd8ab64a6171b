//! MeshConfig: settings of the mesh as a whole. Source of names and defaults: Istio's `mesh.v1alpha1`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{provider::ExtensionProvider, proxy_config::ProxyConfig};
use crate::{
    duration::Duration,
    networking::{H2UpgradePolicy, HttpRetry, LocalityLoadBalancer, TcpKeepalive},
};

/// Settings of the mesh as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Where sidecars take intercepted outbound traffic. Default 15001.
    pub proxy_listen_port: u16,
    /// Where sidecars take intercepted inbound traffic. Default 15006.
    pub proxy_inbound_listen_port: u16,
    /// The time a connection may take to open, where no DestinationRule says. Default 10s.
    pub connect_timeout: Duration,
    /// How long a client may be silent before its protocol counts as TCP. Default 0s: for ever.
    #[schemars(extend("x-mizzen-duration" = "zero"))]
    pub protocol_detection_timeout: Duration,
    /// Keep-alive probes of sockets, where no DestinationRule says. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// The class of Ingress resources that are served. Default `istio`.
    pub ingress_class: String,
    /// The Service of the gateway that serves Ingress resources. Default `istio-ingressgateway`.
    pub ingress_service: String,
    /// Which Ingress resources are served. Default STRICT.
    pub ingress_controller_mode: IngressControllerMode,
    /// Whether proxies trace. Default true.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable_tracing: bool,
    /// File of access logs; `/dev/stdout` is the container's log. Default none: no access log.
    pub access_log_file: String,
    /// Format of access logs: text, or JSON. Default Istio's.
    pub access_log_format: String,
    /// Whether access logs are text or JSON. Default TEXT.
    pub access_log_encoding: AccessLogEncoding,
    /// Defaults of proxies.
    pub default_config: ProxyConfig,
    /// What becomes of traffic to unknown places. Default ALLOW_ANY.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// Where inbound traffic for unknown ports goes. Default PASSTHROUGH.
    pub inbound_traffic_policy: InboundTrafficPolicy,
    /// Whether sidecars speak mutual TLS to each other unasked. Default true.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable_auto_mtls: bool,
    /// The trust domain of identities. Default `cluster.local`.
    pub trust_domain: String,
    /// Other trust domains whose identities count as the mesh's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trust_domain_aliases: Vec<String>,
    /// Who sees services that do not say. Default `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_service_export_to: Vec<String>,
    /// Who sees VirtualServices that do not say. Default `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_virtual_service_export_to: Vec<String>,
    /// Who sees DestinationRules that do not say. Default `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_destination_rule_export_to: Vec<String>,
    /// The namespace whose policies hold for all. Default `istio-system`.
    pub root_namespace: String,
    /// Preference by place. Default on.
    pub locality_lb_setting: LocalityLoadBalancer,
    /// The time between DNS queries for endpoints given by name. Default 60s.
    pub dns_refresh_rate: Duration,
    /// Whether HTTP/1.1 is sent on as HTTP/2. Default DO_NOT_UPGRADE.
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// Whether applications' metrics are merged with those of their sidecars. Default true.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable_prometheus_merge: bool,
    /// Where telemetry can go. Default `prometheus` and `envoy`, besides those given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extension_providers: Vec<ExtensionProvider>,
    /// Where telemetry goes where no Telemetry resource says.
    pub default_providers: DefaultProviders,
    /// How paths are made comparable before routing and policy. Default BASE.
    pub path_normalization: PathNormalization,
    /// How failed requests are tried again, where no VirtualService says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_http_retry_policy: Option<HttpRetry>,
    /// TLS between sidecars.
    #[serde(rename = "meshMTLS")]
    pub mesh_mtls: MeshTls,
}

impl Default for MeshConfig {
    fn default() -> Self {
        let everyone = || vec!["*".to_owned()];
        Self {
            proxy_listen_port: 15001,
            proxy_inbound_listen_port: 15006,
            connect_timeout: Duration::from_secs(10),
            protocol_detection_timeout: Duration::ZERO,
            tcp_keepalive: None,
            ingress_class: "istio".to_owned(),
            ingress_service: "istio-ingressgateway".to_owned(),
            ingress_controller_mode: IngressControllerMode::Strict,
            enable_tracing: true,
            access_log_file: String::new(),
            access_log_format: String::new(),
            access_log_encoding: AccessLogEncoding::Text,
            default_config: ProxyConfig::default(),
            outbound_traffic_policy: OutboundTrafficPolicy::default(),
            inbound_traffic_policy: InboundTrafficPolicy::default(),
            enable_auto_mtls: true,
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            default_service_export_to: everyone(),
            default_virtual_service_export_to: everyone(),
            default_destination_rule_export_to: everyone(),
            root_namespace: "istio-system".to_owned(),
            locality_lb_setting: LocalityLoadBalancer {
                enabled: Some(true),
                ..LocalityLoadBalancer::default()
            },
            dns_refresh_rate: Duration::from_secs(60),
            h2_upgrade_policy: H2UpgradePolicy::DoNotUpgrade,
            enable_prometheus_merge: true,
            extension_providers: ExtensionProvider::built_in(),
            default_providers: DefaultProviders::default(),
            path_normalization: PathNormalization::default(),
            default_http_retry_policy: None,
            mesh_mtls: MeshTls::default(),
        }
    }
}

/// Which Ingress resources are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IngressControllerMode {
    /// None.
    Off,
    /// Those of the class, and those without a class.
    Default,
    /// Those of the class.
    #[default]
    Strict,
}

/// Whether access logs are text or JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccessLogEncoding {
    /// Lines of text.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// What becomes of traffic to unknown places.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// Let through or refused.
    pub mode: OutboundTrafficMode,
}

/// Whether traffic to unknown places is let through. Unlike in a Sidecar, the default is to let it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundTrafficMode {
    /// Refused.
    RegistryOnly,
    /// Let through.
    #[default]
    AllowAny,
}

/// Where inbound traffic for ports no service names goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InboundTrafficPolicy {
    /// To which address.
    pub mode: InboundTrafficMode,
}

/// To which address inbound traffic for ports no service names goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InboundTrafficMode {
    /// That of the pod.
    #[default]
    Passthrough,
    /// The loopback.
    Localhost,
}

/// Where telemetry goes where no Telemetry resource says, by names of providers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultProviders {
    /// Traces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tracing: Vec<String>,
    /// Metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,
    /// Access logs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_logging: Vec<String>,
}

/// How paths are made comparable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PathNormalization {
    /// Which changes.
    pub normalization: NormalizationType,
}

/// Which changes make paths comparable; each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NormalizationType {
    /// As BASE.
    #[default]
    Default,
    /// None.
    None,
    /// `.` and `..` segments are resolved, as RFC 3986 says.
    Base,
    /// Runs of slashes become one.
    MergeSlashes,
    /// `%2F` and `%5C` are decoded.
    DecodeAndMergeSlashes,
}

/// TLS between sidecars.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTls {
    /// The oldest protocol spoken. Default TLS 1.2 from others, TLS 1.3 among Mizzen's own.
    pub min_protocol_version: MeshTlsProtocol,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MeshTlsProtocol {
    /// The default.
    #[default]
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// TLS 1.2.
    #[serde(rename = "TLSV1_2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "TLSV1_3")]
    V1_3,
}
