//! PeerAuthentication: what mutual TLS a workload asks of its clients.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::PolicySelector;

/// What mutual TLS some workloads ask of their clients. The narrowest of workload, namespace and mesh counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0)", "message": "portLevelMtls needs a selector with matchLabels" },
]))]
pub struct PeerAuthentication {
    /// The workloads; absent means all of the namespace (of all namespaces, in the root namespace).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<PolicySelector>,
    /// For all ports. Default that of the wider scope, PERMISSIVE at last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtls: Option<MutualTls>,
    /// For single ports of the workload (not of its Service).
    #[schemars(with = "BTreeMap<String, MutualTls>", extend("minProperties" = 1, "x-mizzen-port-keys" = true))]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub port_level_mtls: BTreeMap<u16, MutualTls>,
}

/// What mutual TLS is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// The mode. Default UNSET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<MutualTlsMode>,
}

/// What mutual TLS is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutualTlsMode {
    /// As the wider scope says.
    #[default]
    Unset,
    /// None: plaintext.
    Disable,
    /// Either will do.
    Permissive,
    /// Mutual TLS only.
    Strict,
}
