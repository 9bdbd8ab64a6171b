//! Which webhooks want to see a change.

use serde_json::{Value, json};

use super::{Review, fail_or_ignore};
use crate::api::Api;
use crate::error::ApiError;
use crate::object::{items, text, text_or_empty};
use crate::schema::cel;
use crate::selector::LabelSelector;

/// A webhook that wants to see a change, and the version it wants to see it in.
pub(super) struct Hook {
    pub webhook: Value,
    pub version: String,
}

impl Hook {
    pub fn name(&self) -> &str {
        text_or_empty(&self.webhook, &["name"])
    }
}

/// The webhooks of all configurations, by the configurations' names, that want to see the change.
pub(super) fn matching_hooks(
    api: &Api,
    review: &Review<'_>,
    object: &Value,
    configurations: &str,
) -> Result<Vec<Hook>, ApiError> {
    // A webhook must never keep its own configuration from being repaired.
    if review.resource.group == "admissionregistration.k8s.io" {
        return Ok(Vec::new());
    }
    let (configurations, _) = api.store.list(&format!("admissionregistration.k8s.io/{configurations}"), None);
    let mut hooks = Vec::new();
    for configuration in &configurations {
        for webhook in items(&configuration.object, &["webhooks"]) {
            let Some(version) = wanted_version(api, review, webhook) else { continue };
            if !namespace_fits(api, review, object, webhook) || !object_fits(review, object, webhook) {
                continue;
            }
            let hook = Hook { webhook: webhook.clone(), version };
            if conditions_hold(review, object, &hook)? {
                hooks.push(hook);
            }
        }
    }
    Ok(hooks)
}

/// The version whose rule matches: the request's own, or with `matchPolicy: Equivalent` another of the same resource.
fn wanted_version(api: &Api, review: &Review<'_>, webhook: &Value) -> Option<String> {
    let own = &review.resource.version;
    let rules = items(webhook, &["rules"]);
    let matches = |version: &str| rules.iter().any(|rule| rule_matches(review, rule, version));
    if matches(own) {
        return Some(own.clone());
    }
    if text(webhook, &["matchPolicy"]) == Some("Exact") {
        return None;
    }
    let catalogue = api.catalogue.load();
    let group = catalogue.group(&review.resource.group)?;
    group
        .versions
        .iter()
        .filter(|version| version.resources.iter().any(|other| other.plural == review.resource.plural))
        .map(|version| version.name.clone())
        .find(|version| matches(version))
}

fn rule_matches(review: &Review<'_>, rule: &Value, version: &str) -> bool {
    let lists = |field: &str, wanted: &str| {
        items(rule, &[field]).iter().filter_map(Value::as_str).any(|found| found == "*" || found == wanted)
    };
    let resource = review.resource;
    let scope = match text(rule, &["scope"]) {
        Some("Cluster") => !resource.namespaced,
        Some("Namespaced") => resource.namespaced,
        _ => true,
    };
    let is_listed = items(rule, &["resources"]).iter().filter_map(Value::as_str).any(|pattern| {
        let (plural, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
        let plural_fits = plural == "*" || plural == resource.plural;
        let subresource_fits = subresource == review.subresource || subresource == "*" || (pattern == "*/*");
        plural_fits && subresource_fits
    });
    scope
        && is_listed
        && lists("apiGroups", &resource.group)
        && lists("apiVersions", version)
        && lists("operations", review.operation)
}

fn selector(webhook: &Value, field: &str) -> LabelSelector {
    // Checked when the configuration was stored.
    LabelSelector::from_object(webhook.get(field).unwrap_or(&Value::Null)).unwrap_or_default()
}

fn namespace_fits(api: &Api, review: &Review<'_>, object: &Value, webhook: &Value) -> bool {
    let selector = selector(webhook, "namespaceSelector");
    if selector.is_empty() {
        return true;
    }
    if review.resource.is("", "namespaces") {
        let namespace = if object.is_null() { review.old.unwrap_or(object) } else { object };
        return selector.matches(namespace);
    }
    if !review.resource.namespaced {
        return true;
    }
    api.store
        .get("/namespaces", "", &review.namespace)
        .is_some_and(|namespace| selector.matches(&namespace.object))
}

fn object_fits(review: &Review<'_>, object: &Value, webhook: &Value) -> bool {
    let selector = selector(webhook, "objectSelector");
    selector.is_empty()
        || (!object.is_null() && selector.matches(object))
        || review.old.is_some_and(|old| selector.matches(old))
}

/// `matchConditions`: one that is false takes the webhook out; one that fails is the webhook's failure.
fn conditions_hold(review: &Review<'_>, object: &Value, hook: &Hook) -> Result<bool, ApiError> {
    let conditions = items(&hook.webhook, &["matchConditions"]);
    if conditions.is_empty() {
        return Ok(true);
    }
    let resource = review.resource;
    let request = json!({
        "operation": review.operation,
        "name": review.name,
        "namespace": review.namespace,
        "subResource": review.subresource,
        "kind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "resource": {"group": resource.group, "version": resource.version, "resource": resource.plural},
        "userInfo": review.options.user.info(),
        "dryRun": review.options.dry_run,
    });
    let none = &Value::Null;
    let variables = [
        ("object", Some((object, none))),
        ("oldObject", review.old.map(|old| (old, none))),
        ("request", Some((&request, none))),
    ];
    for condition in conditions {
        match cel::evaluate_bool(text_or_empty(condition, &["expression"]), &variables) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                let name = text_or_empty(condition, &["name"]);
                return fail_or_ignore(hook, &format!("matchCondition {name:?}: {error}")).map(|()| false);
            }
        }
    }
    Ok(true)
}
