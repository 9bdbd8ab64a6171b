//! VirtualService: how requests and connections to a host are routed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http_policy::{CorsPolicy, HeaderChanges, HttpFault, HttpRetry, Mirror};
use crate::{
    common::{Percent, PortSelector, StringMatch},
    duration::Duration,
};

/// Routing rules for hosts, in the order they are tried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// The hosts the rules are for. A name without a dot is a Service of this namespace.
    /// Absent only in a delegate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The gateways (`NAME`, `NAMESPACE/NAME`) that apply the rules; `mesh` is every sidecar.
    /// Default `mesh` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// Rules for HTTP. The first that matches is used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpRoute>,
    /// Rules for TLS that is passed through, by server name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls: Vec<TlsRoute>,
    /// Rules for other TCP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tcp: Vec<TcpRoute>,
    /// The namespaces that see the rules: `*` (default), `.` or names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub export_to: Vec<String>,
}

/// One rule for HTTP: which requests, and what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// A name, shown in access logs.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The requests; any of these will do, and none at all means every request.
    #[serde(rename = "match")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpMatch>,
    /// Where requests go, shared out by weight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<HttpRouteDestination>,
    /// Answer with a redirect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<HttpRedirect>,
    /// Answer with a fixed response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct_response: Option<HttpDirectResponse>,
    /// Continue with the rules of another VirtualService.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegate: Option<Delegate>,
    /// Change the path or authority before passing on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<HttpRewrite>,
    /// The time a whole request may take, retries included. Default without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How failed requests are tried again. Default 2 more attempts for failures that are safe to retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<HttpRetry>,
    /// Faults to inject, for testing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<HttpFault>,
    /// Where a copy of the requests goes; the older form of `mirrors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Destination>,
    /// Where copies of the requests go, each with its share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Mirror>,
    /// The share that `mirror` gets, whole percents. Superseded by `mirror_percentage`.
    #[serde(alias = "mirror_percent")]
    #[schemars(extend("x-mizzen-alias" = "mirror_percent"))]
    #[schemars(range(max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror_percent: Option<u32>,
    /// The share that `mirror` gets. Default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror_percentage: Option<Percent>,
    /// Cross-origin resource sharing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors_policy: Option<CorsPolicy>,
    /// Changes to the headers of every request and response of this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeaderChanges>,
}

/// Conditions on a request that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// A name, shown in access logs after the rule's.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The path and query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<StringMatch>,
    /// The scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<StringMatch>,
    /// The method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<StringMatch>,
    /// The host asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<StringMatch>,
    /// Headers by lower-case name; the empty match asks that the header is there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, StringMatch>,
    /// The port the request arrived for.
    #[schemars(range(max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// Labels of the sending workload. Decides which sidecars get the rule.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub source_labels: BTreeMap<String, String>,
    /// The gateways the match is for, in place of those of the VirtualService.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// Query parameters; the empty match asks that the parameter is there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query_params: BTreeMap<String, StringMatch>,
    /// Compare the path without regard to case, for exact and prefix. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore_uri_case: bool,
    /// Headers as in `headers`, of which none may match.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub without_headers: BTreeMap<String, StringMatch>,
    /// The namespace of the sending workload. Decides which sidecars get the rule.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub source_namespace: Option<String>,
    /// Prefix of the statistics of this match.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub stat_prefix: Option<String>,
}

/// One of the places requests are shared out to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["destination"]))]
pub struct HttpRouteDestination {
    /// The place.
    pub destination: Destination,
    /// The share, relative to the sum of all weights of the rule. Of no account when it is alone.
    #[schemars(range(max = 2147483647))]
    #[serde(skip_serializing_if = "crate::field::is_zero")]
    pub weight: u32,
    /// Changes to headers of requests and responses of this destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeaderChanges>,
}

/// A service, perhaps a subset of it, and its port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["host"]))]
pub struct Destination {
    /// The service's name. Without a dot it is a Service of the rule's namespace.
    pub host: String,
    /// A subset that a DestinationRule of the host defines.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// The port; needed where the service has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortSelector>,
}

/// The VirtualService that continues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Delegate {
    /// Its name.
    pub name: String,
    /// Its namespace. Default that of this VirtualService.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A redirect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-mizzen-one-of" = ["port", "derivePort"]))]
pub struct HttpRedirect {
    /// The new path and query, whole.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// What replaces the matched prefix of the path.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub prefix_rewrite: Option<String>,
    /// The new host.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// The new port.
    #[schemars(range(max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// How the new port is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub derive_port: Option<RedirectPort>,
    /// The new scheme.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The status: 301 (default), 302, 303, 307 or 308.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_code: Option<u32>,
}

/// How a redirect finds its port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RedirectPort {
    /// The scheme's own: 80 or 443.
    #[default]
    FromProtocolDefault,
    /// That of the request.
    FromRequestPort,
}

/// A fixed response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["status"]))]
pub struct HttpDirectResponse {
    /// The status.
    pub status: u32,
    /// The body, at most one megabyte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<HttpBody>,
}

/// The body of a fixed response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-mizzen-one-of" = ["string", "bytes"]))]
pub struct HttpBody {
    /// As text. Present but empty is an empty body.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "crate::field::any_text")]
    pub string: Option<String>,
    /// As base64.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

/// Changes to where a request asks for, before it is passed on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRewrite {
    /// The new path; for a prefix match, what replaces the prefix.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The new host.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// A substitution in the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A substitution by regular expression.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// The RE2 expression.
    #[serde(rename = "match")]
    pub pattern: String,
    /// What replaces its matches; `\1` is the first group.
    pub rewrite: String,
}

/// One rule for TLS that is passed through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["match"]))]
pub struct TlsRoute {
    /// The connections; any of these will do.
    #[serde(rename = "match")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<TlsMatch>,
    /// Where connections go, shared out by weight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<RouteDestination>,
}

/// Conditions on a TLS connection that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["sniHosts"]))]
pub struct TlsMatch {
    /// Server names, exact or with a leading `*.`; each must fall under a host of the VirtualService.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sni_hosts: Vec<String>,
    /// Ranges of the destination address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_subnets: Vec<String>,
    /// The port the connection is for.
    #[schemars(range(max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// Labels of the connecting workload. Decides which sidecars get the rule.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub source_labels: BTreeMap<String, String>,
    /// The gateways the match is for, in place of those of the VirtualService.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// The namespace of the connecting workload. Decides which sidecars get the rule.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub source_namespace: Option<String>,
}

/// One rule for TCP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// The connections; any of these will do, and none at all means every connection.
    #[serde(rename = "match")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<TcpMatch>,
    /// Where connections go, shared out by weight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<RouteDestination>,
}

/// Conditions on a connection that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpMatch {
    /// Ranges of the destination address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_subnets: Vec<String>,
    /// The port the connection is for.
    #[schemars(range(max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// A range of the source address. Not used by Istio either.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub source_subnet: Option<String>,
    /// Labels of the connecting workload. Decides which sidecars get the rule.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub source_labels: BTreeMap<String, String>,
    /// The gateways the match is for, in place of those of the VirtualService.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// The namespace of the connecting workload. Decides which sidecars get the rule.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub source_namespace: Option<String>,
}

/// One of the places connections are shared out to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["destination"]))]
pub struct RouteDestination {
    /// The place.
    pub destination: Destination,
    /// The share, relative to the sum of all weights of the rule. Of no account when it is alone.
    #[schemars(range(max = 2147483647))]
    #[serde(skip_serializing_if = "crate::field::is_zero")]
    pub weight: u32,
}
