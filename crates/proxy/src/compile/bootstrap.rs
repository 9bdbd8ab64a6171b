//! `Bootstrap`: reading it from a file, and refusing what is not honoured.

use super::{CompileError, decode, wire};
use bytes::Bytes;
use envoy_types::pb::envoy::config::bootstrap::v3::{Bootstrap, runtime_layer::LayerSpecifier};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::ConfigSource;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::google::protobuf::{Struct, value::Kind};
use mizzen_xds::json;
use prost::Message as _;

/// Where Envoy looks for the limit of open connections.
const CONNECTION_LIMIT: &str = "overload.global_downstream_max_connections";

/// Why a bootstrap file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is neither JSON nor YAML.
    #[error("neither JSON nor YAML: {0}")]
    Syntax(String),
    /// It does not fit `envoy.config.bootstrap.v3.Bootstrap`.
    #[error("not an Envoy bootstrap: {0}")]
    Message(#[from] serde_json::Error),
}

/// Reads a bootstrap from JSON or YAML text into an encoded [`Bootstrap`].
pub fn read(text: &str) -> Result<Bytes, ReadError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let encoded = json::encode::<Bootstrap, _>(&mut json).and_then(|encoded| {
        json.end()?;
        Ok(encoded)
    });
    let encoded = match encoded {
        Err(error) if error.is_syntax() || error.is_eof() => {
            let value: serde_json::Value =
                serde_saphyr::from_str(text).map_err(|error| ReadError::Syntax(error.to_string()))?;
            json::encode::<Bootstrap, _>(value)
        }
        other => other,
    };
    Ok(encoded?.into())
}

/// The number of `static_resources` in a `Bootstrap`.
const STATIC_RESOURCES: u32 = 2;
/// The numbers of the lists in `StaticResources`.
const LISTENERS: u32 = 1;
const CLUSTERS: u32 = 2;
const SECRETS: u32 = 3;
/// The number of `name` in a `Cluster`.
const CLUSTER_NAME: u32 = 1;

/// A bootstrap with its static resources still encoded, each a part of the whole: decoded together they
/// are the largest thing there is, and what is received is kept for dumps anyway.
pub struct Opened {
    /// The whole, encoded.
    pub encoded: Bytes,
    /// The message without its static resources.
    pub message: Bootstrap,
    /// Encoded listeners.
    pub listeners: Vec<Bytes>,
    /// Encoded clusters.
    pub clusters: Vec<Bytes>,
    /// Encoded secrets.
    pub secrets: Vec<Bytes>,
}

/// Opens an encoded bootstrap after `change` was made to what is not a static resource.
pub fn open(encoded: &[u8], change: impl FnOnce(&mut Bootstrap)) -> Result<Opened, CompileError> {
    let mut rest = Vec::new();
    let mut resources = Vec::new();
    for field in wire::fields(encoded) {
        let field = field?;
        let list = if field.number == STATIC_RESOURCES { &mut resources } else { &mut rest };
        list.extend_from_slice(field.whole);
    }
    let mut message: Bootstrap = decode(&rest)?;
    change(&mut message);
    let mut whole = message.encode_to_vec();
    whole.reserve_exact(resources.len());
    whole.extend(resources);
    let encoded = Bytes::from(whole);
    let (mut listeners, mut clusters, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
    for field in wire::fields(&encoded) {
        let field = field?;
        if field.number != STATIC_RESOURCES {
            continue;
        }
        for resource in wire::fields(field.value) {
            let resource = resource.map_err(|error| error.at("static_resources"))?;
            let value = || encoded.slice_ref(resource.value);
            match resource.number {
                LISTENERS => listeners.push(value()),
                CLUSTERS => clusters.push(value()),
                SECRETS => secrets.push(value()),
                _ => {}
            }
        }
    }
    Ok(Opened { encoded, message, listeners, clusters, secrets })
}

impl Opened {
    /// The static cluster of this name.
    pub fn cluster(&self, name: &str) -> Result<Option<Cluster>, CompileError> {
        let is_named = |cluster: &&Bytes| {
            let mut fields = wire::fields(cluster).map_while(Result::ok);
            fields.any(|field| field.number == CLUSTER_NAME && field.value == name.as_bytes())
        };
        self.clusters.iter().find(is_named).map(|cluster| decode(cluster)).transpose()
    }
}

/// Refuses the parts that are not honoured. Parts that only tune Envoy's own insides (watchdogs,
/// allocator, dispatcher statistics) have no counterpart here and change nothing.
pub fn check(bootstrap: &Bootstrap) -> Result<(), CompileError> {
    let unsupported: &[(bool, &str)] = &[
        (bootstrap.hds_config.is_some(), "hds_config"),
        (!bootstrap.stats_sinks.is_empty(), "stats_sinks"),
        (!bootstrap.header_prefix.is_empty(), "header_prefix"),
        (!bootstrap.bootstrap_extensions.is_empty(), "bootstrap_extensions"),
        (!bootstrap.fatal_actions.is_empty(), "fatal_actions"),
        (!bootstrap.certificate_provider_instances.is_empty(), "certificate_provider_instances"),
        (!bootstrap.inline_headers.is_empty(), "inline_headers"),
        (bootstrap.xds_delegate_extension.is_some(), "xds_delegate_extension"),
        (bootstrap.xds_config_tracker_extension.is_some(), "xds_config_tracker_extension"),
        (bootstrap.listener_manager.is_some(), "listener_manager"),
        (!bootstrap.config_sources.is_empty(), "config_sources"),
        (bootstrap.default_config_source.is_some(), "default_config_source"),
        (!bootstrap.flags_path.is_empty(), "flags_path"),
    ];
    if let Some((_, field)) = unsupported.iter().find(|(set, _)| *set) {
        return Err(CompileError::unsupported(*field, "this part of the bootstrap"));
    }
    if let Some(dynamic) = &bootstrap.dynamic_resources {
        aggregated(dynamic.lds_config.as_ref(), "dynamic_resources.lds_config")?;
        aggregated(dynamic.cds_config.as_ref(), "dynamic_resources.cds_config")?;
        let any = dynamic.lds_config.is_some() || dynamic.cds_config.is_some();
        if any && dynamic.ads_config.is_none() {
            return Err(CompileError::missing("dynamic_resources.ads_config"));
        }
    }
    Ok(())
}

/// Refuses what does not come over the one stream to the control plane.
pub fn aggregated(source: Option<&ConfigSource>, field: &str) -> Result<(), CompileError> {
    match source.and_then(|source| source.config_source_specifier.as_ref()) {
        None | Some(ConfigSourceSpecifier::Ads(_)) => Ok(()),
        Some(_) => Err(CompileError::unsupported(field, "a source other than ADS")),
    }
}

/// The limit of open connections in the static layers of the runtime, the last one winning.
pub fn connection_limit(bootstrap: &Bootstrap) -> Result<Option<u64>, CompileError> {
    let mut limit = None;
    for layer in bootstrap.layered_runtime.iter().flat_map(|runtime| &runtime.layers) {
        match &layer.layer_specifier {
            Some(LayerSpecifier::StaticLayer(values)) => limit = number(values, CONNECTION_LIMIT).or(limit),
            // The admin layer is what `/runtime_modify` writes; there is nothing in it at start.
            Some(LayerSpecifier::AdminLayer(_)) | None => {}
            Some(_) => {
                return Err(CompileError::unsupported(
                    format!("layered_runtime.layers ({})", layer.name),
                    "a runtime layer from disk or RTDS",
                ));
            }
        }
    }
    Ok(limit)
}

/// The number at a dotted path, written flat or nested.
fn number(values: &Struct, path: &str) -> Option<u64> {
    if let Some(value) = values.fields.get(path) {
        return match value.kind.as_ref()? {
            Kind::NumberValue(number) if *number >= 0.0 => Some(*number as u64),
            Kind::StringValue(text) => text.parse().ok(),
            _ => None,
        };
    }
    let (first, rest) = path.split_once('.')?;
    match values.fields.get(first)?.kind.as_ref()? {
        Kind::StructValue(inner) => number(inner, rest),
        _ => None,
    }
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
