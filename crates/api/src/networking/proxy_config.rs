//! ProxyConfig: settings of the proxy itself, used at injection.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::PolicySelector;

/// Settings of the proxies of some workloads. They take effect when a pod is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// The workloads; absent means all of the namespace (of all namespaces, in the root namespace).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<PolicySelector>,
    /// Worker threads; 0 means one per core. Default from the container's CPU limit.
    #[schemars(range(max = 2147483647))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Environment of the proxy's container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment_variables: BTreeMap<String, String>,
    /// The image of the proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ProxyImage>,
}

/// The image of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyImage {
    /// The variant: `default`, `debug` or `distroless`.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub image_type: Option<String>,
}
