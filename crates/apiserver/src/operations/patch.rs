//! `PATCH`: what is there, changed, and committed if nobody was faster.

use std::sync::Arc;

use serde_json::Value;

use super::prepare;
use super::{create, events, update};
use crate::api::{Api, Outcome, WriteOptions, presented};
use crate::error::{ApiError, FieldError};
use crate::object;
use crate::patch::apply::{Applier, apply};
use crate::patch::{PatchKind, json_patch, merge_patch, strategic};
use crate::resources::Resource;

/// How often a patch is tried on top of somebody else's change, as in Kubernetes.
const ATTEMPTS: usize = 5;

/// A patch as it came.
pub(crate) struct Patch {
    pub kind: PatchKind,
    pub body: Value,
    /// Server-side apply takes fields from others.
    pub force: bool,
}

/// Patches an object or its status; server-side apply may create it.
pub(crate) async fn patch(
    api: &Api,
    resource: &Arc<Resource>,
    (namespace, name, subresource): (&str, &str, &str),
    patch: Patch,
    options: &WriteOptions,
) -> Result<Outcome, ApiError> {
    if patch.kind == PatchKind::Strategic && resource.custom.is_some() {
        return Err(ApiError::unsupported_media_type(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ));
    }
    for _ in 0..ATTEMPTS {
        let current = api.find(resource, namespace, name);
        let current = match current {
            Ok(current) => current,
            Err(missing) if patch.kind == PatchKind::Apply && subresource.is_empty() => {
                let _ = missing;
                let wanted = applied(resource, &Value::Null, &patch, subresource, name, options)?;
                match create::create(api, resource, namespace, wanted, options).await {
                    Err(error) if error.reason == "AlreadyExists" => continue,
                    outcome => return outcome,
                }
            }
            Err(missing) => return Err(missing),
        };
        let mut warnings = Vec::new();
        let shown = presented(resource, &current.object);
        let mut wanted = patched(resource, &shown, &patch, subresource, name, options)?;
        if object::resource_version(&wanted) != object::resource_version(&shown)
            && !object::resource_version(&wanted).is_empty()
        {
            return Err(ApiError::changed_meanwhile(resource.named(name)));
        }
        check_identity(resource, &shown, &wanted)?;
        prepare::decode(resource, &mut wanted, options.field_validation, &mut warnings)?;
        if resource.is("events.k8s.io", "events") {
            wanted = events::to_stored(&wanted);
        }
        let options = WriteOptions { ownership_recorded: patch.kind == PatchKind::Apply, ..options.clone() };
        let replaced =
            update::replace(api, resource, subresource, &current, wanted, &options, &mut warnings).await?;
        if let Some(stored) = replaced {
            return Ok(Outcome { code: 200, object: presented(resource, &stored), warnings });
        }
    }
    Err(ApiError::changed_meanwhile(resource.named(name)))
}

fn patched(
    resource: &Resource,
    current: &Value,
    patch: &Patch,
    subresource: &str,
    name: &str,
    options: &WriteOptions,
) -> Result<Value, ApiError> {
    match patch.kind {
        PatchKind::Json => json_patch(current, &patch.body),
        PatchKind::Merge => merge_patch(current, &patch.body),
        PatchKind::Strategic => strategic::merge(current, &patch.body),
        PatchKind::Apply => applied(resource, current, patch, subresource, name, options),
    }
}

fn applied(
    resource: &Resource,
    current: &Value,
    patch: &Patch,
    subresource: &str,
    name: &str,
    options: &WriteOptions,
) -> Result<Value, ApiError> {
    let mut wanted = patch.body.clone();
    for field in ["apiVersion", "kind"] {
        if object::text_or_empty(&wanted, &[field]).is_empty() {
            return Err(ApiError::bad_request(format!(
                "invalid object: {field} must be set in an apply patch"
            )));
        }
    }
    prepare::check_kind(resource, &mut wanted)?;
    match object::name(&wanted) {
        "" => object::set(&mut wanted, &["metadata", "name"], name),
        given if given == name => {}
        given => {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
    }
    if wanted.get("metadata").is_some_and(|metadata| metadata.get("managedFields").is_some()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    // Unknown fields are looked for in what was sent: merged into the object they would be somebody else's too.
    let mut checked = wanted.clone();
    prepare::decode(resource, &mut checked, options.field_validation, &mut Vec::new())?;
    let version = resource.api_version();
    let applier =
        Applier { manager: &options.field_manager, subresource, api_version: &version, force: patch.force };
    let expected = object::resource_version(&checked);
    if !expected.is_empty() && !current.is_null() && expected != object::resource_version(current) {
        return Err(ApiError::changed_meanwhile(resource.named(name)));
    }
    apply(current, &checked, prepare::shapes(resource), &applier)
}

/// A patch may not turn an object into another.
fn check_identity(resource: &Resource, current: &Value, wanted: &Value) -> Result<(), ApiError> {
    if !wanted.is_object() {
        return Err(ApiError::bad_request("the patch leaves no object"));
    }
    for path in [
        &["apiVersion"][..],
        &["kind"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "uid"],
    ] {
        let (before, after) = (object::text_or_empty(current, path), object::text_or_empty(wanted, path));
        if before != after {
            let error = FieldError::invalid(path.join("."), &after.into(), "field is immutable");
            return Err(ApiError::invalid(&resource.group, &resource.kind, object::name(current), &[error]));
        }
    }
    Ok(())
}
