//! ServiceEntry, WorkloadEntry and WorkloadGroup: services and workloads the platform's registry does not know.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::WorkloadSelector;

/// A service the platform's registry does not know, in the mesh or outside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["hosts"]))]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.workloadSelector) || !has(self.endpoints)", "message": "set workloadSelector or endpoints, not both" },
    { "rule": "!has(self.addresses) || !has(self.resolution) || self.resolution in ['NONE', 'STATIC'] || !self.addresses.exists(a, a.contains('/'))", "message": "a range in addresses needs resolution NONE or STATIC" },
    { "rule": "has(self.resolution) && self.resolution != 'NONE' || !has(self.endpoints)", "message": "endpoints need a resolution other than NONE" },
    { "rule": "!has(self.resolution) || self.resolution != 'DNS_ROUND_ROBIN' || !has(self.endpoints) || self.endpoints.size() <= 1", "message": "resolution DNS_ROUND_ROBIN takes at most one endpoint" },
]))]
pub struct ServiceEntry {
    /// The hosts: names, a leading `*.` for many.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Addresses or ranges clients connect to. Default one of the mesh's own choice.
    #[schemars(length(max = 256), inner(length(max = 64)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The ports.
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[schemars(extend("x-kubernetes-validations" = [
        { "rule": "self.all(a, self.exists_one(b, a.number == b.number))", "message": "port numbers must be unique" },
    ]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// Whether the service is part of the mesh. Default MESH_EXTERNAL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// How the addresses behind the hosts are found. Default NONE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// The endpoints, where they are not found by name or selector.
    #[schemars(length(max = 4096))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<WorkloadEntry>,
    /// The pods and workload entries of this namespace that are the endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<WorkloadSelector>,
    /// The namespaces that see the service: `*` (default), `.` or names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub export_to: Vec<String>,
    /// Names of which the server's certificate must have one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<String>,
}

/// A port of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["number", "name"]))]
pub struct ServicePort {
    /// The number clients connect to.
    #[schemars(range(min = 1, max = 65535))]
    pub number: u32,
    /// `HTTP`, `HTTPS`, `GRPC`, `HTTP2`, `MONGO`, `TCP` or `TLS`.
    #[schemars(length(max = 256))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The name, which says the protocol where `protocol` does not.
    #[schemars(length(max = 256))]
    pub name: String,
    /// The port of the endpoints. Default `number`.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u32>,
}

/// Whether a service is part of the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside: no mutual TLS of the mesh's own.
    #[default]
    MeshExternal,
    /// Inside.
    MeshInternal,
}

/// How the addresses behind a host are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The address the client connected to.
    #[default]
    None,
    /// The endpoints as given.
    Static,
    /// By DNS, using all addresses of the answer.
    Dns,
    /// By DNS, using the first address of the answer at the moment.
    DnsRoundRobin,
    /// By DNS at the time of each request, for wildcard hosts.
    DynamicDns,
}

/// A workload that is not a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.address) || !self.address.startsWith('unix://') || !has(self.ports)", "message": "an address of unix:// takes no ports" },
]))]
pub struct WorkloadEntry {
    /// An IP address, a DNS name, or `unix:///path`.
    #[schemars(length(max = 256))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Ports by the name of the service's port. Default that port's targetPort or number.
    #[schemars(extend("maxProperties" = 128))]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u32>,
    /// Labels.
    #[schemars(extend("maxProperties" = 256))]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The network, where there are several.
    #[schemars(length(max = 2048))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The place: `region/zone/subzone`.
    #[schemars(length(max = 2048))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// The share relative to other endpoints. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The service account whose identity the workload has.
    #[schemars(length(max = 253))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// What the workloads of a group have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["template"]))]
pub struct WorkloadGroup {
    /// Labels and annotations of the group's workload entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<WorkloadGroupMetadata>,
    /// What the group's workload entries are made from.
    pub template: WorkloadEntry,
    /// How their health is found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<ReadinessProbe>,
}

/// Metadata of a group's workload entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadGroupMetadata {
    /// Labels.
    #[schemars(extend("maxProperties" = 256))]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[schemars(extend("maxProperties" = 256))]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// How a workload's health is found out, as of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-mizzen-one-of" = ["httpGet", "tcpSocket", "exec", "grpc"]))]
pub struct ReadinessProbe {
    /// Seconds before the first probe. Default 0.
    #[schemars(range(max = 2147483647))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<u32>,
    /// Seconds a probe may take. Default 1.
    #[schemars(range(max = 2147483647))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Seconds between probes. Default 10.
    #[schemars(range(max = 2147483647))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<u32>,
    /// Successes in a row to be healthy. Default 1.
    #[schemars(range(max = 2147483647))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<u32>,
    /// Failures in a row to be unhealthy. Default 3.
    #[schemars(range(max = 2147483647))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
    /// By an HTTP request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpProbe>,
    /// By a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpProbe>,
    /// By a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecProbe>,
    /// By a gRPC health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcProbe>,
}

/// A probe by HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["port"]))]
pub struct HttpProbe {
    /// The path. Default `/`.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u32,
    /// The host. Default the workload.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `HTTP` (default) or `HTTPS`.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Headers to send.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_headers: Vec<ProbeHeader>,
}

/// A header of a probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbeHeader {
    /// Its name.
    #[schemars(regex(pattern = "^[-_A-Za-z0-9]+$"))]
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A probe by connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["port"]))]
pub struct TcpProbe {
    /// The host. Default the workload.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u32,
}

/// A probe by command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["command"]))]
pub struct ExecProbe {
    /// The command and its arguments; 0 is healthy.
    #[schemars(inner(length(min = 1)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

/// A probe by gRPC health check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcProbe {
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u32,
    /// The service asked for.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}
