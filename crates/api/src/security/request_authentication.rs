//! RequestAuthentication: what JSON web tokens a workload accepts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{PolicySelector, TargetReference},
    duration::Duration,
};

/// What JSON web tokens some workloads accept. A request without a token is let through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1", "message": "set only one of selector, targetRef and targetRefs" },
]))]
pub struct RequestAuthentication {
    /// The workloads; absent means all of the namespace (of all namespaces, in the root namespace).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<PolicySelector>,
    /// The resource the policy is attached to. Superseded by `target_refs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetReference>,
    /// The resources the policy is attached to.
    #[schemars(length(max = 16))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<TargetReference>,
    /// The tokens; a request with a token must satisfy one of them.
    #[schemars(length(max = 4096))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jwt_rules: Vec<JwtRule>,
}

/// One kind of token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "(has(self.jwksUri) ? 1 : 0) + (has(self.jwks_uri) ? 1 : 0) + (has(self.jwks) ? 1 : 0) <= 1", "message": "set only one of jwks and jwksUri" },
]))]
pub struct JwtRule {
    /// The `iss` claim.
    #[schemars(length(min = 1))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The `aud` claims that are accepted. Default any.
    #[schemars(inner(length(min = 1)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Where the keys are. Default found by OpenID discovery from the issuer.
    #[serde(alias = "jwks_uri")]
    #[schemars(extend("x-mizzen-alias" = "jwks_uri"))]
    #[schemars(length(min = 1, max = 2048))]
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// The keys.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// Headers the token is taken from. Default `Authorization: Bearer`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters the token is taken from. Default `access_token`.
    #[schemars(inner(length(min = 1)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from_params: Vec<String>,
    /// Cookies the token is taken from.
    #[schemars(inner(length(min = 1)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from_cookies: Vec<String>,
    /// A header that gets the payload of a good token, base64.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub output_payload_to_header: Option<String>,
    /// Pass the token on. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forward_original_token: bool,
    /// Headers that get claims of a good token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// The time fetching the keys may take. Default 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Claims that hold a list separated by spaces.
    #[schemars(length(max = 64), inner(length(min = 1)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub space_delimited_claims: Vec<String>,
    /// Whether a token must be there. Default OPTIONAL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<TokenPresence>,
}

/// Whether a token must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TokenPresence {
    /// A request without one is let through.
    #[default]
    Optional,
    /// A request without one is refused.
    Required,
}

/// A header a token is taken from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["name"]))]
pub struct JwtHeader {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What stands before the token, such as `Bearer `.
    #[serde(deserialize_with = "crate::field::non_empty", skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// A header that gets a claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["header", "claim"]))]
pub struct ClaimToHeader {
    /// The header.
    #[schemars(length(min = 1), regex(pattern = "^[-_A-Za-z0-9]+$"))]
    pub header: String,
    /// The claim; dots go into nested ones.
    #[schemars(length(min = 1))]
    pub claim: String,
}
