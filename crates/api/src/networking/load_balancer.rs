//! How an endpoint of a service is chosen.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// How an endpoint is chosen. Default LEAST_REQUEST.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-mizzen-one-of" = ["simple", "consistentHash", "backendUtilization"]))]
pub struct LoadBalancer {
    /// A standard way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simple: Option<SimpleLoadBalancer>,
    /// By a hash of the request, so that like requests go to the same endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHash>,
    /// By the utilization endpoints report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_utilization: Option<BackendUtilization>,
    /// Preference by place, in place of the mesh's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality_lb_setting: Option<LocalityLoadBalancer>,
    /// Preference for the zone of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancer>,
    /// Superseded by `warmup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_duration_secs: Option<Duration>,
    /// New endpoints get less at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
}

/// A standard way to choose an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLoadBalancer {
    /// As LEAST_REQUEST.
    #[default]
    Unspecified,
    /// As LEAST_REQUEST; an older name.
    LeastConn,
    /// At random.
    Random,
    /// The address the client asked for.
    Passthrough,
    /// In turn.
    RoundRobin,
    /// The less busy of two.
    LeastRequest,
}

/// Choice by a hash. One source of the hash, at most one way to use it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-mizzen-one-of" = ["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"]))]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.ringHash) || !has(self.maglev)", "message": "set only one of ringHash and maglev" },
]))]
pub struct ConsistentHash {
    /// The value of this header.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub http_header_name: Option<String>,
    /// A cookie, made where the client has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_cookie: Option<HttpCookie>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_source_ip: Option<bool>,
    /// The value of this query parameter.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub http_query_parameter_name: Option<String>,
    /// A ring of hashes. The default way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_hash: Option<RingHash>,
    /// A table of hashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maglev: Option<Maglev>,
    /// Superseded by `ring_hash`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_ring_size: Option<u64>,
}

/// A cookie that is hashed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["name"]))]
pub struct HttpCookie {
    /// Its name.
    pub name: String,
    /// Its path, where it is made here.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its life, where it is made here; 0 is a session cookie. Absent: never made here.
    #[schemars(extend("x-mizzen-duration" = "zero"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// More attributes, where it is made here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<CookieAttribute>,
}

/// An attribute of a cookie.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["name"]))]
pub struct CookieAttribute {
    /// Its name.
    pub name: String,
    /// Its value; none for attributes such as `Secure`.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A ring of hashes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// The least entries in the ring. Default 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_ring_size: Option<u64>,
}

/// A table of hashes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// Entries of the table, a prime. Default 65537.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_size: Option<u64>,
}

/// Choice by the utilization that endpoints report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendUtilization {
    /// How much errors count, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_utilization_penalty_percent: Option<u32>,
    /// The reported metrics that are used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metric_names_for_computing_utilization: Vec<String>,
    /// The time without a report after which a weight is forgotten.
    #[schemars(extend("x-mizzen-duration" = "zero"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_expiration_period: Option<Duration>,
    /// The time before a new endpoint's weight counts.
    #[schemars(extend("x-mizzen-duration" = "zero"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_stabilization_period: Option<Duration>,
    /// The time between changes of weights.
    #[schemars(extend("x-mizzen-duration" = "zero"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_update_period: Option<Duration>,
}

/// Preference by place. One of `distribute`, `failover` and `failover_priority`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityLoadBalancer {
    /// Shares by the client's place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distribute: Vec<LocalityDistribute>,
    /// Where traffic goes when a region has no healthy endpoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failover: Vec<LocalityFailover>,
    /// Labels whose equality with the client's gives an endpoint precedence, most important first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failover_priority: Vec<String>,
    /// Whether place counts at all. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Shares for clients of a place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityDistribute {
    /// The clients' place: `region/zone/subzone`, with `*` at the end.
    pub from: String,
    /// Places and their shares, which sum to 100.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub to: BTreeMap<String, u32>,
}

/// Where traffic goes when a region has no healthy endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityFailover {
    /// The region that fails.
    pub from: String,
    /// The region that takes over.
    pub to: String,
}

/// Preference for the client's zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ZoneAwareLoadBalancer {
    /// Whether the zone counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Where traffic goes when a region has no healthy endpoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failover: Vec<LocalityFailover>,
    /// Labels whose equality with the client's gives an endpoint precedence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failover_priority: Vec<String>,
    /// The least endpoints for zones to count.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_cluster_size: Option<u32>,
}

/// A new endpoint's slow start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["duration"]))]
pub struct Warmup {
    /// How long it lasts.
    pub duration: Duration,
    /// The share at the beginning, percent. Default 10.
    #[schemars(range(min = 0, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_percent: Option<f64>,
    /// The shape of the rise; 1 (default) is a straight line.
    #[schemars(range(min = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggression: Option<f64>,
}
