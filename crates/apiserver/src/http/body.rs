//! Request bodies: bounded, then JSON, YAML or Kubernetes' protobuf to a JSON value.

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

use crate::error::ApiError;
use crate::schema;

/// Largest body that is read, as in Kubernetes.
pub(crate) const MAX_BODY: usize = 3 * 1024 * 1024;

/// How long a client may take to send its body.
const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// Reads a whole body.
pub(crate) async fn read<B>(body: B) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collected =
        tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await.map_err(|_| {
            tracing::warn!("a request's body did not arrive within {BODY_TIMEOUT:?}");
            ApiError {
                code: 408,
                reason: "Timeout",
                message: "the request body did not arrive in time".to_owned(),
                details: None,
            }
        })?;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(ApiError::too_large(MAX_BODY))
        }
        Err(error) => Err(ApiError::bad_request(format!("the request body could not be read: {error}"))),
    }
}

/// The media type without its parameters.
pub(crate) fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Decodes an object. An empty content type is JSON.
pub(crate) fn decode(bytes: &[u8], content_type: &str) -> Result<Value, ApiError> {
    let value = match media_type(content_type) {
        ""
        | "application/json"
        | "application/json-patch+json"
        | "application/merge-patch+json"
        | "application/strategic-merge-patch+json" => serde_json::from_slice(bytes).map_err(|error| {
            ApiError::bad_request(format!(
                "the object provided is unrecognized (must be of type JSON): {error}"
            ))
        })?,
        "application/yaml" | "application/apply-patch+yaml" => decode_yaml(bytes)?,
        "application/vnd.kubernetes.protobuf" => crate::protobuf::decode(bytes).map_err(|error| {
            ApiError::bad_request(format!("the protobuf body cannot be decoded: {error}"))
        })?,
        _ => {
            let offered = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
            return Err(ApiError::unsupported_media_type(offered));
        }
    };
    if schema::is_too_deep(&value) {
        return Err(ApiError::bad_request(format!(
            "the object is nested deeper than {} levels",
            schema::MAX_DEPTH
        )));
    }
    Ok(value)
}

fn decode_yaml(bytes: &[u8]) -> Result<Value, ApiError> {
    // JSON is YAML too; what kubectl calls YAML is mostly JSON.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is not UTF-8: {error}")))?;
    serde_saphyr::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))
}
