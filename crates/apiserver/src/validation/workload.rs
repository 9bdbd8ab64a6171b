//! Kinds that make pods.

use serde_json::Value;

use super::{immutable, pod};
use crate::error::FieldError;
use crate::object::{at, integer, map, text, text_or_empty};
use crate::selector::LabelSelector;

pub(super) fn violations(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if object.get("spec").is_none() {
        errors.push(FieldError::required("spec", ""));
        return;
    }
    if let Some(replicas) = integer(object, &["spec", "replicas"])
        && replicas < 0
    {
        errors.push(FieldError::invalid(
            "spec.replicas",
            &replicas.into(),
            "must be greater than or equal to 0",
        ));
    }
    match at(object, &["spec", "selector"]) {
        None => errors.push(FieldError::required("spec.selector", "")),
        Some(selector) => match LabelSelector::from_object(selector) {
            Err(detail) => errors.push(FieldError::invalid("spec.selector", selector, detail)),
            Ok(parsed) if parsed.is_empty() => {
                let detail = "empty selector is invalid for deployment";
                errors.push(FieldError::invalid("spec.selector", selector, detail));
            }
            Ok(parsed) => {
                if !parsed.matches_labels(at(object, &["spec", "template", "metadata", "labels"])) {
                    let labels =
                        map(object, &["spec", "template", "metadata", "labels"]).cloned().unwrap_or_default();
                    let detail = "`selector` does not match template `labels`";
                    errors.push(FieldError::invalid("spec.template.metadata.labels", &labels.into(), detail));
                }
            }
        },
    }
    immutable(object, old, &["spec", "selector"], errors);
    template(object, &["spec", "template"], &["Always"], errors);
}

pub(super) fn job(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    immutable(object, old, &["spec", "template"], errors);
    immutable(object, old, &["spec", "selector"], errors);
    template(object, &["spec", "template"], &["OnFailure", "Never"], errors);
}

pub(super) fn cron_job(object: &Value, errors: &mut Vec<FieldError>) {
    let schedule = text_or_empty(object, &["spec", "schedule"]);
    if schedule.is_empty() {
        errors.push(FieldError::required("spec.schedule", ""));
    } else if schedule.split_whitespace().count() != 5 && !schedule.starts_with('@') {
        let detail = format!("expected exactly 5 fields, found {}", schedule.split_whitespace().count());
        errors.push(FieldError::invalid("spec.schedule", &schedule.into(), detail));
    }
    template(object, &["spec", "jobTemplate", "spec", "template"], &["OnFailure", "Never"], errors);
}

/// A pod template, whose pods may only have some restart policies.
fn template(object: &Value, path: &[&str], policies: &[&str], errors: &mut Vec<FieldError>) {
    let field = path.join(".");
    let Some(spec) = at(object, path).and_then(|template| template.get("spec")) else {
        errors.push(FieldError::required(format!("{field}.spec.containers"), ""));
        return;
    };
    pod::spec(spec, &format!("{field}.spec"), errors);
    if let Some(policy) = text(spec, &["restartPolicy"])
        && !policies.contains(&policy)
    {
        errors.push(FieldError::not_supported(
            format!("{field}.spec.restartPolicy"),
            &policy.into(),
            policies,
        ));
    }
    let labels: Vec<&str> = path.iter().copied().chain(["metadata", "labels"]).collect();
    super::names::labels(object, &labels, errors);
}
