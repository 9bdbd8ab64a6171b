//! What logs, exec, attach and port-forward are asked with, and which container of a pod is meant.

use serde_json::Value;

use crate::error::ApiError;
use crate::http::query::Query;
use crate::node::{LogRequest, PodRef};
use crate::object::{self, items, text, text_or_empty};

/// Which pod, as the node knows it.
pub(super) fn pod_ref(pod: &Value) -> PodRef {
    PodRef {
        namespace: object::namespace(pod).to_owned(),
        name: object::name(pod).to_owned(),
        uid: object::uid(pod).to_owned(),
    }
}

/// The container that is meant: the named one, the default one by annotation, or the only one.
pub(super) fn container(pod: &Value, query: &Query) -> Result<String, ApiError> {
    let names = |list: &str| -> Vec<&str> {
        items(pod, &["spec", list]).iter().filter_map(|container| text(container, &["name"])).collect()
    };
    let (own, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let name = object::name(pod);
    if let Some(wanted) = query.text("container") {
        return if own.iter().chain(&init).chain(&ephemeral).any(|found| *found == wanted) {
            Ok(wanted.to_owned())
        } else {
            Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {name}")))
        };
    }
    let default = text_or_empty(pod, &["metadata", "annotations", "kubectl.kubernetes.io/default-container"]);
    if own.contains(&default) {
        return Ok(default.to_owned());
    }
    match (own.as_slice(), init.is_empty()) {
        ([], _) => Err(ApiError::bad_request(format!("pod {name} has no containers"))),
        ([only], true) => Ok((*only).to_owned()),
        _ => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                own.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(ApiError::bad_request(message))
        }
    }
}

/// `PodLogOptions`.
pub(super) fn log_request(pod: &Value, query: &Query) -> Result<LogRequest, ApiError> {
    let since = match (query.number("sinceSeconds")?, query.text("sinceTime")) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request(
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            ));
        }
        (Some(seconds), None) => {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            let now = jiff::Timestamp::now();
            Some(
                now.checked_sub(jiff::SignedDuration::from_secs(seconds))
                    .unwrap_or(jiff::Timestamp::UNIX_EPOCH),
            )
        }
        (None, Some(text)) => Some(text.parse().map_err(|error| {
            ApiError::bad_request(format!("sinceTime {text:?} is not an RFC 3339 time: {error}"))
        })?),
        (None, None) => None,
    };
    Ok(LogRequest {
        pod: pod_ref(pod),
        container: container(pod, query)?,
        follow: query.flag("follow")?,
        previous: query.flag("previous")?,
        tail_lines: query.number("tailLines")?,
        since,
        timestamps: query.flag("timestamps")?,
        limit_bytes: query.number("limitBytes")?,
    })
}
