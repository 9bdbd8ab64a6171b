//! What looks at a change before it is stored: the server's own plugin for service accounts, and webhooks.

mod call;
mod matching;
pub(crate) mod service_account;

use std::sync::Arc;

use serde_json::{Value, json};

pub(crate) use call::WebhookClient;
use matching::{Hook, matching_hooks};

use crate::api::{Api, WriteOptions};
use crate::error::ApiError;
use crate::object::{self, at, text, text_or_empty};
use crate::resources::Resource;

/// A change under review.
pub(crate) struct Review<'a> {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'static str,
    pub resource: &'a Arc<Resource>,
    pub subresource: &'a str,
    pub namespace: String,
    pub name: String,
    pub old: Option<&'a Value>,
    pub options: &'a WriteOptions,
}

/// What mutating webhooks made of an object.
pub(crate) struct Mutated {
    pub object: Value,
    pub changed: bool,
}

/// Asks the mutating webhooks, one after the other.
pub(crate) async fn mutate(
    api: &Api,
    review: &Review<'_>,
    object: Value,
    warnings: &mut Vec<String>,
) -> Result<Mutated, ApiError> {
    let hooks = matching_hooks(api, review, &object, "mutatingwebhookconfigurations")?;
    let mut mutated = Mutated { object, changed: false };
    let mut last_change = None;
    for (index, hook) in hooks.iter().enumerate() {
        if ask_to_mutate(api, review, hook, &mut mutated, warnings).await? {
            last_change = Some(index);
        }
    }
    // Those that want to see what came after them are asked once more.
    if let Some(last_change) = last_change {
        for hook in hooks.iter().take(last_change) {
            if text(&hook.webhook, &["reinvocationPolicy"]) == Some("IfNeeded") {
                ask_to_mutate(api, review, hook, &mut mutated, warnings).await?;
            }
        }
    }
    Ok(mutated)
}

async fn ask_to_mutate(
    api: &Api,
    review: &Review<'_>,
    hook: &Hook,
    mutated: &mut Mutated,
    warnings: &mut Vec<String>,
) -> Result<bool, ApiError> {
    let Some(response) = ask(api, review, hook, &mutated.object, warnings).await? else { return Ok(false) };
    let Some(patch) = text(&response, &["patch"]).filter(|_| !mutated.object.is_null()) else {
        return Ok(false);
    };
    let patched = patched(hook, &mutated.object, patch, text_or_empty(&response, &["patchType"]));
    match patched {
        Ok(patched) => {
            let changed = patched != mutated.object;
            mutated.object = patched;
            mutated.changed |= changed;
            Ok(changed)
        }
        Err(reason) => fail_or_ignore(hook, &reason).map(|()| false),
    }
}

fn patched(hook: &Hook, object: &Value, patch: &str, kind: &str) -> Result<Value, String> {
    use base64::Engine as _;
    if kind != "JSONPatch" {
        return Err(format!("webhook returned response.patchType {kind:?}: only \"JSONPatch\" is known"));
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(patch)
        .map_err(|error| format!("the patch is not base64: {error}"))?;
    let operations: Value =
        serde_json::from_slice(&bytes).map_err(|error| format!("the patch is not JSON: {error}"))?;
    let mut patched = crate::patch::json_patch(object, &operations).map_err(|error| error.message)?;
    for identity in [&["metadata", "name"][..], &["metadata", "namespace"], &["metadata", "uid"], &["kind"]] {
        if at(&patched, identity) != at(object, identity) {
            return Err(format!(
                "webhook {} changed {}, which identifies the object",
                hook.name(),
                identity.join(".")
            ));
        }
    }
    object::set(&mut patched, &["apiVersion"], text_or_empty(object, &["apiVersion"]));
    Ok(patched)
}

/// Asks the validating webhooks, all at once. The first denial in their order is the answer.
pub(crate) async fn validate(
    api: &Api,
    review: &Review<'_>,
    object: &Value,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let hooks = matching_hooks(api, review, object, "validatingwebhookconfigurations")?;
    let asked = hooks.iter().map(|hook| async move {
        let mut warnings = Vec::new();
        let outcome = ask(api, review, hook, object, &mut warnings).await;
        (outcome, warnings)
    });
    let mut verdict = Ok(());
    for (outcome, more) in futures::future::join_all(asked).await {
        warnings.extend(more);
        verdict = verdict.and(outcome.map(drop));
    }
    verdict
}

/// One question. `None` if the webhook failed and may.
async fn ask(
    api: &Api,
    review: &Review<'_>,
    hook: &Hook,
    object: &Value,
    warnings: &mut Vec<String>,
) -> Result<Option<Value>, ApiError> {
    let dry_run = review.options.dry_run;
    let side_effects = text_or_empty(&hook.webhook, &["sideEffects"]);
    if dry_run && !matches!(side_effects, "None" | "NoneOnDryRun") {
        return Err(ApiError::bad_request(format!(
            "admission webhook {:?} does not support dry run",
            hook.name()
        )));
    }
    let id = uuid::Uuid::new_v4().to_string();
    let question = question(review, hook, object, &id);
    let response = match call::call(api, &hook.webhook, &question).await {
        Ok(response) => response,
        Err(reason) => {
            return fail_or_ignore(hook, &format!("failed to call webhook: {reason}")).map(|()| None);
        }
    };
    if text(&response, &["uid"]) != Some(&id) {
        return fail_or_ignore(
            hook,
            "the response is not to the request that was sent: response.uid differs",
        )
        .map(|()| None);
    }
    let said = object::items(&response, &["warnings"]).iter().filter_map(Value::as_str);
    warnings.extend(said.map(str::to_owned));
    if response.get("allowed").and_then(Value::as_bool).unwrap_or_default() {
        return Ok(Some(response));
    }
    let denied = format!("admission webhook {:?} denied the request", hook.name());
    let message = match (text(&response, &["status", "message"]), text(&response, &["status", "reason"])) {
        (Some(message), _) if !message.is_empty() => format!("{denied}: {message}"),
        (_, Some(reason)) if !reason.is_empty() => format!("{denied}: {reason}"),
        _ => format!("{denied} without explanation"),
    };
    let code = object::integer(&response, &["status", "code"]).and_then(|code| u16::try_from(code).ok());
    Err(ApiError::denied(code.unwrap_or(403), message))
}

/// What becomes of a change when a webhook cannot be asked.
fn fail_or_ignore(hook: &Hook, reason: &str) -> Result<(), ApiError> {
    if text(&hook.webhook, &["failurePolicy"]) == Some("Ignore") {
        tracing::warn!(
            webhook = hook.name(),
            reason,
            "failed calling webhook; ignored as its failurePolicy says"
        );
        return Ok(());
    }
    Err(ApiError::internal(format!("failed calling webhook {:?}: {reason}", hook.name())))
}

/// The `AdmissionReview` to send.
fn question(review: &Review<'_>, hook: &Hook, object: &Value, id: &str) -> Value {
    let resource = review.resource;
    let kind = |version: &str| json!({"group": resource.group, "version": version, "kind": resource.kind});
    let plural =
        |version: &str| json!({"group": resource.group, "version": version, "resource": resource.plural});
    let in_version = |object: &Value| {
        let mut object = object.clone();
        if resource.custom.is_some() && object.is_object() {
            object::set(&mut object, &["apiVersion"], format!("{}/{}", resource.group, hook.version));
        }
        object
    };
    let mut request = json!({
        "uid": id,
        "kind": kind(&hook.version),
        "resource": plural(&hook.version),
        "requestKind": kind(&resource.version),
        "requestResource": plural(&resource.version),
        "name": review.name,
        "operation": review.operation,
        "userInfo": review.options.user.info(),
        "object": in_version(object),
        "oldObject": review.old.map(in_version),
        "dryRun": review.options.dry_run,
        "options": {"kind": options_kind(review.operation), "apiVersion": "meta.k8s.io/v1"},
    });
    if !review.namespace.is_empty() {
        object::set(&mut request, &["namespace"], review.namespace.as_str());
    } else if resource.is("", "namespaces") {
        object::set(&mut request, &["namespace"], review.name.as_str());
    }
    if !review.subresource.is_empty() {
        object::set(&mut request, &["subResource"], review.subresource);
        object::set(&mut request, &["requestSubResource"], review.subresource);
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}

fn options_kind(operation: &str) -> &'static str {
    match operation {
        "CREATE" => "CreateOptions",
        "DELETE" => "DeleteOptions",
        _ => "UpdateOptions",
    }
}
