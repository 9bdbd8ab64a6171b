//! WasmPlugin: a WebAssembly extension of the proxy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::common::{PolicySelector, TargetReference};

/// A WebAssembly extension of some proxies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["url"]))]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1", "message": "set only one of selector, targetRef and targetRefs" },
]))]
pub struct WasmPlugin {
    /// The workloads; absent means all of the namespace (of all namespaces, in the root namespace).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<PolicySelector>,
    /// The resource the plugin is attached to. Superseded by `target_refs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetReference>,
    /// The resources the plugin is attached to.
    #[schemars(length(max = 16))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<TargetReference>,
    /// Where the module is: `oci://` (default), `https://`, `http://` or `file://`.
    #[schemars(length(min = 1))]
    pub url: String,
    /// Hex SHA-256 of the module.
    #[schemars(regex(pattern = "^$|^[a-f0-9]{64}$"))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// When the module is fetched again. Default by its tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// The Secret for the registry.
    #[schemars(length(min = 1, max = 253))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub image_pull_secret: Option<String>,
    /// A public key the module must be signed with.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub verification_key: Option<String>,
    /// Configuration of the plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_config: Option<Map<String, Value>>,
    /// The name of the plugin in the module.
    #[schemars(length(min = 1, max = 256))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub plugin_name: Option<String>,
    /// Where among the filters it goes. Default next to the router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<PluginPhase>,
    /// Order within the phase, highest first. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// What becomes of traffic when the plugin fails. Default FAIL_CLOSE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_strategy: Option<FailStrategy>,
    /// Environment of the virtual machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_config: Option<VmConfig>,
    /// Which traffic. Default all.
    #[serde(rename = "match")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<TrafficSelector>,
    /// What is extended. Default HTTP.
    #[serde(rename = "type")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_type: Option<PluginType>,
}

/// When an image is fetched again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// By its tag.
    #[default]
    #[serde(rename = "UNSPECIFIED_POLICY")]
    Unspecified,
    /// Never again.
    IfNotPresent,
    /// Each time.
    Always,
}

/// Where among the filters a plugin goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PluginPhase {
    /// Next to the router.
    #[default]
    UnspecifiedPhase,
    /// Before authentication.
    Authn,
    /// Between authentication and authorization.
    Authz,
    /// Between authorization and statistics.
    Stats,
}

/// What becomes of traffic when a plugin fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailStrategy {
    /// It fails.
    #[default]
    FailClose,
    /// It goes on without the plugin.
    FailOpen,
    /// The virtual machine is started again.
    FailReload,
}

/// What a plugin extends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PluginType {
    /// As HTTP.
    #[default]
    UnspecifiedPluginType,
    /// HTTP filters.
    Http,
    /// Network filters.
    Network,
}

/// The virtual machine of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VmConfig {
    /// Its environment.
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<VmVariable>,
}

/// A variable of a virtual machine's environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["name"]))]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.valueFrom) || self.valueFrom != 'HOST' || !has(self.value)", "message": "valueFrom HOST takes no value" },
]))]
pub struct VmVariable {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Where its value comes from. Default INLINE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<VmValueSource>,
    /// Its value, for INLINE.
    #[schemars(length(max = 2048))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Where the value of a variable comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VmValueSource {
    /// Given here.
    #[default]
    Inline,
    /// The variable of the same name of the proxy.
    Host,
}

/// Which traffic is extended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficSelector {
    /// Which side. Default both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<TrafficMode>,
    /// Which ports. Default all.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["number"]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<TrafficPort>,
}

/// Which side of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TrafficMode {
    /// As CLIENT_AND_SERVER.
    #[default]
    Undefined,
    /// Outbound; and gateways.
    Client,
    /// Inbound.
    Server,
    /// Both.
    ClientAndServer,
}

/// A port of traffic that is extended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["number"]))]
pub struct TrafficPort {
    /// The number.
    #[schemars(range(min = 1, max = 65535))]
    pub number: u32,
}
