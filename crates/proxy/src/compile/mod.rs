//! Protobuf → compiled form, or the reason it is refused. One file a resource kind. All of it runs on
//! the configuration thread; nothing here is seen by a request.

pub mod access_log;
pub mod address;
pub mod bootstrap;
pub mod cluster;
pub mod data_source;
pub mod http_connection_manager;
pub mod http_filter;
pub mod listener;
pub mod network_filter;
pub mod route;
mod route_action;
pub mod secret;
pub mod tls_context;
pub mod wire;

use crate::telemetry::Telemetry;
use crate::tls::Secrets;
use prost::Name;
use std::sync::Arc;

/// Why a resource is refused: which field, and what is wrong with it. The resource's own name is
/// added by whoever reports it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct CompileError {
    /// Path from the resource's root, for example `filter_chains[0].transport_socket`.
    pub field: String,
    /// What is wrong, and what would be accepted.
    pub reason: String,
}

impl CompileError {
    /// A field whose value makes no sense.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }

    /// A field that must be set and is not.
    pub fn missing(field: impl Into<String>) -> Self {
        Self::invalid(field, "is required")
    }

    /// A field or value that Envoy knows and this proxy does not honour.
    pub fn unsupported(field: impl Into<String>, what: impl std::fmt::Display) -> Self {
        Self::invalid(field, format!("{what} is not supported by this proxy"))
    }

    /// Prefixes the path: `error.at("virtual_hosts[2]")`.
    pub fn at(mut self, prefix: impl std::fmt::Display) -> Self {
        self.field =
            if self.field.is_empty() { prefix.to_string() } else { format!("{prefix}.{}", self.field) };
        self
    }
}

/// What compilation may look at besides the resource.
#[derive(Clone)]
pub struct Context {
    /// The node as the bootstrap gives it.
    pub node: Arc<envoy_types::pb::envoy::config::core::v3::Node>,
    /// Named secrets, for TLS contexts; asking for one subscribes to it.
    pub secrets: Arc<Secrets>,
    /// Metrics, access logs and traces.
    pub telemetry: Arc<Telemetry>,
    /// Runs what belongs to no worker: name resolution, health checks.
    pub control: tokio::runtime::Handle,
}

/// The message inside `any`, refusing any other type by name.
pub fn unpack<M: prost::Message + Name + Default>(
    any: &envoy_types::pb::google::protobuf::Any,
    field: &str,
) -> Result<M, CompileError> {
    if any.type_url != M::type_url() {
        return Err(CompileError::invalid(
            field,
            format!("has type '{}' where '{}' is expected", any.type_url, M::type_url()),
        ));
    }
    decode(&any.value).map_err(|error| error.at(field))
}

/// The message of these bytes.
pub fn decode<M: prost::Message + Default>(body: &[u8]) -> Result<M, CompileError> {
    M::decode(body).map_err(|error| CompileError::invalid("", format!("does not decode: {error}")))
}

/// As [`unpack`], for messages that do not know their own type URL.
pub fn unpack_named<M: prost::Message + Default>(
    any: &envoy_types::pb::google::protobuf::Any,
    type_url: &str,
    field: &str,
) -> Result<M, CompileError> {
    if any.type_url != type_url {
        let reason = format!("has type '{}' where '{type_url}' is expected", any.type_url);
        return Err(CompileError::invalid(field, reason));
    }
    decode(&any.value).map_err(|error| error.at(field))
}

/// A duration that is not negative; `None` when it is not set.
pub fn duration(
    value: &Option<envoy_types::pb::google::protobuf::Duration>,
    field: &str,
) -> Result<Option<std::time::Duration>, CompileError> {
    let Some(value) = value else { return Ok(None) };
    match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => {
            Ok(Some(std::time::Duration::new(seconds, nanos)))
        }
        _ => Err(CompileError::invalid(field, "is not a duration of 0 or more")),
    }
}
