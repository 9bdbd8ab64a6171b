//! Extension providers: where traces, metrics and access logs can go.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A place telemetry can go, by the name Telemetry resources use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["name"]))]
#[schemars(extend("x-mizzen-one-of" = ["envoyFileAccessLog", "prometheus", "opentelemetry", "zipkin"]))]
pub struct ExtensionProvider {
    /// The name.
    pub name: String,
    /// Access logs in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envoy_file_access_log: Option<FileAccessLog>,
    /// Metrics for Prometheus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusMetrics>,
    /// Traces by OpenTelemetry's protocol, over gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opentelemetry: Option<OpenTelemetryTracing>,
    /// Traces in Zipkin's format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<ZipkinTracing>,
    /// A kind of provider Mizzen does not have, with its settings. Kept so that it can be named.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ExtensionProvider {
    /// The providers every mesh has.
    pub fn built_in() -> Vec<Self> {
        let prometheus = Self {
            name: "prometheus".to_owned(),
            prometheus: Some(PrometheusMetrics::default()),
            ..Self::default()
        };
        let envoy = Self {
            name: "envoy".to_owned(),
            envoy_file_access_log: Some(FileAccessLog::default()),
            ..Self::default()
        };
        vec![prometheus, envoy]
    }
}

/// Access logs in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FileAccessLog {
    /// The file. Default `/dev/stdout`.
    pub path: String,
    /// The format. Default the mesh's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// Leave out operators that have no value, in JSON. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub omit_empty_values: bool,
}

impl Default for FileAccessLog {
    fn default() -> Self {
        Self { path: "/dev/stdout".to_owned(), log_format: None, omit_empty_values: false }
    }
}

/// The format of an access log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-mizzen-one-of" = ["text", "labels"]))]
pub struct LogFormat {
    /// A line of text with Envoy's operators.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A JSON object whose values have Envoy's operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, Value>>,
}

/// Metrics for Prometheus. Has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusMetrics {}

/// Traces by OpenTelemetry's protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["service", "port"]))]
pub struct OpenTelemetryTracing {
    /// The collector: `HOST` or `NAMESPACE/HOST` of a service the mesh knows.
    pub service: String,
    /// Its port, for gRPC.
    pub port: u16,
    /// The most characters of a path in a span. Default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tag_length: Option<u32>,
}

/// Traces in Zipkin's format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["service", "port"]))]
pub struct ZipkinTracing {
    /// The collector: `HOST` or `NAMESPACE/HOST` of a service the mesh knows.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// The most characters of a path in a span. Default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tag_length: Option<u32>,
    /// Use trace ids of 64 bits. Default false.
    #[serde(rename = "enable64bitTraceId")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable_64bit_trace_id: bool,
    /// The path of the collector. Default `/api/v2/spans`.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}
