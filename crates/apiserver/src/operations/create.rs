//! Creating objects.

use std::sync::Arc;

use rand::RngExt as _;
use serde_json::Value;

use super::events;
use super::prepare::{self, Change};
use crate::api::{Api, DEFINITIONS, Outcome, WriteOptions, presented};
use crate::error::ApiError;
use crate::object::{self, text_or_empty};
use crate::patch::ownership;
use crate::resources::{Resource, definition_checks};
use crate::store::WriteError;

/// Creates an object in a namespace (empty for cluster-scoped resources).
pub(crate) async fn create(
    api: &Api,
    resource: &Arc<Resource>,
    namespace: &str,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Outcome, ApiError> {
    let mut warnings = Vec::new();
    prepare::check_kind(resource, &mut object)?;
    prepare::decode(resource, &mut object, options.field_validation, &mut warnings)?;
    warnings.extend(not_acted_on(resource));
    place(resource, namespace, &mut object)?;
    let generated = name(&mut object);
    if !object::resource_version(&object).is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    check_namespace(api, resource, namespace, &object)?;
    stamp(resource, &mut object);
    let object = if resource.is("events.k8s.io", "events") { events::to_stored(&object) } else { object };

    let change = Change { api, resource, subresource: "", old: None, options };
    let mut object = prepare::admit(&change, object, &mut warnings).await?;
    let (manager, version) = (options.field_manager.as_str(), resource.api_version());
    if ownership::managers(&object).is_empty() {
        object::remove(&mut object, &["metadata", "managedFields"]);
        ownership::record_update(None, &mut object, manager, "", &version, prepare::shapes(resource));
    }
    let created = commit(api, resource, object, options, generated)?;
    Ok(Outcome { code: 201, object: presented(resource, &created), warnings })
}

/// Says so where an object is kept but nothing here acts on it.
fn not_acted_on(resource: &Resource) -> Option<String> {
    let plural = resource.plural.as_str();
    let stored_only = matches!(
        (resource.group.as_str(), plural),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies" | "validatingadmissionpolicybindings")
            | ("", "limitranges" | "resourcequotas" | "replicationcontrollers" | "persistentvolumeclaims")
            | ("autoscaling", "horizontalpodautoscalers")
            | ("networking.k8s.io", "networkpolicies")
            | ("batch", "cronjobs")
    );
    stored_only.then(|| format!("{plural} are stored but nothing on this server acts on them"))
}

/// Puts the object into the namespace of the path.
fn place(resource: &Resource, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    let given = object::namespace(object);
    if !resource.namespaced {
        object::remove(object, &["metadata", "namespace"]);
    } else if given.is_empty() {
        object::set(object, &["metadata", "namespace"], namespace);
    } else if given != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Gives a name to an object that only says how its name begins. True if it did.
fn name(object: &mut Value) -> bool {
    let prefix = text_or_empty(object, &["metadata", "generateName"]).to_owned();
    if !object::name(object).is_empty() || prefix.is_empty() {
        return false;
    }
    object::set(object, &["metadata", "name"], generated_name(&prefix));
    true
}

/// Kubernetes' generated names: at most 63 characters, five of them random and none that spells words.
fn generated_name(prefix: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    let suffix: String = (0..5)
        .filter_map(|_| LETTERS.get(random.random_range(0..LETTERS.len())))
        .map(|letter| char::from(*letter))
        .collect();
    let kept: String = prefix.chars().take(58).collect();
    format!("{kept}{suffix}")
}

/// A namespaced object needs its namespace. Checked again at the commit; here so that webhooks are not asked in vain.
fn check_namespace(api: &Api, resource: &Resource, namespace: &str, object: &Value) -> Result<(), ApiError> {
    if !resource.namespaced {
        return Ok(());
    }
    match api.store.get("/namespaces", "", namespace) {
        None => {
            Err(ApiError::not_found(crate::error::Named { group: "", plural: "namespaces", name: namespace }))
        }
        Some(found) if object::is_terminating(&found.object) => {
            Err(ApiError::namespace_terminating(resource.named(object::name(object)), namespace))
        }
        Some(_) => Ok(()),
    }
}

/// What the server alone says about a new object.
fn stamp(resource: &Resource, object: &mut Value) {
    let metadata = object::map_mut(object, &["metadata"]);
    for servers in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata.shift_remove(servers);
    }
    metadata.insert("uid".to_owned(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".to_owned(), object::now().into());
    if has_generation(resource) {
        metadata.insert("generation".to_owned(), 1.into());
    }
    // The status is not the creator's to set, except where a kind keeps none apart.
    if resource.has_status() && !resource.is("", "nodes") {
        object::remove(object, &["status"]);
    }
}

/// Kinds whose generation counts changes of what they want. The others never had one in Kubernetes.
pub(crate) fn has_generation(resource: &Resource) -> bool {
    resource.custom.is_some()
        || !matches!(
            (resource.group.as_str(), resource.plural.as_str()),
            (
                "",
                "configmaps"
                    | "secrets"
                    | "events"
                    | "endpoints"
                    | "namespaces"
                    | "nodes"
                    | "serviceaccounts"
                    | "services"
            ) | ("events.k8s.io" | "rbac.authorization.k8s.io" | "coordination.k8s.io", _)
        )
}

fn commit(
    api: &Api,
    resource: &Arc<Resource>,
    mut object: Value,
    options: &WriteOptions,
    generated: bool,
) -> Result<Value, ApiError> {
    let is_definition = &*resource.collection == DEFINITIONS;
    if is_definition {
        let (others, _) = api.store.list(DEFINITIONS, None);
        let others: Vec<Value> = others.iter().map(|stored| stored.object.clone()).collect();
        object = definition_checks::accepted(object, &others);
    }
    let addresses = resource.is("", "services").then(|| api.service_addresses.lock());
    if addresses.is_some() {
        crate::defaults::service::allocate(api, &mut object, None)?;
    }
    if options.dry_run {
        return Ok(object);
    }
    let mut attempts = if generated { 8 } else { 1 };
    loop {
        let allows =
            |namespace: Option<&Value>| namespace.is_some_and(|namespace| !object::is_terminating(namespace));
        let named = object::name(&object).to_owned();
        match api.store.create(&resource.collection, object.clone(), allows) {
            Ok(stored) => {
                drop(addresses);
                if is_definition {
                    api.refresh_catalogue();
                }
                if resource.is("", "namespaces") {
                    crate::lifecycle::furnish::namespace(api, &named);
                }
                return Ok(stored.object.clone());
            }
            Err(WriteError::Exists) => {
                attempts -= 1;
                if attempts == 0 {
                    return Err(ApiError::already_exists(resource.named(&named)));
                }
                let prefix = text_or_empty(&object, &["metadata", "generateName"]).to_owned();
                object::set(&mut object, &["metadata", "name"], generated_name(&prefix));
            }
            Err(WriteError::Changed | WriteError::Refused) => {
                check_namespace(api, resource, object::namespace(&object), &object)?;
                return Err(ApiError::conflict(
                    resource.named(&named),
                    "its namespace has just changed; try again",
                ));
            }
        }
    }
}
