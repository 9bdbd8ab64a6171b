//! The annotations of a pod that change its sidecar, read once and checked.

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;
use std::str::FromStr;

/// An annotation whose value cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("annotation {name}: '{value}' {reason}")]
pub struct AnnotationError {
    /// The annotation.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Everything the annotations of a pod say about its sidecar; defaults where they are silent.
#[derive(Clone, Debug)]
pub struct Annotations {
    /// `-i`: outbound networks to capture, `*` for all.
    pub include_outbound_networks: String,
    /// `-x`: outbound networks to leave alone.
    pub exclude_outbound_networks: String,
    /// `-q`: outbound ports to capture whatever the network.
    pub include_outbound_ports: String,
    /// `-o`: outbound ports to leave alone.
    pub exclude_outbound_ports: String,
    /// `-b`: inbound ports to capture, `*` for all.
    pub include_inbound_ports: String,
    /// `-d`: inbound ports to leave alone, the proxy's own not counted.
    pub exclude_inbound_ports: String,
    /// `-c`: interfaces whose incoming traffic is left alone.
    pub exclude_interfaces: String,
    /// Image of the proxy, when not the mesh's.
    pub image: Option<String>,
    /// Processor and memory of the proxy.
    pub resources: ResourceRequirements,
    /// Log level of the proxy.
    pub log_level: String,
    /// Whether application probes go through the agent.
    pub rewrite_probes: bool,
    /// Whether application metrics are merged, where the pod says.
    pub merge_prometheus: Option<bool>,
    /// Overrides of the proxy's configuration (`proxy.istio.io/config`), in JSON.
    pub proxy_config: Option<Value>,
    /// Readiness probe: initial delay, period (seconds) and failure threshold.
    pub readiness: (i32, i32, i32),
    /// The agent's port (`status.sidecar.istio.io/port`).
    pub status_port: u16,
    /// One sentence for each annotation that is not honoured.
    pub warnings: Vec<String>,
}

/// Annotations that ask for something our sidecar does not do; each is answered with a warning.
const NOT_HONOURED: [&str; 17] = [
    "sidecar.istio.io/bootstrapOverride",
    "sidecar.istio.io/interceptionMode",
    "sidecar.istio.io/proxyImageType",
    "sidecar.istio.io/statsInclusionPrefixes",
    "sidecar.istio.io/statsInclusionSuffixes",
    "sidecar.istio.io/statsInclusionRegexps",
    "sidecar.istio.io/statsHistogramBuckets",
    "sidecar.istio.io/statsHistogramBins",
    "sidecar.istio.io/statsFlushInterval",
    "sidecar.istio.io/statsEvictionInterval",
    "sidecar.istio.io/userVolume",
    "sidecar.istio.io/userVolumeMount",
    "sidecar.istio.io/componentLogLevel",
    "sidecar.istio.io/agentLogLevel",
    "sidecar.istio.io/discoveryAddress",
    "traffic.sidecar.istio.io/kubevirtInterfaces",
    "istio.io/reroute-virtual-interfaces",
];

impl Annotations {
    /// Reads the annotations of `pod`.
    pub fn read(pod: &Pod) -> Result<Self, AnnotationError> {
        let empty = BTreeMap::new();
        let reader = Reader(pod.metadata.annotations.as_ref().unwrap_or(&empty));
        Ok(Self {
            include_outbound_networks: reader.list(
                "traffic.sidecar.istio.io/includeOutboundIPRanges",
                "*",
                network,
            )?,
            exclude_outbound_networks: reader.list(
                "traffic.sidecar.istio.io/excludeOutboundIPRanges",
                "",
                network,
            )?,
            include_outbound_ports: reader.list("traffic.sidecar.istio.io/includeOutboundPorts", "", port)?,
            exclude_outbound_ports: reader.list("traffic.sidecar.istio.io/excludeOutboundPorts", "", port)?,
            include_inbound_ports: reader.list("traffic.sidecar.istio.io/includeInboundPorts", "*", port)?,
            exclude_inbound_ports: reader.list("traffic.sidecar.istio.io/excludeInboundPorts", "", port)?,
            exclude_interfaces: reader.list("traffic.sidecar.istio.io/excludeInterfaces", "", interface)?,
            image: reader.get("sidecar.istio.io/proxyImage").map(str::to_owned),
            resources: reader.resources()?,
            log_level: reader.log_level()?,
            rewrite_probes: reader.boolean("sidecar.istio.io/rewriteAppHTTPProbers")?.unwrap_or(true),
            merge_prometheus: reader.boolean("prometheus.istio.io/merge-metrics")?,
            proxy_config: reader.proxy_config()?,
            readiness: (
                reader.number("readiness.status.sidecar.istio.io/initialDelaySeconds")?.unwrap_or(0),
                reader.number("readiness.status.sidecar.istio.io/periodSeconds")?.unwrap_or(15),
                reader.number("readiness.status.sidecar.istio.io/failureThreshold")?.unwrap_or(4),
            ),
            status_port: reader.number("status.sidecar.istio.io/port")?.unwrap_or(15020),
            warnings: reader.warnings(),
        })
    }
}

struct Reader<'a>(&'a BTreeMap<String, String>);

impl Reader<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn error(name: &str, value: &str, reason: &'static str) -> AnnotationError {
        AnnotationError { name: name.to_owned(), value: value.to_owned(), reason }
    }

    /// A comma-separated list whose items `check` accepts, or `*`.
    fn list(
        &self,
        name: &str,
        default: &str,
        check: fn(&str) -> Result<(), &'static str>,
    ) -> Result<String, AnnotationError> {
        let Some(value) = self.get(name) else { return Ok(default.to_owned()) };
        let items: Vec<&str> = value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
        for item in &items {
            if *item != "*" {
                check(item).map_err(|reason| Self::error(name, value, reason))?;
            }
        }
        Ok(items.join(","))
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, AnnotationError> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(value) => Err(Self::error(name, value, "is neither true nor false")),
        }
    }

    fn number<N: FromStr>(&self, name: &str) -> Result<Option<N>, AnnotationError> {
        let parse =
            |value: &str| value.parse().map_err(|_| Self::error(name, value, "is not a number in range"));
        self.get(name).map(parse).transpose()
    }

    fn log_level(&self) -> Result<String, AnnotationError> {
        const NAME: &str = "sidecar.istio.io/logLevel";
        const LEVELS: [&str; 7] = ["trace", "debug", "info", "warning", "error", "critical", "off"];
        match self.get(NAME) {
            None => Ok("warning".to_owned()),
            Some(level) if LEVELS.contains(&level) => Ok(level.to_owned()),
            Some(level) => Err(Self::error(
                NAME,
                level,
                "is not one of trace, debug, info, warning, error, critical, off",
            )),
        }
    }

    fn resources(&self) -> Result<ResourceRequirements, AnnotationError> {
        let quantity = |name: &str, default: &str| match self.get(name) {
            None => Ok(Quantity(default.to_owned())),
            Some(value) if is_quantity(value) => Ok(Quantity(value.to_owned())),
            Some(value) => {
                Err(Self::error(name, value, "is not a Kubernetes quantity, such as 100m or 128Mi"))
            }
        };
        let requests = BTreeMap::from([
            ("cpu".to_owned(), quantity("sidecar.istio.io/proxyCPU", "100m")?),
            ("memory".to_owned(), quantity("sidecar.istio.io/proxyMemory", "128Mi")?),
        ]);
        let limits = BTreeMap::from([
            ("cpu".to_owned(), quantity("sidecar.istio.io/proxyCPULimit", "2")?),
            ("memory".to_owned(), quantity("sidecar.istio.io/proxyMemoryLimit", "1Gi")?),
        ]);
        Ok(ResourceRequirements {
            requests: Some(requests),
            limits: Some(limits),
            ..ResourceRequirements::default()
        })
    }

    fn proxy_config(&self) -> Result<Option<Value>, AnnotationError> {
        const NAME: &str = "proxy.istio.io/config";
        let Some(text) = self.get(NAME) else { return Ok(None) };
        match serde_saphyr::from_str::<Value>(text) {
            Ok(value @ Value::Object(_)) if has_textual_metadata(&value) => Ok(Some(value)),
            Ok(Value::Object(_)) => Err(Self::error(
                NAME,
                text,
                "has a proxyMetadata that is not a mapping of texts; quote its values",
            )),
            Ok(Value::Null) => Ok(None),
            Ok(_) | Err(_) => Err(Self::error(NAME, text, "is not a YAML mapping")),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let asked = NOT_HONOURED.iter().filter(|name| self.0.contains_key(**name));
        asked.map(|name| format!("annotation {name} is not honoured by this mesh's sidecar")).collect()
    }
}

/// Whether `proxyMetadata`, if any, can be variables of an environment.
fn has_textual_metadata(proxy_config: &Value) -> bool {
    match proxy_config.get("proxyMetadata") {
        None | Some(Value::Null) => true,
        Some(Value::Object(settings)) => settings.values().all(Value::is_string),
        Some(_) => false,
    }
}

fn port(item: &str) -> Result<(), &'static str> {
    item.parse::<u16>().map(drop).map_err(|_| "holds something that is not a port")
}

fn network(item: &str) -> Result<(), &'static str> {
    let (address, length) = item.split_once('/').unwrap_or((item, "0"));
    let Ok(address) = address.parse::<std::net::IpAddr>() else {
        return Err("holds something that is not a network, such as 10.0.0.0/8");
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    match length.parse::<u8>() {
        Ok(length) if length <= longest => Ok(()),
        _ => Err("holds a network whose prefix length is out of range"),
    }
}

fn interface(item: &str) -> Result<(), &'static str> {
    let valid = item.len() <= 15 && item.chars().all(|letter| letter.is_ascii_graphic() && letter != '/');
    if valid { Ok(()) } else { Err("holds something that is not the name of a network interface") }
}

fn is_quantity(value: &str) -> bool {
    let digits = value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let suffix = &value[digits.len()..];
    const SUFFIXES: [&str; 13] = ["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi"];
    digits.parse::<f64>().is_ok_and(|number| number >= 0.0) && SUFFIXES.contains(&suffix)
}
