//! What the controllers of pods share: is a pod active, ready, available; which to delete first; how
//! one is made from a template.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::core::{Selector, SelectorExt};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// Kubernetes' wish of which pods to delete first when scaling down.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Whether the pod still counts for its controller: neither finished nor being deleted.
pub fn is_active(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !is_finished(pod)
}

/// Whether all containers have ended for good.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// `status.phase`; a pod the node has not seen yet is Pending.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether the condition `Ready` is true.
pub fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// Since when the pod is ready; `None` when it is not. A condition without a time counts as for ever.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    if ready.status != "True" {
        return None;
    }
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0))
}

/// Whether a pod counts as available, and if only time is missing, how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    Available,
    /// Ready, but not yet for `minReadySeconds`.
    In(Duration),
    NotReady,
}

/// Whether the pod has been ready for `min_ready_seconds`.
pub fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    let Some(since) = ready_since(pod) else { return Availability::NotReady };
    if min_ready_seconds <= 0 {
        return Availability::Available;
    }
    let needed = SignedDuration::from_secs(i64::from(min_ready_seconds));
    match Duration::try_from(needed - now.duration_since(since)) {
        Ok(missing) if !missing.is_zero() => Availability::In(missing),
        _ => Availability::Available,
    }
}

/// Sorts pods so that those to delete first come first: not placed, not running, not ready, cheap by
/// annotation, ready for the shortest time, most restarted, youngest.
pub fn sort_for_deletion(pods: &mut [std::sync::Arc<Pod>]) {
    pods.sort_by_cached_key(|pod| {
        let placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let phase_rank = match phase(pod) {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        };
        let cost: i32 = pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(DELETION_COST)?.parse().ok())
            .unwrap_or(0);
        let ready = ready_since(pod);
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (placed, phase_rank, ready.is_some(), cost, Reverse(ready), Reverse(restarts(pod)), Reverse(created))
    });
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|status| status.restart_count).max().unwrap_or(0)
}

/// The owner that manages the object, if any.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

/// Whether the object is managed by the owner with this uid.
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid)
}

/// A compiled label selector.
pub struct LabelMatch(Selector);

impl LabelMatch {
    /// Compiles a selector; an empty one is refused because it would select everything.
    pub fn new(selector: &LabelSelector) -> Result<Self, String> {
        let empty = selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
            && selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
        if empty {
            return Err("spec.selector is empty and would select every object; give it labels".to_owned());
        }
        Selector::try_from(selector.clone()).map(Self).map_err(|error| format!("spec.selector: {error}"))
    }

    pub fn matches(&self, meta: &ObjectMeta) -> bool {
        match &meta.labels {
            Some(labels) => self.0.matches(labels),
            None => self.0.matches(&BTreeMap::new()),
        }
    }
}

/// How a new pod is called.
pub enum PodName {
    /// The API server adds five random characters.
    Generated(String),
    Fixed(String),
}

/// A pod made from a template, owned by `owner`.
pub fn from_template(
    template: &PodTemplateSpec,
    namespace: &str,
    name: PodName,
    owner: OwnerReference,
) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    let (name, generate_name) = match name {
        PodName::Generated(prefix) => (None, Some(prefix)),
        PodName::Fixed(name) => (Some(name), None),
    };
    Pod {
        metadata: ObjectMeta {
            name,
            generate_name,
            namespace: Some(namespace.to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![OwnerReference { block_owner_deletion: Some(true), ..owner }]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
