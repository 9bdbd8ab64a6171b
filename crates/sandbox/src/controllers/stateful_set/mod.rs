//! StatefulSet → Pods with stable names, one after the other.
//!
//! Claims for volumes are met with empty directories that live as long as the pod, and
//! `kubectl rollout undo` does not reach here (no ControllerRevisions are kept); both are told on the
//! object.

mod plan;

use super::cache::ObjectKey;
use super::cluster::Cluster;
use super::deployment::{fnv1a, safe_letters};
use super::pod_writes::{create_pod, delete_pod};
use super::pods::{
    Availability, PodName, availability, from_template, is_controlled_by, is_finished, is_ready,
};
use super::queue::{ControllerError, Next, WorkQueue};
use super::watch::{queue_changed, queue_owners};
use crate::events::Severity;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use kube::Resource;
use plan::{PodView, Step, Wishes, plan_stateful_set};
use std::sync::Arc;

const CONTROLLER: &str = "statefulset-controller";
const REVISION: &str = "controller-revision-hash";

/// Watches what StatefulSets depend on and brings each to its wanted state, for ever.
pub fn start(cluster: &Arc<Cluster>) -> impl Future<Output = ()> + Send + use<> {
    let queue = WorkQueue::default();
    queue_changed(&cluster.stateful_sets, &queue);
    queue_owners(&cluster.pods, "StatefulSet", &queue);
    let cluster = cluster.clone();
    async move { queue.work(CONTROLLER, |key| reconcile(cluster.clone(), key)).await }
}

async fn reconcile(cluster: Arc<Cluster>, key: ObjectKey) -> Result<Next, ControllerError> {
    let Some(set) = cluster.stateful_sets.get(&key) else { return Ok(Next::OnChange) };
    let Some(spec) = set.spec.as_ref().filter(|_| set.metadata.deletion_timestamp.is_none()) else {
        return Ok(Next::OnChange);
    };
    report_substitutes(&cluster, &set, spec);
    let now = Timestamp::now();
    let revision = revision_of(&key.name, spec);
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let mut pods = cluster.pods.list_namespace(&key.namespace);
    pods.retain(|pod| is_controlled_by(&pod.metadata, uid));
    let numbered: Vec<(i32, Arc<Pod>)> =
        pods.iter().filter_map(|pod| Some((ordinal_of(&key.name, pod)?, pod.clone()))).collect();
    let views: Vec<PodView> =
        numbered.iter().map(|(ordinal, pod)| view(*ordinal, pod, spec, &revision, now)).collect();
    let mut outcome = Ok(());
    for step in plan_stateful_set(&wishes_of(spec), &views) {
        let done = match step {
            Step::Create(ordinal) => {
                create_pod(&cluster, CONTROLLER, &*set, &new_pod(&set, spec, &revision, ordinal))
                    .await
                    .map(|_| ())
            }
            Step::Delete(ordinal) => match numbered.iter().find(|(number, _)| *number == ordinal) {
                Some((_, pod)) => delete_pod(&cluster, CONTROLLER, &*set, pod).await,
                None => Ok(()),
            },
        };
        if done.is_err() {
            outcome = done;
            break;
        }
    }
    let status = status_of(&set, spec, &pods, &revision, now);
    let mut next = Next::OnChange;
    for pod in &pods {
        if let Availability::In(missing) = availability(pod, spec.min_ready_seconds.unwrap_or(0), now) {
            next = next.sooner(Next::After(missing));
        }
    }
    if set.status.as_ref() != Some(&status) {
        let mut told = StatefulSet::clone(&set);
        told.status = Some(status);
        cluster.replace_status(&cluster.stateful_sets, &told).await?;
    }
    outcome?;
    Ok(next)
}

/// Told once for each generation of the object.
fn report_substitutes(cluster: &Cluster, set: &StatefulSet, spec: &StatefulSetSpec) {
    let seen = set.status.as_ref().and_then(|status| status.observed_generation);
    if seen == set.metadata.generation {
        return;
    }
    for claim in spec.volume_claim_templates.iter().flatten() {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let message = format!(
            "spec.volumeClaimTemplates: '{name}' is met with an empty directory; what is written there is lost with the pod"
        );
        cluster.event(CONTROLLER, set, Severity::Warning, "NotSupported", message);
    }
}

fn wishes_of(spec: &StatefulSetSpec) -> Wishes {
    let strategy = spec.update_strategy.as_ref();
    let on_delete = strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete");
    let partition = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition).unwrap_or(0);
    Wishes {
        start: spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0),
        replicas: spec.replicas.unwrap_or(1).max(0),
        ordered: spec.pod_management_policy.as_deref() != Some("Parallel"),
        update_from: (!on_delete).then_some(partition),
    }
}

fn revision_of(name: &str, spec: &StatefulSetSpec) -> String {
    let template = serde_json::to_vec(&spec.template).unwrap_or_default();
    format!("{name}-{}", safe_letters(fnv1a(&template)))
}

fn ordinal_of(set: &str, pod: &Pod) -> Option<i32> {
    pod.metadata.name.as_deref()?.strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

fn revision_label(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(REVISION).map(String::as_str)
}

fn view(ordinal: i32, pod: &Pod, spec: &StatefulSetSpec, revision: &str, now: Timestamp) -> PodView {
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    PodView {
        ordinal,
        is_current: revision_label(pod) == Some(revision),
        is_available: availability(pod, min_ready, now) == Availability::Available,
        is_ending: pod.metadata.deletion_timestamp.is_some(),
        is_finished: is_finished(pod),
    }
}

fn new_pod(set: &StatefulSet, spec: &StatefulSetSpec, revision: &str, ordinal: i32) -> Pod {
    let name = format!("{}-{ordinal}", set.metadata.name.as_deref().unwrap_or_default());
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let owner = set.controller_owner_ref(&()).unwrap_or_default();
    let mut pod = from_template(&spec.template, namespace, PodName::Fixed(name.clone()), owner);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(REVISION.to_owned(), revision.to_owned());
    labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), name.clone());
    labels.insert("apps.kubernetes.io/pod-index".to_owned(), ordinal.to_string());
    if let Some(pod_spec) = &mut pod.spec {
        pod_spec.hostname = Some(name);
        pod_spec.subdomain = spec.service_name.clone().filter(|service| !service.is_empty());
        for claim in spec.volume_claim_templates.iter().flatten() {
            let name = claim.metadata.name.clone().unwrap_or_default();
            let volumes = pod_spec.volumes.get_or_insert_default();
            volumes.retain(|volume| volume.name != name);
            let empty_dir = Some(EmptyDirVolumeSource::default());
            volumes.push(Volume { name, empty_dir, ..Volume::default() });
        }
    }
    pod
}

fn status_of(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    pods: &[Arc<Pod>],
    revision: &str,
    now: Timestamp,
) -> StatefulSetStatus {
    let count = |of: &dyn Fn(&Pod) -> bool| {
        i32::try_from(pods.iter().filter(|pod| of(pod)).count()).unwrap_or(i32::MAX)
    };
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let updated = count(&|pod| revision_label(pod) == Some(revision));
    let replicas = count(&|pod| !is_finished(pod));
    let before = set.status.as_ref();
    let rolled_out = updated == replicas;
    let current_revision = match before.and_then(|status| status.current_revision.clone()) {
        Some(current) if !rolled_out => current,
        _ => revision.to_owned(),
    };
    let current = count(&|pod| revision_label(pod) == Some(&current_revision));
    StatefulSetStatus {
        replicas,
        ready_replicas: Some(count(&is_ready)),
        available_replicas: Some(count(&|pod| availability(pod, min_ready, now) == Availability::Available)),
        current_replicas: Some(current),
        updated_replicas: Some(updated),
        current_revision: Some(current_revision),
        update_revision: Some(revision.to_owned()),
        observed_generation: set.metadata.generation,
        collision_count: Some(0),
        conditions: None,
    }
}
