//! The settings of the mesh that its resources depend on.

use std::time::Duration;

use mizzen_api::networking::HttpRetry;

/// Settings from the mesh's ConfigMap, with Istio's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshConfig {
    /// The namespace whose policies hold for all.
    pub root_namespace: String,
    /// Who sees services that do not say.
    pub default_service_export_to: Vec<String>,
    /// Who sees VirtualServices that do not say.
    pub default_virtual_service_export_to: Vec<String>,
    /// Who sees DestinationRules that do not say.
    pub default_destination_rule_export_to: Vec<String>,
    /// The trust domain of identities.
    pub trust_domain: String,
    /// Older names of the trust domain, still accepted.
    pub trust_domain_aliases: Vec<String>,
    /// Whether connections to hosts nobody knows are refused.
    pub registry_only: bool,
    /// Whether clients speak mutual TLS to whoever accepts it, without being told.
    pub auto_mtls: bool,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a server-first protocol is waited for; zero waits for ever.
    pub protocol_detection_timeout: Duration,
    /// Whether HTTP/1.1 requests go over HTTP/2 between sidecars.
    pub h2_upgrade: bool,
    /// The retries of routes that say nothing of them.
    pub default_retry: Option<HttpRetry>,
    /// The file access logs go to; empty for none.
    pub access_log_file: String,
    /// The format of access logs; empty for Istio's.
    pub access_log_format: String,
    /// Whether access logs are JSON.
    pub access_log_json: bool,
    /// Whether tracing is on where a provider is configured.
    pub enable_tracing: bool,
    /// The share of requests traced where nothing else is said, in percent.
    pub tracing_sampling: f64,
    /// Providers of telemetry and authorization.
    pub providers: Vec<Provider>,
    /// The providers access logs go to where no Telemetry resource says.
    pub default_access_log_providers: Vec<String>,
    /// The providers of tracing where no Telemetry resource says.
    pub default_tracing_providers: Vec<String>,
    /// Whether endpoints near the client are preferred.
    pub locality_failover: bool,
    /// The policy of clusters that no DestinationRule says anything of.
    pub dns_refresh_rate: Duration,
}

/// Something outside the mesh that its proxies talk to.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// The name policies refer to it by.
    pub name: String,
    /// What it is.
    pub kind: ProviderKind,
}

/// What a [`Provider`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum ProviderKind {
    /// Access logs to a file.
    AccessLogFile {
        /// The path.
        path: String,
        /// A text format of its own.
        text: Option<String>,
        /// A JSON format of its own.
        json: Option<serde_json::Map<String, serde_json::Value>>,
    },
    /// Spans to an OpenTelemetry collector.
    OpenTelemetry {
        /// Its service, `[namespace/]host`.
        service: String,
        /// Its port.
        port: u16,
    },
    /// Metrics in Prometheus' form, which every proxy has.
    Prometheus,
    /// Anything else; its use is refused by name.
    Other,
}

impl MeshConfig {
    /// Whether connections to hosts nobody knows are let through.
    pub fn allows_any(&self) -> bool {
        !self.registry_only
    }

    /// A provider by name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }
}

impl Default for MeshConfig {
    fn default() -> Self {
        let file = ProviderKind::AccessLogFile { path: "/dev/stdout".to_owned(), text: None, json: None };
        Self {
            root_namespace: "istio-system".to_owned(),
            default_service_export_to: Vec::new(),
            default_virtual_service_export_to: Vec::new(),
            default_destination_rule_export_to: Vec::new(),
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            registry_only: false,
            auto_mtls: true,
            connect_timeout: Duration::from_secs(10),
            protocol_detection_timeout: Duration::ZERO,
            h2_upgrade: false,
            default_retry: None,
            access_log_file: String::new(),
            access_log_format: String::new(),
            access_log_json: false,
            enable_tracing: true,
            tracing_sampling: 1.0,
            providers: vec![
                Provider { name: "prometheus".to_owned(), kind: ProviderKind::Prometheus },
                Provider { name: "envoy".to_owned(), kind: file },
            ],
            default_access_log_providers: Vec::new(),
            default_tracing_providers: Vec::new(),
            locality_failover: true,
            dns_refresh_rate: Duration::from_secs(60),
        }
    }
}
