//! `telemetry.istio.io`: tracing, metrics and access logs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{PolicySelector, TargetReference},
    duration::Duration,
};

/// What some workloads report. Sections a narrower scope leaves out come from the wider one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1", "message": "set only one of selector, targetRef and targetRefs" },
]))]
pub struct Telemetry {
    /// The workloads; absent means all of the namespace (of all namespaces, in the root namespace).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<PolicySelector>,
    /// The resource this is attached to. Superseded by `target_refs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetReference>,
    /// The resources this is attached to.
    #[schemars(length(max = 16))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<TargetReference>,
    /// Tracing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tracing: Vec<Tracing>,
    /// Metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metrics>,
    /// Access logs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_logging: Vec<AccessLogging>,
}

/// A provider by its name in the mesh's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["name"]))]
pub struct ProviderReference {
    /// The name.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// Tracing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    /// Which side this is for. Default both.
    #[serde(rename = "match")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<ModeSelector>,
    /// Where spans go. Default that of the wider scope, else the mesh's. At most one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderReference>,
    /// The share of requests that are traced, percent. Default 1.
    #[schemars(range(min = 0, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_sampling_percentage: Option<f64>,
    /// Send no spans. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_span_reporting: Option<bool>,
    /// Tags of spans.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Let the request id decide on sampling. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_request_id_for_trace_sampling: Option<bool>,
    /// Add Istio's own tags. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_istio_tags: Option<bool>,
    /// Pass on no trace headers. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_context_propagation: Option<bool>,
}

/// Which side of a connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModeSelector {
    /// The side. Default both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<WorkloadMode>,
}

/// Which side of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkloadMode {
    /// Both.
    #[default]
    ClientAndServer,
    /// Outbound; and gateways.
    Client,
    /// Inbound.
    Server,
}

/// Where a tag of spans comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-mizzen-one-of" = ["literal", "environment", "header", "formatter"]))]
pub struct CustomTag {
    /// A fixed text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub literal: Option<TagValue>,
    /// An environment variable of the proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<TagSource>,
    /// A request header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<TagSource>,
    /// Envoy's access log operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formatter: Option<TagValue>,
}

/// A fixed text or a format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["value"]))]
pub struct TagValue {
    /// The text.
    #[schemars(length(min = 1))]
    pub value: String,
}

/// A named source of a tag.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["name"]))]
pub struct TagSource {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The tag's value where the source has none. Default no tag.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub default_value: Option<String>,
}

/// Metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Metrics {
    /// Where metrics go. Default that of the wider scope, else the mesh's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderReference>,
    /// Changes to single metrics, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<MetricsOverride>,
    /// The time between reports, for TCP. Default 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reporting_interval: Option<Duration>,
}

/// Changes to metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsOverride {
    /// Which metrics. Default all.
    #[serde(rename = "match")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<MetricSelector>,
    /// Do not report them. Default as the wider scope says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Changes to labels, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// Which metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-mizzen-one-of" = ["metric", "customMetric"]))]
pub struct MetricSelector {
    /// One of the standard metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// One of another name.
    #[schemars(length(min = 1))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub custom_metric: Option<String>,
    /// Which side. Default both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<WorkloadMode>,
}

/// The standard metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Metric {
    /// All.
    #[default]
    AllMetrics,
    /// `istio_requests_total`.
    RequestCount,
    /// `istio_request_duration_milliseconds`.
    RequestDuration,
    /// `istio_request_bytes`.
    RequestSize,
    /// `istio_response_bytes`.
    ResponseSize,
    /// `istio_tcp_connections_opened_total`.
    TcpOpenedConnections,
    /// `istio_tcp_connections_closed_total`.
    TcpClosedConnections,
    /// `istio_tcp_sent_bytes_total`.
    TcpSentBytes,
    /// `istio_tcp_received_bytes_total`.
    TcpReceivedBytes,
    /// `istio_request_messages_total`.
    GrpcRequestMessages,
    /// `istio_response_messages_total`.
    GrpcResponseMessages,
}

/// A change to a label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.operation) || self.operation != 'UPSERT' || (has(self.value) && self.value != '')", "message": "UPSERT needs a value" },
    { "rule": "!has(self.operation) || self.operation != 'REMOVE' || !has(self.value)", "message": "REMOVE takes no value" },
]))]
pub struct TagOverride {
    /// What is done. Default UPSERT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<TagOperation>,
    /// The expression for the value.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What is done to a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TagOperation {
    /// Set.
    #[default]
    Upsert,
    /// Removed.
    Remove,
}

/// Access logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogging {
    /// Which side this is for. Default both.
    #[serde(rename = "match")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<ModeSelector>,
    /// Where the log goes. Default that of the wider scope, else the mesh's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderReference>,
    /// Keep no log. Default as the wider scope says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Which requests are logged. Default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<AccessLogFilter>,
}

/// Which requests are logged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogFilter {
    /// A CEL expression over Envoy's attributes.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
}
