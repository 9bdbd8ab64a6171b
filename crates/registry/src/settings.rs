//! The mesh's settings: ConfigMap `istio`, key `mesh`, for those who use them: the model, and
//! injection.

use mizzen_api::Violation;
use mizzen_api::mesh::{self, AccessLogEncoding, OutboundTrafficMode, parse_mesh_config};
use mizzen_api::networking::H2UpgradePolicy;
use mizzen_model::mesh::{MeshConfig, Provider, ProviderKind};
use serde_json::Value;

/// What injection takes from the mesh's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct InjectionSettings {
    /// `defaultConfig` in JSON; proxies read it themselves.
    pub proxy_config: Value,
    /// `enablePrometheusMerge`.
    pub merge_prometheus: bool,
}

impl Default for InjectionSettings {
    fn default() -> Self {
        Self::of(&mesh::MeshConfig::default())
    }
}

impl InjectionSettings {
    fn of(config: &mesh::MeshConfig) -> Self {
        Self {
            // Writing our own types as JSON does not fail; without, proxies use their defaults.
            proxy_config: serde_json::to_value(&config.default_config).unwrap_or_default(),
            merge_prometheus: config.enable_prometheus_merge,
        }
    }
}

/// The settings of a text, and what in it is accepted but without effect.
pub(crate) struct Settings {
    pub(crate) mesh: MeshConfig,
    pub(crate) injection: InjectionSettings,
    pub(crate) warnings: Vec<Violation>,
}

/// Reads the settings.
pub(crate) fn parse(text: &str) -> Result<Settings, Vec<Violation>> {
    let parsed = parse_mesh_config(text)?;
    let injection = InjectionSettings::of(&parsed.config);
    Ok(Settings { mesh: to_model(parsed.config), injection, warnings: parsed.warnings })
}

/// The settings as the model has them.
fn to_model(config: mesh::MeshConfig) -> MeshConfig {
    MeshConfig {
        root_namespace: config.root_namespace,
        default_service_export_to: config.default_service_export_to,
        default_virtual_service_export_to: config.default_virtual_service_export_to,
        default_destination_rule_export_to: config.default_destination_rule_export_to,
        trust_domain: config.trust_domain,
        trust_domain_aliases: config.trust_domain_aliases,
        registry_only: config.outbound_traffic_policy.mode == OutboundTrafficMode::RegistryOnly,
        auto_mtls: config.enable_auto_mtls,
        connect_timeout: config.connect_timeout.as_std(),
        protocol_detection_timeout: config.protocol_detection_timeout.as_std(),
        h2_upgrade: config.h2_upgrade_policy == H2UpgradePolicy::Upgrade,
        default_retry: config.default_http_retry_policy,
        access_log_file: config.access_log_file,
        access_log_format: config.access_log_format,
        access_log_json: config.access_log_encoding == AccessLogEncoding::Json,
        enable_tracing: config.enable_tracing,
        tracing_sampling: sampling(&config.default_config),
        providers: config.extension_providers.into_iter().map(provider).collect(),
        default_access_log_providers: config.default_providers.access_logging,
        default_tracing_providers: config.default_providers.tracing,
        locality_failover: config.locality_lb_setting.enabled.unwrap_or(true),
        dns_refresh_rate: config.dns_refresh_rate.as_std(),
    }
}

fn sampling(config: &mesh::ProxyConfig) -> f64 {
    const DEFAULT_PERCENTAGE: f64 = 1.0;
    config.tracing.as_ref().and_then(|tracing| tracing.sampling).unwrap_or(DEFAULT_PERCENTAGE)
}

fn provider(provider: mesh::ExtensionProvider) -> Provider {
    let kind = if let Some(file) = provider.envoy_file_access_log {
        let format = file.log_format.unwrap_or_default();
        ProviderKind::AccessLogFile {
            path: file.path,
            text: format.text,
            json: format.labels.map(|labels| labels.into_iter().collect()),
        }
    } else if let Some(collector) = provider.opentelemetry {
        ProviderKind::OpenTelemetry { service: collector.service, port: collector.port }
    } else if provider.prometheus.is_some() {
        ProviderKind::Prometheus
    } else {
        ProviderKind::Other
    };
    Provider { name: provider.name, kind }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
