//! The ReplicaSets of a Deployment: which one has its present template, how a new one is named and
//! annotated, and which old ones the history no longer keeps.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The label that tells the pods of one ReplicaSet from those of its siblings.
pub const TEMPLATE_HASH: &str = "pod-template-hash";
/// `kubectl rollout history` reads this.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier revisions of a ReplicaSet that was rolled back to.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's replicas when the ReplicaSet was last scaled.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The most pods the Deployment could have then.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// How many old ReplicaSets are kept without `revisionHistoryLimit`.
const DEFAULT_HISTORY: i32 = 10;

/// The letters Kubernetes uses for generated name parts: no vowels, so no words.
const SAFE_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A short name part for a template: FNV-1a over its JSON and the collision count.
pub fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut text = serde_json::to_vec(template).unwrap_or_default();
    if let Some(collisions) = collisions {
        text.extend_from_slice(&collisions.to_le_bytes());
    }
    safe_letters(fnv1a(&text))
}

/// 32-bit FNV-1a.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A number as letters that never spell a word.
pub fn safe_letters(number: u32) -> String {
    number
        .to_string()
        .bytes()
        .map(|digit| char::from(SAFE_LETTERS[usize::from(digit) % SAFE_LETTERS.len()]))
        .collect()
}

/// The oldest ReplicaSet whose template is the Deployment's, the hash label aside.
pub fn find_new(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Option<Arc<ReplicaSet>> {
    let wanted = without_hash(&deployment.spec.as_ref()?.template);
    sets.iter()
        .find(|set| {
            let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            template.is_some_and(|template| without_hash(template) == wanted)
        })
        .cloned()
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let meta = template.metadata.get_or_insert_default();
    if let Some(labels) = &mut meta.labels {
        labels.remove(TEMPLATE_HASH);
    }
    meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
    meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
    meta.creation_timestamp = None;
    template
}

/// The number in the revision annotation; 0 without one.
pub fn revision_of(meta: &ObjectMeta) -> i64 {
    annotation(meta, REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

/// The value of an annotation.
pub fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The revision the set with the present template must have: one above all others.
pub fn next_revision(new: Option<&ReplicaSet>, sets: &[Arc<ReplicaSet>]) -> i64 {
    let new_uid = new.and_then(|set| set.metadata.uid.as_deref());
    sets.iter()
        .filter(|set| new_uid.is_none() || set.metadata.uid.as_deref() != new_uid)
        .map(|set| revision_of(&set.metadata))
        .max()
        .unwrap_or(0)
        .saturating_add(1)
}

/// The annotations of the set with the present template: the Deployment's own (what `apply` last
/// did aside), its revision, and the revisions it had before.
pub fn set_annotations(
    deployment: &Deployment,
    existing: Option<&ReplicaSet>,
    revision: i64,
) -> BTreeMap<String, String> {
    let mut annotations = existing.and_then(|set| set.metadata.annotations.clone()).unwrap_or_default();
    for (name, value) in deployment.metadata.annotations.iter().flatten() {
        let own = [LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS];
        if !own.contains(&name.as_str()) {
            annotations.insert(name.clone(), value.clone());
        }
    }
    let before = existing.map_or(0, |set| revision_of(&set.metadata));
    if before < revision {
        if before > 0 {
            let history = annotations.entry(REVISION_HISTORY.to_owned()).or_default();
            if !history.is_empty() {
                history.push(',');
            }
            history.push_str(&before.to_string());
        }
        annotations.insert(REVISION.to_owned(), revision.to_string());
    }
    annotations
}

/// A ReplicaSet for the Deployment's present template.
pub fn new_replica_set(
    deployment: &Deployment,
    owner: OwnerReference,
    replicas: i32,
    max_replicas: i32,
    revision: i64,
) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template_hash(&spec.template, collisions);
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(TEMPLATE_HASH.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector: LabelSelector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(TEMPLATE_HASH.to_owned(), hash.clone());
    let mut annotations = set_annotations(deployment, None, revision);
    annotations.insert(DESIRED_REPLICAS.to_owned(), spec.replicas.unwrap_or(1).to_string());
    annotations.insert(MAX_REPLICAS.to_owned(), max_replicas.to_string());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.metadata.name.as_deref().unwrap_or_default())),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![OwnerReference { block_owner_deletion: Some(true), ..owner }]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// The old sets that `revisionHistoryLimit` no longer keeps, oldest revision first.
pub fn beyond_history(deployment: &Deployment, old: &[Arc<ReplicaSet>]) -> Vec<Arc<ReplicaSet>> {
    let limit =
        deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(DEFAULT_HISTORY);
    let mut ended: Vec<_> = old
        .iter()
        .filter(|set| {
            let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
            let status = set.status.as_ref();
            let seen = status.and_then(|status| status.observed_generation).unwrap_or(0);
            wanted == 0
                && status.is_none_or(|status| status.replicas == 0)
                && set.metadata.generation.unwrap_or(0) <= seen
                && set.metadata.deletion_timestamp.is_none()
        })
        .cloned()
        .collect();
    ended.sort_by_key(|set| revision_of(&set.metadata));
    let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    ended.truncate(surplus);
    ended
}

#[cfg(test)]
#[path = "revision_tests.rs"]
mod tests;
