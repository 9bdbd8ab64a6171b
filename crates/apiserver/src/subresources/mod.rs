//! Paths under an object that are not the object: scale, tokens, evictions, and the streams to a node.

mod options;
mod port_forward;
pub(crate) mod reviews;
mod scale;
mod small;
mod streams;
mod upgrade;
mod websocket;

use std::sync::Arc;

use http::Method;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use hyper::body::Incoming;

use crate::api::Api;
use crate::error::ApiError;
use crate::http::body;
use crate::http::response::Answer;
use crate::http::service::Call;

/// Answers a request for a subresource other than `status`.
pub(crate) async fn dispatch(
    api: &Arc<Api>,
    call: Call,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Answer, ApiError> {
    let subresource =
        call.resource.subresource(&call.path.subresource).ok_or_else(ApiError::no_such_resource)?;
    let verb = match call.method.as_str() {
        "GET" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        _ => return Err(ApiError::method_not_allowed()),
    };
    if !subresource.verbs.contains(&verb) || call.path.name.is_empty() {
        return Err(ApiError::method_not_allowed());
    }
    match call.path.subresource.as_str() {
        "log" => return streams::log(api, &call).await,
        "exec" | "attach" => return streams::execute(api, &call, parts, incoming).await,
        "portforward" => return streams::forward(api, &call, parts, incoming).await,
        _ => {}
    }
    let content_type =
        parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bytes = match call.method {
        Method::GET => bytes::Bytes::new(),
        _ => body::read(incoming).await?,
    };
    match call.path.subresource.as_str() {
        "scale" => scale::answer(api, &call, &bytes, content_type).await,
        "token" => small::token(api, &call, &body::decode(&bytes, content_type)?),
        "eviction" => small::evict(api, &call, &body::decode(&bytes, content_type)?).await,
        "binding" => small::bind(api, &call, &body::decode(&bytes, content_type)?),
        _ => Err(ApiError::no_such_resource()),
    }
}
