//! Deleting objects: at once, after a pod's grace period, or when finalizers are done; and what happens to dependents.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admission::{self, Review};
use crate::api::{Api, DEFINITIONS, Outcome, WriteOptions, presented};
use crate::error::ApiError;
use crate::object::{self, integer, text, text_or_empty};
use crate::resources::Resource;
use crate::store::{Location, Stored, WriteError};

/// Kept on an owner until its dependents are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// Kept on a definition until its objects are gone.
pub(crate) const DEFINITION_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Grace a pod has when nothing else is said, in seconds.
const DEFAULT_GRACE: i64 = 30;

/// What becomes of the objects that have this one as their owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Propagation {
    #[default]
    Background,
    Foreground,
    Orphan,
}

/// `DeleteOptions`.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub grace: Option<i64>,
    pub propagation: Propagation,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// From a request body (null if there is none).
    pub fn from_body(body: &Value) -> Result<DeleteOptions, ApiError> {
        let orphans = body.get("orphanDependents").and_then(Value::as_bool);
        let propagation = match (text(body, &["propagationPolicy"]), orphans) {
            (Some("Background"), _) => Propagation::Background,
            (Some("Foreground"), _) => Propagation::Foreground,
            (Some("Orphan"), _) | (None, Some(true)) => Propagation::Orphan,
            (None, _) => Propagation::default(),
            (Some(other), _) => {
                return Err(ApiError::bad_request(format!(
                    "invalid DeleteOptions: propagationPolicy: Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""
                )));
            }
        };
        Ok(DeleteOptions {
            grace: integer(body, &["gracePeriodSeconds"]),
            propagation,
            uid: text(body, &["preconditions", "uid"]).map(str::to_owned),
            resource_version: text(body, &["preconditions", "resourceVersion"]).map(str::to_owned),
        })
    }
}

/// Deletes an object, or begins to.
pub(crate) async fn delete(
    api: &Api,
    resource: &Arc<Resource>,
    namespace: &str,
    name: &str,
    how: &DeleteOptions,
    options: &WriteOptions,
) -> Result<Outcome, ApiError> {
    let current = api.find(resource, namespace, name)?;
    let mut warnings = Vec::new();
    let review = Review {
        operation: "DELETE",
        resource,
        subresource: "",
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        old: Some(&current.object),
        options,
    };
    let mutated = admission::mutate(api, &review, Value::Null, &mut warnings).await?;
    admission::validate(api, &review, &mutated.object, &mut warnings).await?;
    if is_protected_namespace(resource, name) {
        return Err(ApiError::forbidden(resource.named(name), "this namespace may not be deleted"));
    }
    if options.dry_run {
        return Ok(Outcome { code: 200, object: presented(resource, &current.object), warnings });
    }
    let outcome = begin(api, resource, namespace, name, how)?;
    Ok(Outcome { warnings, ..outcome })
}

fn is_protected_namespace(resource: &Resource, name: &str) -> bool {
    resource.is("", "namespaces") && matches!(name, "default" | "kube-system" | "kube-public")
}

/// Deletes without admission, as the server's own garbage collector does.
pub(crate) fn begin(
    api: &Api,
    resource: &Arc<Resource>,
    namespace: &str,
    name: &str,
    how: &DeleteOptions,
) -> Result<Outcome, ApiError> {
    loop {
        let current = api.find(resource, namespace, name)?;
        check_preconditions(resource, &current, how)?;
        match step(api, resource, &current, how) {
            Ok(outcome) => return Ok(outcome),
            Err(WriteError::Changed | WriteError::Exists | WriteError::Refused) => {}
        }
    }
}

fn check_preconditions(resource: &Resource, current: &Stored, how: &DeleteOptions) -> Result<(), ApiError> {
    let failed = |what: &str, wanted: &str, found: &str| {
        let why =
            format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
        Err(ApiError::conflict(resource.named(object::name(&current.object)), &why))
    };
    if let Some(uid) = &how.uid
        && uid != object::uid(&current.object)
    {
        return failed("UID", uid, object::uid(&current.object));
    }
    if let Some(version) = &how.resource_version
        && *version != current.revision.to_string()
    {
        return failed("ResourceVersion", version, &current.revision.to_string());
    }
    Ok(())
}

fn step(
    api: &Api,
    resource: &Arc<Resource>,
    current: &Arc<Stored>,
    how: &DeleteOptions,
) -> Result<Outcome, WriteError> {
    let old = &current.object;
    let location = Api::location(resource, old);
    let mut object = old.clone();
    if how.propagation == Propagation::Orphan {
        disown_dependents(api, object::uid(old));
    }
    if how.propagation == Propagation::Foreground && !api.store.dependents(object::uid(old)).is_empty() {
        object::add_finalizer(&mut object, FOREGROUND);
    }
    if &*resource.collection == DEFINITIONS {
        object::add_finalizer(&mut object, DEFINITION_CLEANUP);
        set_terminating_condition(&mut object);
    }
    let grace = grace(resource, old, how);
    let waits = grace > 0
        || object::finalizers(&object).next().is_some()
        || !object::items(&object, &["spec", "finalizers"]).is_empty() && resource.is("", "namespaces");
    if !waits {
        api.store.remove(&location, current.revision, object)?;
        return Ok(Outcome::new(200, gone(resource, old)));
    }
    if object::is_terminating(old) {
        let remaining = integer(old, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or_default();
        if grace >= remaining && object == *old {
            return Ok(Outcome::new(200, presented(resource, old)));
        }
    }
    if !object::is_terminating(old) || is_sooner(old, grace) {
        object::set(&mut object, &["metadata", "deletionTimestamp"], object::seconds_from_now(grace));
        object::set(&mut object, &["metadata", "deletionGracePeriodSeconds"], grace);
    }
    if resource.is("", "namespaces") {
        object::set(&mut object, &["status", "phase"], "Terminating");
    } else if super::create::has_generation(resource) && !object::is_terminating(old) {
        let generation = integer(old, &["metadata", "generation"]).unwrap_or_default() + 1;
        object::set(&mut object, &["metadata", "generation"], generation);
    }
    let stored = api.store.replace(&location, current.revision, object)?;
    if &*resource.collection == DEFINITIONS {
        api.refresh_catalogue();
    }
    api.store.note_terminating(location);
    Ok(Outcome::new(200, presented(resource, &stored.object)))
}

fn is_sooner(old: &Value, grace: i64) -> bool {
    grace < integer(old, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or_default()
}

/// Seconds between the wish and the deed. Only pods that run somewhere get any.
fn grace(resource: &Resource, object: &Value, how: &DeleteOptions) -> i64 {
    let ended = matches!(text(object, &["status", "phase"]), Some("Succeeded" | "Failed"));
    if !resource.is("", "pods") || ended || text_or_empty(object, &["spec", "nodeName"]).is_empty() {
        return 0;
    }
    let own = integer(object, &["spec", "terminationGracePeriodSeconds"]);
    how.grace.or(own).unwrap_or(DEFAULT_GRACE).max(0)
}

/// What the deletion of an object that is gone at once answers.
fn gone(resource: &Resource, object: &Value) -> Value {
    if resource.is("", "pods") {
        return presented(resource, object);
    }
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            "name": object::name(object),
            "group": resource.group,
            "kind": resource.plural,
            "uid": object::uid(object),
        },
    })
}

fn set_terminating_condition(definition: &mut Value) {
    let condition = json!({
        "type": "Terminating",
        "status": "True",
        "lastTransitionTime": object::now(),
        "reason": "InstanceDeletionInProgress",
        "message": "CustomResource deletion is in progress",
    });
    let mut conditions: Vec<Value> = object::items(definition, &["status", "conditions"]).to_vec();
    conditions.retain(|found| text(found, &["type"]) != Some("Terminating"));
    conditions.push(condition);
    object::set(definition, &["status", "conditions"], conditions);
}

/// Takes the owner out of its dependents' references.
fn disown_dependents(api: &Api, uid: &str) {
    for location in api.store.dependents(uid) {
        rewrite(api, &location, |dependent| {
            let kept: Vec<Value> = object::items(dependent, &["metadata", "ownerReferences"])
                .iter()
                .filter(|owner| text(owner, &["uid"]) != Some(uid))
                .cloned()
                .collect();
            if kept.is_empty() {
                object::remove(dependent, &["metadata", "ownerReferences"]);
            } else {
                object::set(dependent, &["metadata", "ownerReferences"], kept);
            }
        });
    }
}

/// Changes an object on the server's own account, on top of whatever is there. Nothing happens if it is gone.
pub(crate) fn rewrite(api: &Api, location: &Location, change: impl Fn(&mut Value)) -> Option<Arc<Stored>> {
    loop {
        let current = api.store.get(&location.collection, &location.namespace, &location.name)?;
        let mut object = current.object.clone();
        change(&mut object);
        if object == current.object {
            return Some(current);
        }
        match api.store.replace(location, current.revision, object) {
            Ok(stored) => return Some(stored),
            Err(WriteError::Changed | WriteError::Exists | WriteError::Refused) => {}
        }
    }
}

/// Takes an object out if nothing keeps it any more: deletion has begun, and no finalizer or grace is left.
pub(crate) fn finish(api: &Api, location: &Location) {
    loop {
        let Some(current) = api.store.get(&location.collection, &location.namespace, &location.name) else {
            return;
        };
        let object = &current.object;
        let kept = !object::is_terminating(object)
            || object::finalizers(object).next().is_some()
            || integer(object, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or_default() > 0;
        if kept || api.store.remove(location, current.revision, object.clone()).is_ok() {
            return;
        }
    }
}
