//! ReplicaSet → Pods: as many as wanted, adopting strays, telling what fails.

use super::cache::{Change, ObjectKey};
use super::cluster::Cluster;
use super::pod_writes::{api_message, create_pod, delete_pod};
use super::pods::{
    Availability, LabelMatch, PodName, availability, controller_of, from_template, is_active,
    is_controlled_by, is_ready, sort_for_deletion,
};
use super::queue::{ControllerError, Next, WorkQueue};
use super::watch::queue_changed;
use crate::events::Severity;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use serde_json::json;
use std::sync::Arc;

const CONTROLLER: &str = "replicaset-controller";

/// Watches what ReplicaSets depend on and brings each to its wanted state, for ever.
pub fn start(cluster: &Arc<Cluster>) -> impl Future<Output = ()> + Send + use<> {
    let queue = WorkQueue::default();
    queue_changed(&cluster.replica_sets, &queue);
    let pods = queue.clone();
    let known_sets = cluster.replica_sets.clone();
    cluster.pods.on_change(move |change: &Change<'_, Pod>| {
        for pod in change.before.into_iter().chain(change.after) {
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            match controller_of(&pod.metadata) {
                Some(owner) if owner.kind == "ReplicaSet" => {
                    pods.add(ObjectKey::new(namespace, owner.name.clone()));
                }
                Some(_) => {}
                // A stray may be adopted by any set that selects it.
                None => known_sets
                    .list_namespace(&namespace)
                    .iter()
                    .filter(|set| selects(set, pod))
                    .for_each(|set| pods.add(ObjectKey::of(&set.metadata))),
            }
        }
    });
    let cluster = cluster.clone();
    async move { queue.work(CONTROLLER, |key| reconcile(cluster.clone(), key)).await }
}

fn selects(set: &ReplicaSet, pod: &Pod) -> bool {
    let selector = set.spec.as_ref().and_then(|spec| LabelMatch::new(&spec.selector).ok());
    selector.is_some_and(|selector| selector.matches(&pod.metadata))
}

async fn reconcile(cluster: Arc<Cluster>, key: ObjectKey) -> Result<Next, ControllerError> {
    let Some(set) = cluster.replica_sets.get(&key) else { return Ok(Next::OnChange) };
    let Some(spec) = &set.spec else { return Ok(Next::OnChange) };
    let selector = match LabelMatch::new(&spec.selector) {
        Ok(selector) => selector,
        Err(reason) => {
            cluster.event(CONTROLLER, &*set, Severity::Warning, "InvalidSpec", reason);
            return Ok(Next::OnChange);
        }
    };
    let mut pods = claim(&cluster, &set, &selector).await?;
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let outcome = if set.metadata.deletion_timestamp.is_some() {
        Ok(())
    } else if pods.len() < wanted {
        let template = spec.template.clone().unwrap_or_default();
        let (created, outcome) = create_pods(&cluster, &set, &template, wanted - pods.len()).await;
        pods.extend(created);
        outcome
    } else {
        let surplus = pods.len() - wanted;
        sort_for_deletion(&mut pods);
        delete_pods(&cluster, &set, pods.drain(..surplus).collect()).await
    };
    let failure = outcome.as_ref().err().map(api_message);
    let (status, next) = status_of(&set, &pods, failure.as_deref(), pods.len() > wanted, Timestamp::now());
    if set.status.as_ref() != Some(&status) {
        let mut told = Arc::unwrap_or_clone(set);
        told.status = Some(status);
        cluster.replace_status(&cluster.replica_sets, &told).await?;
    }
    outcome?;
    Ok(next)
}

/// The active pods of the set. Strays that match are adopted; own ones that no longer match are let go.
async fn claim(
    cluster: &Cluster,
    set: &ReplicaSet,
    selector: &LabelMatch,
) -> Result<Vec<Arc<Pod>>, ControllerError> {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let mut owned = Vec::new();
    for pod in cluster.pods.list_namespace(namespace) {
        if !is_active(&pod) {
            continue;
        }
        let mine = is_controlled_by(&pod.metadata, uid);
        let matches = selector.matches(&pod.metadata);
        if mine && matches {
            owned.push(pod);
            continue;
        }
        let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
        if mine {
            owners.retain(|owner| owner.uid != uid);
        } else if matches
            && controller_of(&pod.metadata).is_none()
            && set.metadata.deletion_timestamp.is_none()
            && let Some(owner) = set.controller_owner_ref(&())
        {
            owners.push(owner);
        } else {
            continue;
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid, "ownerReferences": owners}});
        let key = ObjectKey::of(&pod.metadata);
        let patched = Arc::new(cluster.merge(&cluster.pods, &key, patch).await?);
        if !mine {
            owned.push(patched);
        }
    }
    Ok(owned)
}

/// Creates `count` pods in batches that double as long as none fails, so that a webhook that is down
/// is asked once, not hundreds of times.
async fn create_pods(
    cluster: &Cluster,
    set: &ReplicaSet,
    template: &PodTemplateSpec,
    count: usize,
) -> (Vec<Arc<Pod>>, Result<(), kube::Error>) {
    let mut created = Vec::with_capacity(count);
    let Some(owner) = set.controller_owner_ref(&()) else { return (created, Ok(())) };
    let key = ObjectKey::of(&set.metadata);
    let mut batch = 1;
    while created.len() < count {
        let size = batch.min(count - created.len());
        let pods: Vec<Pod> = (0..size)
            .map(|_| {
                let name = PodName::Generated(format!("{}-", key.name));
                from_template(template, &key.namespace, name, owner.clone())
            })
            .collect();
        let creating = pods.iter().map(|pod| create_pod(cluster, CONTROLLER, set, pod));
        let mut failure = None;
        for outcome in join_all(creating).await {
            match outcome {
                Ok(pod) => created.push(Arc::new(pod)),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            return (created, Err(error));
        }
        batch *= 2;
    }
    (created, Ok(()))
}

async fn delete_pods(cluster: &Cluster, set: &ReplicaSet, pods: Vec<Arc<Pod>>) -> Result<(), kube::Error> {
    let deleting = pods.iter().map(|pod| delete_pod(cluster, CONTROLLER, set, pod));
    join_all(deleting).await.into_iter().collect()
}

/// What the set says of its pods, and when a pod that is ready becomes available.
fn status_of(
    set: &ReplicaSet,
    pods: &[Arc<Pod>],
    failure: Option<&str>,
    too_many: bool,
    now: Timestamp,
) -> (ReplicaSetStatus, Next) {
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let template_labels =
        template.and_then(|template| template.metadata.as_ref()?.labels.clone()).unwrap_or_default();
    let mut next = Next::OnChange;
    let (mut labeled, mut ready, mut available) = (0, 0, 0);
    for pod in pods {
        let labels = pod.metadata.labels.as_ref();
        labeled += i32::from(
            template_labels
                .iter()
                .all(|(name, value)| labels.is_some_and(|labels| labels.get(name) == Some(value))),
        );
        ready += i32::from(is_ready(pod));
        match availability(pod, min_ready, now) {
            Availability::Available => available += 1,
            Availability::In(missing) => next = next.sooner(Next::After(missing)),
            Availability::NotReady => {}
        }
    }
    let status = ReplicaSetStatus {
        replicas: i32::try_from(pods.len()).unwrap_or(i32::MAX),
        fully_labeled_replicas: Some(labeled),
        ready_replicas: Some(ready),
        available_replicas: Some(available),
        observed_generation: set.metadata.generation,
        conditions: failure_condition(set, failure, too_many, now),
        terminating_replicas: None,
    };
    (status, next)
}

fn failure_condition(
    set: &ReplicaSet,
    failure: Option<&str>,
    too_many: bool,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let message = failure?;
    let reason = if too_many { "FailedDelete" } else { "FailedCreate" };
    let before = set.status.as_ref().and_then(|status| status.conditions.as_ref()?.first());
    let since = before.and_then(|condition| condition.last_transition_time.clone());
    Some(vec![ReplicaSetCondition {
        type_: "ReplicaFailure".to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: since.or(Some(Time(now))),
    }])
}

#[cfg(test)]
#[path = "replica_set_tests.rs"]
mod tests;
