//! Who this proxy is and whom it talks to, read from the environment that injection sets up. The
//! names are those of Istio's own agent.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What kind of proxy runs beside the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Beside an application.
    Sidecar,
    /// A gateway.
    Router,
}

impl Role {
    /// The first part of the node id.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Sidecar => "sidecar",
            Role::Router => "router",
        }
    }
}

/// Everything an agent needs to know.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Sidecar or gateway.
    pub role: Role,
    /// `POD_NAME`.
    pub pod: String,
    /// `POD_NAMESPACE`.
    pub namespace: String,
    /// `SERVICE_ACCOUNT`, `default` when absent.
    pub service_account: String,
    /// `INSTANCE_IP`: the addresses of the pod, the first is its main one.
    pub addresses: Vec<std::net::IpAddr>,
    /// DNS domain of the proxy, `NAMESPACE.svc.cluster.local`.
    pub domain: String,
    /// `TRUST_DOMAIN`, `cluster.local` when absent.
    pub trust_domain: String,
    /// `CA_ADDR`: the certificate service, `HOST:PORT`.
    pub ca_address: String,
    /// `discoveryAddress` of the proxy configuration, else `CA_ADDR`: the control plane's xDS.
    pub discovery_address: String,
    /// Roots that the control plane's certificate must lead to.
    pub root_certificate: PathBuf,
    /// The service account's token for the CA; read anew for each request, as it is renewed.
    pub token: PathBuf,
    /// `SECRET_TTL`: asked lifetime of certificates, 24 hours when absent.
    pub certificate_lifetime: Duration,
    /// Workers; 0 means one a core.
    pub concurrency: usize,
    /// `binaryPath` of the proxy configuration: stock Envoy in place of the built-in data plane.
    pub envoy: Option<PathBuf>,
    /// `--proxyLogLevel`, in Envoy's words.
    pub log_level: String,
    /// How long open connections may take to finish (`terminationDrainDuration`, 5 s).
    pub drain_deadline: Duration,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pod.
    pub annotations: BTreeMap<String, String>,
    /// `PROXY_CONFIG`, in JSON.
    pub proxy_config: Value,
    /// `ISTIO_META_*`, by the name after the prefix.
    pub metadata: BTreeMap<String, String>,
    /// `ISTIO_KUBE_APP_PROBERS`, in JSON.
    pub probers: Option<String>,
    /// `ISTIO_PROMETHEUS_ANNOTATIONS`: where the application's own metrics are.
    pub application_metrics: Option<ApplicationMetrics>,
}

/// Where an application's metrics are.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct ApplicationMetrics {
    /// Port, as text; 80 when empty.
    #[serde(default)]
    pub port: String,
    /// Path; `/metrics` when empty.
    #[serde(default)]
    pub path: String,
}

/// Why the environment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A variable is absent.
    #[error(
        "environment variable {0} is not set; a sidecar gets it by injection, a gateway from its Deployment"
    )]
    Missing(&'static str),
    /// A variable cannot be understood.
    #[error("environment variable {name}: {reason}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl AgentOptions {
    /// Reads the options through `variable`, and the pod's labels and annotations through `file`
    /// (both injected, so that tests need neither process environment nor files).
    pub fn read(
        role: Role,
        domain: Option<String>,
        variables: &BTreeMap<String, String>,
        file: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, OptionsError> {
        let variable = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
        let namespace = variable("POD_NAMESPACE").ok_or(OptionsError::Missing("POD_NAMESPACE"))?;
        let proxy_config = json(variables, "PROXY_CONFIG")?.unwrap_or_else(|| Value::Object(Map::new()));
        let ca_address = variable("CA_ADDR").unwrap_or_else(|| "istiod.istio-system.svc:15012".to_owned());
        let discovery = proxy_config["discoveryAddress"].as_str().map(str::to_owned);
        let metadata = variables
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("ISTIO_META_")?.to_owned(), value.clone())))
            .collect();
        Ok(Self {
            role,
            pod: variable("POD_NAME").ok_or(OptionsError::Missing("POD_NAME"))?,
            service_account: variable("SERVICE_ACCOUNT").unwrap_or_else(|| "default".to_owned()),
            addresses: addresses(&variable("INSTANCE_IP").ok_or(OptionsError::Missing("INSTANCE_IP"))?)?,
            domain: domain.unwrap_or_else(|| format!("{namespace}.svc.cluster.local")),
            trust_domain: variable("TRUST_DOMAIN").unwrap_or_else(|| "cluster.local".to_owned()),
            discovery_address: discovery.unwrap_or_else(|| ca_address.clone()),
            ca_address,
            root_certificate: PathBuf::from("/var/run/secrets/istio/root-cert.pem"),
            token: PathBuf::from("/var/run/secrets/tokens/istio-token"),
            certificate_lifetime: duration(variables, "SECRET_TTL", Duration::from_secs(24 * 60 * 60))?,
            concurrency: concurrency(&proxy_config)?,
            envoy: binary_path(&proxy_config)?,
            log_level: "warning".to_owned(),
            drain_deadline: drain_deadline(variables, &proxy_config)?,
            labels: file("/etc/istio/pod/labels").map(|text| downward(&text)).unwrap_or_default(),
            annotations: file("/etc/istio/pod/annotations").map(|text| downward(&text)).unwrap_or_default(),
            proxy_config,
            metadata,
            probers: variable("ISTIO_KUBE_APP_PROBERS"),
            application_metrics: json(variables, "ISTIO_PROMETHEUS_ANNOTATIONS")?
                .map(serde_json::from_value)
                .transpose()
                .map_err(|error| invalid("ISTIO_PROMETHEUS_ANNOTATIONS", &error))?,
            namespace,
        })
    }

    /// `TYPE~ADDRESS~POD.NAMESPACE~DOMAIN`.
    pub fn node_id(&self) -> String {
        let address = self.addresses.first().map(ToString::to_string).unwrap_or_default();
        format!("{}~{address}~{}.{}~{}", self.role.as_str(), self.pod, self.namespace, self.domain)
    }
}

fn invalid(name: &'static str, reason: &impl ToString) -> OptionsError {
    OptionsError::Invalid { name, reason: reason.to_string() }
}

fn json(variables: &BTreeMap<String, String>, name: &'static str) -> Result<Option<Value>, OptionsError> {
    let text = variables.get(name).filter(|text| !text.trim().is_empty());
    text.map(|text| serde_json::from_str(text)).transpose().map_err(|error| invalid(name, &error))
}

fn addresses(text: &str) -> Result<Vec<std::net::IpAddr>, OptionsError> {
    text.split(',')
        .map(|address| address.trim().parse())
        .collect::<Result<_, std::net::AddrParseError>>()
        .map_err(|error| invalid("INSTANCE_IP", &error))
}

fn duration(
    variables: &BTreeMap<String, String>,
    name: &'static str,
    default: Duration,
) -> Result<Duration, OptionsError> {
    match variables.get(name).filter(|text| !text.is_empty()) {
        None => Ok(default),
        Some(text) => parse_duration(text)
            .ok_or_else(|| invalid(name, &format!("'{text}' is not a duration, such as 5s or 24h0m0s"))),
    }
}

/// Go's notation of durations: `24h0m0s`, `1.5s`, `300ms`.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let (unit, length) =
            [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)]
                .into_iter()
                .find_map(|(unit, seconds)| rest.starts_with(unit).then_some((seconds, unit.len())))?;
        total += number * unit;
        rest = rest.get(length..)?;
    }
    Duration::try_from_secs_f64(total).ok()
}

fn concurrency(proxy_config: &Value) -> Result<usize, OptionsError> {
    match proxy_config.get("concurrency") {
        // Two workers, as Istio's chart has it: a sidecar that takes every core starves its pod.
        None | Some(Value::Null) => Ok(2),
        Some(value) => value.as_u64().and_then(|value| usize::try_from(value).ok()).ok_or_else(|| {
            invalid("PROXY_CONFIG", &format!("concurrency {value} is not a number of workers"))
        }),
    }
}

fn binary_path(proxy_config: &Value) -> Result<Option<PathBuf>, OptionsError> {
    match proxy_config.get("binaryPath") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(path)) => {
            Ok(Some(path.as_str()).filter(|path| !path.is_empty()).map(PathBuf::from))
        }
        Some(value) => Err(invalid("PROXY_CONFIG", &format!("binaryPath {value} is not a path"))),
    }
}

fn drain_deadline(
    variables: &BTreeMap<String, String>,
    proxy_config: &Value,
) -> Result<Duration, OptionsError> {
    // Asked to leave only when nobody is connected: as long as it takes, the kubelet's grace bounds it.
    if variables.get("EXIT_ON_ZERO_ACTIVE_CONNECTIONS").is_some_and(|value| value == "true") {
        return Ok(Duration::from_secs(24 * 60 * 60));
    }
    match proxy_config["terminationDrainDuration"].as_str() {
        None => Ok(Duration::from_secs(5)),
        Some(text) => parse_duration(text).ok_or_else(|| {
            invalid("PROXY_CONFIG", &format!("terminationDrainDuration '{text}' is not a duration"))
        }),
    }
}

/// The downward API's file format: one `key="value"` a line, the value quoted as in Go.
fn downward(text: &str) -> BTreeMap<String, String> {
    let entry = |line: &str| {
        let (key, quoted) = line.split_once('=')?;
        // Go's quoting is JSON's for everything that labels and annotations can hold in practice.
        let value = serde_json::from_str(quoted).unwrap_or_else(|_| quoted.trim_matches('"').to_owned());
        Some((key.to_owned(), value))
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
