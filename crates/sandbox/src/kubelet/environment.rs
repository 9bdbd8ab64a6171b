//! The environment of a container, and `$(VARIABLE)` in commands. Pure: what the API holds is
//! looked up before.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What variables may come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The ConfigMaps the pod names, those that exist.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// The Secrets the pod names, those that exist.
    pub secrets: BTreeMap<String, Secret>,
    /// The Services of the pod's namespace, and `kubernetes` of `default`.
    pub services: Vec<Service>,
}

/// What a pod knows of itself only once it is placed.
#[derive(Clone, Debug, Default)]
pub struct Placed {
    /// The pod's address.
    pub pod_address: String,
    /// The node's address.
    pub host_address: String,
    /// The node's name.
    pub node_name: String,
}

/// Why a container cannot be given its environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A ConfigMap or Secret that must exist does not.
    #[error("{kind} \"{name}\" not found")]
    MissingObject {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A key that must exist does not.
    #[error("couldn't find key {key} in {kind} {name}")]
    MissingKey {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A field path that pods do not have.
    #[error("field path \"{0}\" is not one a pod can be asked for")]
    UnknownField(String),
    /// A resource that containers do not have.
    #[error("resource \"{0}\" is not one a container can be asked for")]
    UnknownResource(String),
    /// A source that is not honoured.
    #[error("environment variable {0} comes from a source that the sandbox does not have")]
    UnknownSource(String),
}

/// The container's variables in order, later ones winning.
pub fn resolve(
    pod: &Pod,
    container: &Container,
    placed: &Placed,
    sources: &Sources,
) -> Result<BTreeMap<String, String>, EnvironmentError> {
    let mut variables = BTreeMap::new();
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    for service in &sources.services {
        let kubernetes = service.metadata.name.as_deref() == Some("kubernetes");
        if links || kubernetes {
            variables.extend(service_variables(service));
        }
    }
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.clone().unwrap_or_default();
        let prefixed = |(key, value): (String, String)| (format!("{prefix}{key}"), value);
        if let Some(reference) = &source.config_map_ref {
            let found = sources.config_maps.get(&reference.name);
            let data = found.map(|map| map.data.clone().unwrap_or_default());
            let data = required("configmap", &reference.name, reference.optional, data)?;
            variables.extend(data.into_iter().flatten().map(prefixed));
        }
        if let Some(reference) = &source.secret_ref {
            let data = sources.secrets.get(&reference.name).map(secret_texts);
            let data = required("secret", &reference.name, reference.optional, data)?;
            variables.extend(data.into_iter().flatten().map(prefixed));
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => Some(expand(value, &variables)),
            (None, None) => Some(String::new()),
            (None, Some(source)) => from_source(&variable.name, source, pod, container, placed, sources)?,
        };
        if let Some(value) = value {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

fn required<T>(
    kind: &'static str,
    name: &str,
    optional: Option<bool>,
    found: Option<T>,
) -> Result<Option<T>, EnvironmentError> {
    match found {
        None if optional != Some(true) => {
            Err(EnvironmentError::MissingObject { kind, name: name.to_owned() })
        }
        found => Ok(found),
    }
}

/// The values of a Secret that are text; the others cannot be environment variables.
fn secret_texts(secret: &Secret) -> BTreeMap<String, String> {
    let data = secret.data.iter().flatten();
    data.filter_map(|(key, ByteString(value))| Some((key.clone(), String::from_utf8(value.clone()).ok()?)))
        .collect()
}

fn from_source(
    name: &str,
    source: &EnvVarSource,
    pod: &Pod,
    container: &Container,
    placed: &Placed,
    sources: &Sources,
) -> Result<Option<String>, EnvironmentError> {
    if let Some(field) = &source.field_ref {
        return pod_field(pod, placed, &field.field_path).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        let other = resource.container_name.as_deref();
        let container = other.and_then(|name| named_container(pod, name)).unwrap_or(container);
        return container_resource(container, &resource.resource, resource.divisor.as_ref()).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let map = sources.config_maps.get(&reference.name);
        let Some(map) = required("configmap", &reference.name, reference.optional, map)? else {
            return Ok(None);
        };
        let value = map.data.as_ref().and_then(|data| data.get(&reference.key)).cloned();
        return required_key("ConfigMap", &reference.name, &reference.key, reference.optional, value);
    }
    if let Some(reference) = &source.secret_key_ref {
        let secret = sources.secrets.get(&reference.name);
        let Some(secret) = required("secret", &reference.name, reference.optional, secret)? else {
            return Ok(None);
        };
        let value = secret_texts(secret).remove(&reference.key);
        return required_key("Secret", &reference.name, &reference.key, reference.optional, value);
    }
    Err(EnvironmentError::UnknownSource(name.to_owned()))
}

fn required_key(
    kind: &'static str,
    name: &str,
    key: &str,
    optional: Option<bool>,
    value: Option<String>,
) -> Result<Option<String>, EnvironmentError> {
    match value {
        None if optional != Some(true) => {
            Err(EnvironmentError::MissingKey { kind, name: name.to_owned(), key: key.to_owned() })
        }
        value => Ok(value),
    }
}

/// A container or init container by name.
pub fn named_container<'p>(pod: &'p Pod, name: &str) -> Option<&'p Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|container| container.name == name)
}

/// A field of the pod as text, by the paths of the downward API.
pub fn pod_field(pod: &Pod, placed: &Placed, path: &str) -> Result<String, EnvironmentError> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let value = match path {
        "metadata.name" => text(&pod.metadata.name),
        "metadata.namespace" => text(&pod.metadata.namespace),
        "metadata.uid" => text(&pod.metadata.uid),
        "metadata.labels" => pairs(pod.metadata.labels.as_ref()),
        "metadata.annotations" => pairs(pod.metadata.annotations.as_ref()),
        "spec.nodeName" => placed.node_name.clone(),
        "spec.serviceAccountName" => {
            let account = spec.and_then(|spec| spec.service_account_name.clone());
            account.unwrap_or_else(|| "default".to_owned())
        }
        "status.podIP" | "status.podIPs" => placed.pod_address.clone(),
        "status.hostIP" | "status.hostIPs" => placed.host_address.clone(),
        _ => return subscripted(pod, path).ok_or_else(|| EnvironmentError::UnknownField(path.to_owned())),
    };
    Ok(value)
}

/// `metadata.labels['key']` and `metadata.annotations['key']`; a key that is not there is empty.
fn subscripted(pod: &Pod, path: &str) -> Option<String> {
    let (map, rest) = match path.strip_prefix("metadata.labels['") {
        Some(rest) => (pod.metadata.labels.as_ref(), rest),
        None => (pod.metadata.annotations.as_ref(), path.strip_prefix("metadata.annotations['")?),
    };
    let key = rest.strip_suffix("']")?;
    Some(map.and_then(|map| map.get(key)).cloned().unwrap_or_default())
}

/// `key="value"` lines, as the downward API writes maps.
fn pairs(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A limit or request in units of `divisor`, rounded up. Without a limit it is the machine's.
pub fn container_resource(
    container: &Container,
    resource: &str,
    divisor: Option<&Quantity>,
) -> Result<String, EnvironmentError> {
    let unknown = || EnvironmentError::UnknownResource(resource.to_owned());
    let (kind, name) = resource.split_once('.').ok_or_else(unknown)?;
    let resources = container.resources.as_ref();
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let wanted = match kind {
        "limits" => limits,
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(unknown()),
    };
    let amount = match wanted.and_then(|wanted| wanted.get(name)) {
        Some(quantity) => quantity_value(&quantity.0).ok_or_else(unknown)?,
        None if kind == "requests" => 0.0,
        None => machine_resource(name).ok_or_else(unknown)?,
    };
    let unit =
        divisor.and_then(|divisor| quantity_value(&divisor.0)).filter(|unit| *unit > 0.0).unwrap_or(1.0);
    Ok(format!("{:.0}", (amount / unit).ceil()))
}

fn machine_resource(name: &str) -> Option<f64> {
    match name {
        "cpu" => std::thread::available_parallelism().ok().map(|count| count.get() as f64),
        "memory" | "ephemeral-storage" => {
            let info = std::fs::read_to_string("/proc/meminfo").ok()?;
            let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            Some(line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? * 1024.0)
        }
        _ => None,
    }
}

/// A Kubernetes quantity as a number: `100m`, `1.5`, `128Mi`, `1e3`.
pub fn quantity_value(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 14] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ];
    for (suffix, factor) in SUFFIXES {
        if let Some(number) = text.strip_suffix(suffix) {
            return Some(number.parse::<f64>().ok()? * factor);
        }
    }
    text.parse().ok()
}

/// `REVIEWS_SERVICE_HOST`, `REVIEWS_SERVICE_PORT` and the older `REVIEWS_PORT_…` forms.
fn service_variables(service: &Service) -> Vec<(String, String)> {
    let spec = service.spec.as_ref();
    let address = spec.and_then(|spec| spec.cluster_ip.as_deref()).filter(|address| *address != "None");
    let (Some(name), Some(address)) = (&service.metadata.name, address.filter(|address| !address.is_empty()))
    else {
        return Vec::new();
    };
    let upper = |text: &str| text.to_uppercase().replace('-', "_");
    let prefix = upper(name);
    let mut variables = vec![(format!("{prefix}_SERVICE_HOST"), address.to_owned())];
    let ports = spec.and_then(|spec| spec.ports.as_ref());
    for (index, port) in ports.into_iter().flatten().enumerate() {
        let number = port.port;
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        if index == 0 {
            variables.push((format!("{prefix}_SERVICE_PORT"), number.to_string()));
            variables.push((format!("{prefix}_PORT"), format!("{lower}://{address}:{number}")));
        }
        if let Some(name) = &port.name {
            variables.push((format!("{prefix}_SERVICE_PORT_{}", upper(name)), number.to_string()));
        }
        let long = format!("{prefix}_PORT_{number}_{protocol}");
        variables.push((long.clone(), format!("{lower}://{address}:{number}")));
        variables.push((format!("{long}_PROTO"), lower));
        variables.push((format!("{long}_PORT"), number.to_string()));
        variables.push((format!("{long}_ADDR"), address.to_owned()));
    }
    variables
}

/// Replaces `$(NAME)` by the variable, leaves unknown ones as they are, and `$$(NAME)` is a literal
/// `$(NAME)`.
pub fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        let (before, dollar) = rest.split_at(start);
        out.push_str(before);
        let after = dollar.get(1..).unwrap_or_default();
        if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            rest = escaped;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match variables.get(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
