//! Shapes that several kinds share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a text is compared.
///
/// In a header or query-parameter match the empty object asks only that the value is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "StringMatchFields", into = "StringMatchFields")]
pub enum StringMatch {
    /// Anything at all, so long as it is present.
    #[default]
    Present,
    /// The very same text.
    Exact(String),
    /// A text that starts so.
    Prefix(String),
    /// A text that the whole of this RE2 expression matches.
    Regex(String),
}

/// [`StringMatch`] as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "StringMatch")]
#[schemars(extend("x-mizzen-one-of" = ["exact", "prefix", "regex"]))]
struct StringMatchFields {
    /// Matches the very same text; case matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<String>,
    /// Matches texts that start so.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// Matches texts that the whole of this RE2 expression matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    regex: Option<String>,
}

impl TryFrom<StringMatchFields> for StringMatch {
    type Error = &'static str;

    fn try_from(fields: StringMatchFields) -> Result<Self, Self::Error> {
        match (fields.exact, fields.prefix, fields.regex) {
            (None, None, None) => Ok(StringMatch::Present),
            (Some(text), None, None) => Ok(StringMatch::Exact(text)),
            (None, Some(text), None) => Ok(StringMatch::Prefix(text)),
            (None, None, Some(text)) => Ok(StringMatch::Regex(text)),
            _ => Err("set only one of exact, prefix and regex"),
        }
    }
}

impl From<StringMatch> for StringMatchFields {
    fn from(value: StringMatch) -> Self {
        let mut fields = Self::default();
        match value {
            StringMatch::Present => {}
            StringMatch::Exact(text) => fields.exact = Some(text),
            StringMatch::Prefix(text) => fields.prefix = Some(text),
            StringMatch::Regex(text) => fields.regex = Some(text),
        }
        fields
    }
}

/// A share of all requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Percent {
    /// From 0 to 100; 0.01 is one in ten thousand.
    pub value: f64,
}

/// A port of a service, by number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// The port of the Service, not of the pod.
    #[schemars(range(max = 65535))]
    pub number: u32,
}

/// A port that is opened, and what is spoken on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// The number clients connect to.
    #[schemars(range(max = 65535))]
    pub number: u32,
    /// `HTTP`, `HTTPS`, `GRPC`, `GRPC-WEB`, `HTTP2`, `MONGO`, `TCP` or `TLS`.
    pub protocol: String,
    /// A name of the port, unique among its siblings.
    pub name: String,
    /// The port of the endpoints. Only a ServiceEntry's port may have it.
    #[schemars(range(max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u32>,
}

/// The workloads a networking resource is for: those of its namespace that have all of these labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Labels of the pod or workload entry.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The workloads a policy is for: those of its namespace (of all namespaces, for a policy in the root
/// namespace) that have all of these labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicySelector {
    /// Labels of the pod or workload entry; none means every workload.
    #[schemars(extend("maxProperties" = 4096))]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// A resource a policy is attached to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["kind", "name"]))]
pub struct TargetReference {
    /// The API group; none for the core group.
    #[schemars(length(max = 253))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The kind: `Gateway`, `GatewayClass`, `Service` or `ServiceEntry`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Must be absent: a policy and its target share a namespace.
    #[schemars(length(max = 0))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
