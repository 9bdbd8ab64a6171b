//! TrafficExtension: a WebAssembly or Lua extension of the proxy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{FailStrategy, ImagePullPolicy, PluginType, TrafficSelector, VmConfig};
use crate::common::{PolicySelector, TargetReference};

/// An extension of some proxies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.selector) || !has(self.targetRefs)", "message": "set selector or targetRefs, not both" },
    { "rule": "has(self.wasm) != has(self.lua)", "message": "set one of wasm and lua" },
]))]
pub struct TrafficExtension {
    /// The workloads; absent means all of the namespace (of all namespaces, in the root namespace).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<PolicySelector>,
    /// The resources the extension is attached to.
    #[schemars(length(max = 16))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<TargetReference>,
    /// Where among the filters it goes. Default next to the router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<ExtensionPhase>,
    /// Order within the phase, highest first. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Which traffic. Default all.
    #[serde(rename = "match")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<TrafficSelector>,
    /// A WebAssembly module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wasm: Option<WasmExtension>,
    /// A Lua script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lua: Option<LuaExtension>,
}

/// Where among the filters an extension goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExtensionPhase {
    /// Next to the router.
    #[default]
    Unspecified,
    /// Before authentication.
    Authn,
    /// Between authentication and authorization.
    Authz,
    /// Between authorization and statistics.
    Stats,
}

/// A WebAssembly module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["url"]))]
pub struct WasmExtension {
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
    /// What becomes of traffic when the plugin fails. Default FAIL_CLOSE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_strategy: Option<FailStrategy>,
    /// Environment of the virtual machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_config: Option<VmConfig>,
    /// What is extended. Default HTTP.
    #[serde(rename = "type")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_type: Option<PluginType>,
}

/// A Lua script.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["inlineCode"]))]
pub struct LuaExtension {
    /// The script.
    #[schemars(length(min = 1, max = 65536))]
    pub inline_code: String,
}
