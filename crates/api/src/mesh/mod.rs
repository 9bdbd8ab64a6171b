//! The configuration of the mesh itself: ConfigMap `istio`, key `mesh`, and its per-pod part.
//!
//! Unlike a resource, it is read tolerantly where Istio knows a setting and Mizzen does not: each such
//! field is reported as a warning. What neither knows is an error.

mod config;
mod provider;
mod proxy_config;

use std::sync::LazyLock;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use config::*;
pub use provider::*;
pub use proxy_config::*;

use crate::{
    schema, shape, source,
    violation::{Severity, Violation},
};

/// A configuration and what is doubtful about it (warnings).
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed<T> {
    /// What was read, with defaults for what was not there.
    pub config: T,
    /// Settings that are known to Istio and not honoured by Mizzen.
    pub warnings: Vec<Violation>,
}

/// Settings of Istio's MeshConfig that Mizzen does not honour.
const MESH_NOT_HONOURED: [&str; 23] = [
    "ca",
    "caCertificates",
    "certificates",
    "configSources",
    "defaultTrafficPolicy",
    "disableEnvoyListenerLog",
    "disableMixerHttpReports",
    "discoverySelectors",
    "enableEnvoyAccessLogService",
    "hboneIdleTimeout",
    "inboundClusterStatName",
    "ingressSelector",
    "mixerCheckServer",
    "mixerReportServer",
    "outboundClusterStatName",
    "proxyHttpPort",
    "reportBatchMaxEntries",
    "serviceScopeConfigs",
    "serviceSettings",
    "thriftConfig",
    "tlsDefaults",
    "verifyCertificateAtClient",
    "sdsUdsPath",
];

/// Settings of Istio's ProxyConfig that Mizzen does not honour.
const PROXY_NOT_HONOURED: [&str; 25] = [
    "availabilityZone",
    "configPath",
    "controlPlaneAuthPolicy",
    "customConfigFile",
    "envoyAccessLogService",
    "envoyMetricsService",
    "envoyMetricsServiceAddress",
    "extraStatTags",
    "fileFlushInterval",
    "fileFlushMinSizeKb",
    "parentShutdownDuration",
    "privateKeyProvider",
    "proxyBootstrapTemplatePath",
    "proxyHeaders",
    "proxyStatsMatcher",
    "runtimeValues",
    "sds",
    "serviceCluster",
    "statNameLength",
    "statsCompression",
    "statsdUdpAddress",
    "terminationGracePeriod",
    "tracingServiceName",
    "zipkinAddress",
    "discoveryRefreshDelay",
];

/// Reads the mesh's configuration from YAML. Empty text gives the defaults. Providers every mesh has are
/// added to those given.
///
/// # Errors
/// Text that is not YAML, and every field that is unknown or has a wrong type or value.
pub fn parse_mesh_config(text: &str) -> Result<Parsed<MeshConfig>, Vec<Violation>> {
    static SCHEMA: LazyLock<Value> = LazyLock::new(generate::<MeshConfig>);
    let mut value = read(text)?;
    let mut warnings = take_not_honoured(&mut value, &MESH_NOT_HONOURED, "");
    if let Some(proxy) = value.get_mut("defaultConfig") {
        warnings.extend(take_not_honoured(proxy, &PROXY_NOT_HONOURED, "defaultConfig."));
    }
    let mut config: MeshConfig = deserialize(&SCHEMA, value)?;
    for built_in in ExtensionProvider::built_in() {
        if !config.extension_providers.iter().any(|provider| provider.name == built_in.name) {
            config.extension_providers.push(built_in);
        }
    }
    for (index, provider) in config.extension_providers.iter().enumerate() {
        for name in provider.other.keys() {
            let path = format!("extensionProviders[{index}].{name}");
            warnings.push(Violation::warning(
                path,
                "is not a kind of provider Mizzen has; nothing is sent to it",
            ));
        }
    }
    Ok(Parsed { config, warnings })
}

impl ProxyConfig {
    /// This configuration with the changes of the annotation `proxy.istio.io/config`, which is YAML. Objects
    /// are merged, all else is replaced.
    ///
    /// # Errors
    /// Text that is not YAML, and every field that is unknown or has a wrong type or value.
    pub fn with_overrides(&self, text: &str) -> Result<Parsed<ProxyConfig>, Vec<Violation>> {
        static SCHEMA: LazyLock<Value> = LazyLock::new(generate::<ProxyConfig>);
        let mut overrides = read(text)?;
        let warnings = take_not_honoured(&mut overrides, &PROXY_NOT_HONOURED, "");
        let mut value =
            serde_json::to_value(self).map_err(|error| vec![Violation::error("", error.to_string())])?;
        shape::drop_nulls(&SCHEMA, &mut overrides);
        merge(&mut value, overrides);
        let config = deserialize(&SCHEMA, value)?;
        Ok(Parsed { config, warnings })
    }
}

fn generate<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    schema::make_structural(&mut schema);
    schema
}

fn read(text: &str) -> Result<Value, Vec<Violation>> {
    let documents = source::read(text).map_err(|error| vec![Violation::error("", error.to_string())])?;
    match documents.into_iter().next().map(|document| document.value) {
        None => Ok(Value::Object(Map::new())),
        Some(value @ Value::Object(_)) => Ok(value),
        Some(_) => Err(vec![Violation::error("", "must be an object of settings")]),
    }
}

/// Takes out the fields that Mizzen does not honour, with a warning for each.
fn take_not_honoured(value: &mut Value, names: &[&str], prefix: &str) -> Vec<Violation> {
    let Value::Object(fields) = value else { return Vec::new() };
    let found = names.iter().filter(|name| fields.remove(**name).is_some());
    found
        .map(|name| {
            Violation::warning(format!("{prefix}{name}"), "is a setting of Istio's that Mizzen does not use")
        })
        .collect()
}

fn deserialize<T: DeserializeOwned>(schema: &Value, mut value: Value) -> Result<T, Vec<Violation>> {
    shape::drop_nulls(schema, &mut value);
    let mut violations = shape::check(schema, &value, "");
    for violation in &mut violations {
        violation.path = violation.path.trim_start_matches('.').to_owned();
    }
    if violations.iter().any(|violation| violation.severity == Severity::Error) {
        return Err(violations);
    }
    serde_json::from_value(value).map_err(|error| vec![Violation::error("", error.to_string())])
}

/// Lays one value over another: objects field by field, all else whole.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                match base.get_mut(&name) {
                    Some(present) => merge(present, value),
                    None => {
                        base.insert(name, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
#[path = "mesh_tests.rs"]
mod tests;
