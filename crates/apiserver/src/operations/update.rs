//! Replacing objects, and what a replacement may not touch.

use std::sync::Arc;

use serde_json::Value;

use super::create::has_generation;
use super::events;
use super::prepare::{self, Change};
use crate::api::{Api, DEFINITIONS, Outcome, WriteOptions, presented};
use crate::error::{ApiError, FieldError};
use crate::object::{self, integer};
use crate::patch::ownership;
use crate::resources::{Resource, definition_checks};
use crate::store::{Stored, WriteError};

/// `PUT` of an object or of its status.
pub(crate) async fn update(
    api: &Api,
    resource: &Arc<Resource>,
    (namespace, name, subresource): (&str, &str, &str),
    mut object: Value,
    options: &WriteOptions,
) -> Result<Outcome, ApiError> {
    let mut warnings = Vec::new();
    prepare::check_kind(resource, &mut object)?;
    prepare::decode(resource, &mut object, options.field_validation, &mut warnings)?;
    let given = object::name(&object);
    if given.is_empty() {
        object::set(&mut object, &["metadata", "name"], name);
    } else if given != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    if resource.namespaced {
        match object::namespace(&object) {
            "" => object::set(&mut object, &["metadata", "namespace"], namespace),
            given if given == namespace => {}
            _ => {
                return Err(ApiError::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
        }
    }
    if resource.is("events.k8s.io", "events") {
        object = events::to_stored(&object);
    }
    let expected = object::resource_version(&object).to_owned();
    // Without a resourceVersion the caller means "whatever is there".
    for _ in 0..8 {
        let current = api.find(resource, namespace, name)?;
        if !expected.is_empty() && expected != current.revision.to_string() {
            return Err(ApiError::changed_meanwhile(resource.named(name)));
        }
        match replace(api, resource, subresource, &current, object.clone(), options, &mut warnings).await? {
            Some(stored) => return Ok(Outcome { code: 200, object: presented(resource, &stored), warnings }),
            None if expected.is_empty() => warnings.clear(),
            None => break,
        }
    }
    Err(ApiError::changed_meanwhile(resource.named(name)))
}

/// Takes an object from `current` to `wanted`. `None` if somebody else changed it meanwhile.
pub(crate) async fn replace(
    api: &Api,
    resource: &Arc<Resource>,
    subresource: &str,
    current: &Arc<Stored>,
    wanted: Value,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Option<Value>, ApiError> {
    let old = &current.object;
    let object = reconcile(resource, subresource, old, wanted)?;
    let change = Change { api, resource, subresource, old: Some(old), options };
    let mut object = prepare::admit(&change, object, warnings).await?;
    count_generation(resource, old, &mut object);
    if &*resource.collection == DEFINITIONS && subresource.is_empty() {
        let (others, _) = api.store.list(DEFINITIONS, None);
        let others: Vec<Value> = others.iter().map(|stored| stored.object.clone()).collect();
        object = definition_checks::accepted(object, &others);
    }
    let addresses = resource.is("", "services").then(|| api.service_addresses.lock());
    if addresses.is_some() {
        crate::defaults::service::allocate(api, &mut object, Some(old))?;
    }
    if !options.ownership_recorded && essence(&object) != essence(old) {
        let version = resource.api_version();
        let shapes = prepare::shapes(resource);
        ownership::record_update(
            Some(old),
            &mut object,
            &options.field_manager,
            subresource,
            &version,
            shapes,
        );
    }
    if object == *old {
        return Ok(Some(object));
    }
    if options.dry_run {
        return Ok(Some(object));
    }
    let location = Api::location(resource, old);
    let done = object::is_terminating(&object) && object::finalizers(&object).next().is_none();
    let may_go =
        done && integer(&object, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or_default() == 0;
    let holds_back =
        resource.is("", "namespaces") && !object::items(&object, &["spec", "finalizers"]).is_empty();
    let outcome = if may_go && !holds_back {
        api.store.remove(&location, current.revision, object)
    } else {
        api.store.replace(&location, current.revision, object)
    };
    match outcome {
        Ok(stored) => {
            if &*resource.collection == DEFINITIONS {
                api.refresh_catalogue();
            }
            if object::is_terminating(&stored.object) {
                api.store.note_terminating(location);
            }
            Ok(Some(stored.object.clone()))
        }
        Err(WriteError::Changed | WriteError::Exists | WriteError::Refused) => Ok(None),
    }
}

/// The wanted object with everything that this path may not change as it was.
fn reconcile(resource: &Resource, subresource: &str, old: &Value, wanted: Value) -> Result<Value, ApiError> {
    let given_uid = object::uid(&wanted);
    if !given_uid.is_empty() && given_uid != object::uid(old) {
        let why = format!(
            "Precondition failed: UID in precondition: {given_uid}, UID in object meta: {}",
            object::uid(old)
        );
        return Err(ApiError::conflict(resource.named(object::name(old)), &why));
    }
    let mut object = match subresource {
        "status" => with_status_of(resource, old, wanted),
        _ => {
            let mut object = wanted;
            if resource.has_status() {
                keep(&mut object, old, &["status"]);
            }
            object
        }
    };
    for servers in [
        "uid",
        "creationTimestamp",
        "resourceVersion",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generateName",
    ] {
        keep(&mut object, old, &["metadata", servers]);
    }
    if object::is_terminating(old) {
        let added: Vec<&str> =
            object::finalizers(&object).filter(|finalizer| !object::has_finalizer(old, finalizer)).collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            let error = FieldError::forbidden("metadata.finalizers", detail);
            return Err(ApiError::invalid(&resource.group, &resource.kind, object::name(old), &[error]));
        }
    }
    if resource.is("", "namespaces") && subresource != "finalize" {
        keep(&mut object, old, &["spec", "finalizers"]);
    }
    object::set(&mut object, &["apiVersion"], object::text_or_empty(old, &["apiVersion"]));
    if resource.custom.is_some() {
        object::set(&mut object, &["apiVersion"], resource.api_version());
    }
    Ok(object)
}

fn with_status_of(resource: &Resource, old: &Value, mut wanted: Value) -> Value {
    let mut object = old.clone();
    match object::remove(&mut wanted, &["status"]) {
        Some(status) => object::set(&mut object, &["status"], status),
        None => {
            object::remove(&mut object, &["status"]);
        }
    }
    // What Kubernetes' status strategies let through besides the status.
    if resource.custom.is_none() {
        for field in ["labels", "annotations"] {
            keep(&mut object, &wanted, &["metadata", field]);
        }
    }
    keep(&mut object, &wanted, &["metadata", "managedFields"]);
    object
}

/// Makes a field what it is in another object.
fn keep(object: &mut Value, from: &Value, path: &[&str]) {
    match object::at(from, path) {
        Some(value) => object::set(object, path, value.clone()),
        None => {
            object::remove(object, path);
        }
    }
}

/// Counts a change of anything but metadata and status.
fn count_generation(resource: &Resource, old: &Value, object: &mut Value) {
    if !has_generation(resource) {
        return;
    }
    let wants = |object: &Value| {
        let mut wants = object.clone();
        for servers in ["metadata", "apiVersion"] {
            object::remove(&mut wants, &[servers]);
        }
        if resource.has_status() {
            object::remove(&mut wants, &["status"]);
        }
        wants
    };
    if wants(old) != wants(object) {
        let generation = integer(old, &["metadata", "generation"]).unwrap_or_default() + 1;
        object::set(object, &["metadata", "generation"], generation);
    }
}

/// An object without the record of who wrote what.
fn essence(object: &Value) -> Value {
    let mut essence = object.clone();
    object::remove(&mut essence, &["metadata", "managedFields"]);
    essence
}
