//! Sidecar: what a sidecar accepts and what it can reach.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{destination_rule::ConnectionPool, gateway::ServerTls, virtual_service::Destination};
use crate::common::{Port, WorkloadSelector};

/// What the sidecars of some workloads accept and reach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// The workloads; absent means all of the namespace (of all namespaces, in the root namespace).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<WorkloadSelector>,
    /// What is accepted. Default every port of the workload's services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<IngressListener>,
    /// What is reached. Default everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressListener>,
    /// Limits on what is accepted, for all ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound_connection_pool: Option<ConnectionPool>,
    /// What becomes of traffic to unknown places. Default that of the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// A port on which traffic for the workload is accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["port"]))]
pub struct IngressListener {
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// The address to listen on. Default that of the workload.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub bind: Option<String>,
    /// How traffic gets to the listener. Default as the workload is set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_mode: Option<CaptureMode>,
    /// Where it is passed on to: `127.0.0.1:PORT`, `0.0.0.0:PORT`, `[::1]:PORT` or `unix:///path`.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub default_endpoint: Option<String>,
    /// TLS of the port, in place of the mesh's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// Limits on what is accepted on this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPool>,
}

/// Services the workload can reach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["hosts"]))]
pub struct EgressListener {
    /// The port. Default every port of the services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// The address to listen on. Default that of the services.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub bind: Option<String>,
    /// How traffic gets to the listener. Default as the workload is set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_mode: Option<CaptureMode>,
    /// The services, as `NAMESPACE/HOST`; the namespace may be `*`, `.` or `~`, the host may be `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// How traffic gets to a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CaptureMode {
    /// As the workload is set up.
    #[default]
    Default,
    /// By interception.
    Iptables,
    /// By clients that connect to it.
    None,
}

/// What becomes of traffic to places the mesh does not know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// Refused or let through. In a Sidecar the default is REGISTRY_ONLY, as the first value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<OutboundTrafficMode>,
    /// A service such traffic is sent through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_proxy: Option<Destination>,
}

/// Whether traffic to unknown places is let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundTrafficMode {
    /// Refused.
    #[default]
    RegistryOnly,
    /// Let through.
    AllowAny,
}
