//! The four ways to change an object: JSON patch, merge patch, strategic merge patch and server-side apply, and who owns
//! which field.

pub(crate) mod apply;
pub(crate) mod ownership;
pub(crate) mod shape;
pub(crate) mod strategic;

use serde_json::Value;

use crate::error::ApiError;

/// How a patch body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// What a server without strategic merge for custom kinds offers.
pub(crate) const OFFERED: &str = "application/json-patch+json, application/merge-patch+json, \
     application/strategic-merge-patch+json, application/apply-patch+yaml";

impl PatchKind {
    /// By content type, without its parameters.
    pub fn from_content_type(content_type: &str) -> Result<PatchKind, ApiError> {
        match content_type {
            "application/json-patch+json" => Ok(PatchKind::Json),
            "application/merge-patch+json" => Ok(PatchKind::Merge),
            "application/strategic-merge-patch+json" => Ok(PatchKind::Strategic),
            "application/apply-patch+yaml" => Ok(PatchKind::Apply),
            _ => Err(ApiError::unsupported_media_type(OFFERED)),
        }
    }
}

/// Most operations a JSON patch may have, as in Kubernetes.
const MAX_OPERATIONS: usize = 10_000;

/// Applies a JSON patch (RFC 6902).
pub(crate) fn json_patch(current: &Value, body: &Value) -> Result<Value, ApiError> {
    let count = body.as_array().map_or(0, Vec::len);
    if count > MAX_OPERATIONS {
        let message =
            format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}");
        return Err(ApiError { code: 413, reason: "RequestEntityTooLarge", message, details: None });
    }
    let patch: json_patch::Patch = serde_json::from_value(body.clone())
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    let mut changed = current.clone();
    json_patch::patch(&mut changed, &patch).map_err(|error| ApiError {
        code: 422,
        reason: "Invalid",
        message: format!("the server rejected our request due to an error in our request: {error}"),
        details: None,
    })?;
    Ok(changed)
}

/// Applies a merge patch (RFC 7386).
pub(crate) fn merge_patch(current: &Value, body: &Value) -> Result<Value, ApiError> {
    if !body.is_object() {
        return Err(ApiError::bad_request("error decoding patch: a merge patch must be an object"));
    }
    let mut changed = current.clone();
    json_patch::merge(&mut changed, body);
    Ok(changed)
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
