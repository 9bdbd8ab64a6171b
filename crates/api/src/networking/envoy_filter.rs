//! EnvoyFilter: patches to the Envoy configuration.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::common::{TargetReference, WorkloadSelector};

/// Patches to the configuration of some proxies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.workloadSelector) || !has(self.targetRefs)", "message": "set workloadSelector or targetRefs, not both" },
]))]
pub struct EnvoyFilter {
    /// The workloads; absent means all of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<WorkloadSelector>,
    /// The resources the patches are attached to.
    #[schemars(length(max = 16))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<TargetReference>,
    /// The patches, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub config_patches: Vec<ConfigPatch>,
    /// Order among EnvoyFilters, lowest first. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// A patch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigPatch {
    /// What is patched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apply_to: Option<ApplyTo>,
    /// Which of them.
    #[serde(rename = "match")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<PatchMatch>,
    /// The change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<Patch>,
}

/// What is patched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ApplyTo {
    /// Not said; refused.
    #[default]
    Invalid,
    /// Listeners.
    Listener,
    /// Filter chains of listeners.
    FilterChain,
    /// Network filters.
    NetworkFilter,
    /// HTTP filters.
    HttpFilter,
    /// Route configurations.
    RouteConfiguration,
    /// Virtual hosts.
    VirtualHost,
    /// Routes.
    HttpRoute,
    /// Clusters.
    Cluster,
    /// Extension configurations.
    ExtensionConfig,
    /// The bootstrap.
    Bootstrap,
    /// Listener filters.
    ListenerFilter,
}

/// Which objects are patched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-mizzen-one-of" = ["listener", "routeConfiguration", "cluster", "waypoint"]))]
pub struct PatchMatch {
    /// Which side of which proxies. Default ANY.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<PatchContext>,
    /// Which proxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyMatch>,
    /// Which listeners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<ListenerMatch>,
    /// Which route configurations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_configuration: Option<RouteConfigurationMatch>,
    /// Which clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterMatch>,
    /// Which parts of a waypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waypoint: Option<WaypointMatch>,
}

/// Which side of which proxies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PatchContext {
    /// All.
    #[default]
    Any,
    /// The inbound side of sidecars.
    SidecarInbound,
    /// The outbound side of sidecars.
    SidecarOutbound,
    /// Gateways.
    Gateway,
    /// Waypoints.
    Waypoint,
}

/// Which proxies, by what they say of themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyMatch {
    /// A regular expression for the version.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub proxy_version: Option<String>,
    /// Entries of the node's metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// Which listeners.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerMatch {
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_number: Option<u32>,
    /// Not used by Istio either.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,
    /// The filter chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_chain: Option<FilterChainMatch>,
    /// The listener filter.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub listener_filter: Option<String>,
    /// The listener's name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Which filter chains.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterChainMatch {
    /// The name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The server name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// `tls` or `raw_buffer`.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub transport_protocol: Option<String>,
    /// The transport socket's name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub transport_socket: Option<String>,
    /// Application protocols, separated by commas.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub application_protocols: Option<String>,
    /// The network filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterMatch>,
    /// The destination port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u32>,
}

/// Which network filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterMatch {
    /// The name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The filter inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_filter: Option<SubFilterMatch>,
}

/// Which filter inside a network filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SubFilterMatch {
    /// The name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Which route configurations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteConfigurationMatch {
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_number: Option<u32>,
    /// The port's name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,
    /// The Gateway, as `NAMESPACE/NAME`.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The virtual host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhost: Option<VirtualHostMatch>,
    /// The name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Which virtual hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualHostMatch {
    /// The name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// One of its domains.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub domain_name: Option<String>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteMatch>,
}

/// Which routes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteMatch {
    /// The name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the route does. Default ANY.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<RouteAction>,
}

/// What a route does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RouteAction {
    /// Anything.
    #[default]
    Any,
    /// It passes on.
    Route,
    /// It redirects.
    Redirect,
    /// It answers.
    DirectResponse,
}

/// Which clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterMatch {
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_number: Option<u32>,
    /// The service's host.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The subset.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// The name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Which parts of a waypoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointMatch {
    /// The service's port.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_number: Option<u32>,
    /// The filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterMatch>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<WaypointRouteMatch>,
}

/// Which routes of a waypoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointRouteMatch {
    /// The name.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Patch {
    /// What is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<PatchOperation>,
    /// The Envoy object, in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Map<String, Value>>,
    /// Where an HTTP filter goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_class: Option<FilterClass>,
}

/// What a patch does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PatchOperation {
    /// Not said; refused.
    #[default]
    Invalid,
    /// Merges into what is there.
    Merge,
    /// Adds.
    Add,
    /// Removes.
    Remove,
    /// Adds before the match.
    InsertBefore,
    /// Adds after the match.
    InsertAfter,
    /// Adds at the front.
    InsertFirst,
    /// Replaces.
    Replace,
    /// Merges, replacing lists whole.
    MergeAndReplaceList,
}

/// Where an HTTP filter goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FilterClass {
    /// As the operation says.
    #[default]
    Unspecified,
    /// After authentication.
    Authn,
    /// After authorization.
    Authz,
    /// Before statistics.
    Stats,
}
