//! The garbage collector: dependents of what is gone, owners that wait for their dependents, namespaces and definitions that
//! wait to be empty.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::api::{Api, DEFINITIONS};
use crate::object::{self, at, items, text, text_or_empty};
use crate::operations::delete::{self, DEFINITION_CLEANUP, DeleteOptions, FOREGROUND, Propagation};
use crate::store::{Location, Stored, Trail};

/// How long events are kept, in seconds, as in Kubernetes.
const EVENT_LIFE: i64 = 3600;

/// Most events that are kept; the oldest go first.
const MOST_EVENTS: usize = 10_000;

/// How often old events are swept out.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Follows what the store reports until the server stops.
pub(crate) async fn run(api: Arc<Api>, mut trail: mpsc::UnboundedReceiver<Trail>) {
    resume(&api);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = api.stopping.cancelled() => return,
            _ = sweep.tick() => sweep_events(&api),
            next = trail.recv() => match next {
                Some(trail) => follow(&api, trail),
                None => return,
            },
        }
    }
}

/// What an earlier run left half done.
fn resume(api: &Api) {
    let catalogue = api.catalogue.load();
    let versions = catalogue.groups.iter().flat_map(|group| &group.versions);
    for resource in versions.flat_map(|version| &version.resources) {
        for stored in api.store.list(&resource.collection, None).0 {
            if object::is_terminating(&stored.object) {
                follow(api, Trail::Terminating(Api::location(resource, &stored.object)));
            } else if object::owner_uids(&stored.object).next().is_some() {
                collect_if_orphaned(api, &Api::location(resource, &stored.object));
            }
        }
    }
}

fn follow(api: &Api, trail: Trail) {
    match trail {
        Trail::Removed(location, last) => removed(api, &location, &last),
        Trail::OwnerMissing(location) => collect_if_orphaned(api, &location),
        Trail::Terminating(location) => terminating(api, &location),
    }
}

fn removed(api: &Api, location: &Location, last: &Stored) {
    for dependent in api.store.dependents(object::uid(&last.object)) {
        collect_if_orphaned(api, &dependent);
    }
    for uid in object::owner_uids(&last.object) {
        if let Some(owner) = api.store.locate(uid) {
            finish_foreground(api, &owner);
        }
    }
    if !location.namespace.is_empty() {
        let namespace = Location {
            collection: Arc::from("/namespaces"),
            namespace: String::new(),
            name: location.namespace.clone(),
        };
        finish_namespace(api, &namespace);
    }
    if let Some((group, plural)) = location.collection.split_once('/') {
        let name = format!("{plural}.{group}");
        if api.store.get(DEFINITIONS, "", &name).is_some() {
            let definition = Location { collection: Arc::from(DEFINITIONS), namespace: String::new(), name };
            finish_definition(api, &definition);
        }
    }
}

/// Deletes an object none of whose owners exists any more; takes out the owners that do not, if others do.
fn collect_if_orphaned(api: &Api, location: &Location) {
    let Some(stored) = api.store.get(&location.collection, &location.namespace, &location.name) else {
        return;
    };
    let owners = items(&stored.object, &["metadata", "ownerReferences"]);
    let is_there = |owner: &&Value| {
        text(owner, &["uid"])
            .and_then(|uid| api.store.locate(uid))
            .is_some_and(|found| found.namespace.is_empty() || found.namespace == location.namespace)
    };
    let there: Vec<Value> = owners.iter().filter(is_there).cloned().collect();
    if owners.is_empty() || there.len() == owners.len() {
        return;
    }
    if there.is_empty() {
        remove(api, location, Propagation::Background);
    } else {
        delete::rewrite(api, location, |object| {
            object::set(object, &["metadata", "ownerReferences"], there.clone());
        });
    }
}

fn remove(api: &Api, location: &Location, propagation: Propagation) {
    let catalogue = api.catalogue.load();
    let resource = catalogue.find_collection(&location.collection).cloned();
    match resource {
        Some(resource) => {
            let how = DeleteOptions { propagation, ..DeleteOptions::default() };
            // Gone already is as good.
            let _ = delete::begin(api, &resource, &location.namespace, &location.name, &how);
        }
        None => {
            // Objects of a kind that is no longer served have nobody to finish them.
            if let Some(stored) = api.store.get(&location.collection, &location.namespace, &location.name) {
                let _ = api.store.remove(location, stored.revision, stored.object.clone());
            }
        }
    }
}

fn terminating(api: &Api, location: &Location) {
    let Some(stored) = api.store.get(&location.collection, &location.namespace, &location.name) else {
        return;
    };
    if object::has_finalizer(&stored.object, FOREGROUND) {
        for dependent in api.store.dependents(object::uid(&stored.object)) {
            remove(api, &dependent, Propagation::Foreground);
        }
        finish_foreground(api, location);
    }
    match &*location.collection {
        "/namespaces" => {
            for inside in api.store.in_namespace(&location.name) {
                remove(api, &inside, Propagation::Background);
            }
            finish_namespace(api, location);
        }
        DEFINITIONS => {
            if let Some((plural, group)) = location.name.split_once('.') {
                let collection: Arc<str> = Arc::from(format!("{group}/{plural}"));
                for instance in api.store.list(&collection, None).0 {
                    let instance = Location {
                        collection: collection.clone(),
                        namespace: object::namespace(&instance.object).to_owned(),
                        name: object::name(&instance.object).to_owned(),
                    };
                    remove(api, &instance, Propagation::Background);
                }
            }
            finish_definition(api, location);
        }
        _ => {}
    }
}

/// Lets an owner go whose blocking dependents are gone.
fn finish_foreground(api: &Api, owner: &Location) {
    let Some(stored) = api.store.get(&owner.collection, &owner.namespace, &owner.name) else { return };
    if !object::is_terminating(&stored.object) || !object::has_finalizer(&stored.object, FOREGROUND) {
        return;
    }
    let uid = object::uid(&stored.object);
    let blocks = |location: &Location| {
        api.store.get(&location.collection, &location.namespace, &location.name).is_some_and(|dependent| {
            items(&dependent.object, &["metadata", "ownerReferences"]).iter().any(|owner| {
                text(owner, &["uid"]) == Some(uid)
                    && at(owner, &["blockOwnerDeletion"]) == Some(&Value::Bool(true))
            })
        })
    };
    if !api.store.dependents(uid).iter().any(blocks) {
        delete::rewrite(api, owner, |object| object::remove_finalizer(object, FOREGROUND));
        delete::finish(api, owner);
    }
}

/// Lets a namespace go that is empty; says why if it is not.
fn finish_namespace(api: &Api, namespace: &Location) {
    let Some(stored) = api.store.get("/namespaces", "", &namespace.name) else { return };
    if !object::is_terminating(&stored.object) {
        return;
    }
    let left = api.store.in_namespace(&namespace.name);
    if left.is_empty() {
        delete::rewrite(api, namespace, |object| {
            object::remove(object, &["spec", "finalizers"]);
        });
        delete::finish(api, namespace);
        return;
    }
    let kept = left.iter().filter(|location| {
        api.store
            .get(&location.collection, &location.namespace, &location.name)
            .is_some_and(|stored| object::finalizers(&stored.object).next().is_some())
    });
    let kept: Vec<String> =
        kept.map(|location| format!("{}/{}", location.collection, location.name)).collect();
    if !kept.is_empty() {
        let message = format!("Some content in the namespace has finalizers remaining: {}", kept.join(", "));
        let condition = json!([{
            "type": "NamespaceFinalizersRemaining",
            "status": "True",
            "reason": "SomeFinalizersRemain",
            "message": message,
            "lastTransitionTime": text_or_empty(&stored.object, &["metadata", "deletionTimestamp"]),
        }]);
        delete::rewrite(api, namespace, |object| {
            object::set(object, &["status", "conditions"], condition.clone());
        });
    }
}

/// Lets a definition go that has no objects left.
fn finish_definition(api: &Api, definition: &Location) {
    let Some(stored) = api.store.get(DEFINITIONS, "", &definition.name) else { return };
    let Some((plural, group)) = definition.name.split_once('.') else { return };
    let is_empty = api.store.list(&format!("{group}/{plural}"), None).0.is_empty();
    if object::is_terminating(&stored.object) && is_empty {
        delete::rewrite(api, definition, |object| object::remove_finalizer(object, DEFINITION_CLEANUP));
        delete::finish(api, definition);
        api.refresh_catalogue();
    }
}

fn sweep_events(api: &Api) {
    let collection: Arc<str> = Arc::from("/events");
    let oldest = object::seconds_from_now(-EVENT_LIFE);
    let (mut events, _) = api.store.list(&collection, None);
    events.sort_by_key(|event| event.revision);
    let surplus = events.len().saturating_sub(MOST_EVENTS);
    for (index, event) in events.iter().enumerate() {
        let seen = text(&event.object, &["lastTimestamp"])
            .or_else(|| text(&event.object, &["metadata", "creationTimestamp"]))
            .unwrap_or_default();
        // RFC 3339 times of one form compare as texts.
        if index < surplus || seen < oldest.as_str() {
            let location = Location {
                collection: collection.clone(),
                namespace: object::namespace(&event.object).to_owned(),
                name: object::name(&event.object).to_owned(),
            };
            let _ = api.store.remove(&location, event.revision, event.object.clone());
        }
    }
}
