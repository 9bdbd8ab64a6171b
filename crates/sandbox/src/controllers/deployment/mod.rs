//! Deployment → ReplicaSets: rolls a changed template out, scales, keeps the history that
//! `kubectl rollout undo` goes back to, and says how it is going.

mod plan;
mod revision;
mod status;

pub use plan::{Rounding, resolve};
pub use revision::{fnv1a, safe_letters};

use super::cache::ObjectKey;
use super::cluster::Cluster;
use super::pods::{LabelMatch, controller_of, is_controlled_by, is_finished};
use super::queue::{ControllerError, Next, WorkQueue};
use super::watch::{queue_changed, queue_owners};
use crate::events::Severity;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::Resource;
use plan::{Rollout, SetView, plan_rollout};
use serde_json::json;
use status::Progress;
use std::sync::Arc;

const CONTROLLER: &str = "deployment-controller";

/// Watches what Deployments depend on and brings each to its wanted state, for ever.
pub fn start(cluster: &Arc<Cluster>) -> impl Future<Output = ()> + Send + use<> {
    let queue = WorkQueue::default();
    queue_changed(&cluster.deployments, &queue);
    queue_owners(&cluster.replica_sets, "Deployment", &queue);
    let cluster = cluster.clone();
    async move { queue.work(CONTROLLER, |key| reconcile(cluster.clone(), key)).await }
}

async fn reconcile(cluster: Arc<Cluster>, key: ObjectKey) -> Result<Next, ControllerError> {
    let Some(deployment) = cluster.deployments.get(&key) else { return Ok(Next::OnChange) };
    if deployment.metadata.deletion_timestamp.is_some() {
        return Ok(Next::OnChange);
    }
    let Some(spec) = &deployment.spec else { return Ok(Next::OnChange) };
    let (rollout, selector) = match (Rollout::of(spec), LabelMatch::new(&spec.selector)) {
        (Ok(rollout), Ok(selector)) => (rollout, selector),
        (Err(reason), _) | (_, Err(reason)) => {
            cluster.event(CONTROLLER, &*deployment, Severity::Warning, "InvalidSpec", reason);
            return Ok(Next::OnChange);
        }
    };
    let mut sets = claim(&cluster, &deployment, &selector).await?;
    let mut new = revision::find_new(&deployment, &sets);
    let mut progress = Progress::Nothing;
    let mut failure = None;
    if new.is_none() {
        match create_new(&cluster, &deployment, &rollout, &sets).await {
            Ok(None) => {}
            Ok(Some(created)) => {
                progress = Progress::Created(created.metadata.name.clone().unwrap_or_default());
                let created = Arc::new(created);
                sets.push(created.clone());
                new = Some(created);
            }
            Err(ControllerError::Api(error)) => {
                progress = Progress::CreateFailed(error.to_string());
                failure = Some(ControllerError::Api(error));
            }
            Err(other) => return Err(other),
        }
    }
    if let Some(existing) = &mut new {
        let updated = annotate_revision(&cluster, &deployment, existing, &sets).await?;
        replace_in(&mut sets, &updated);
        *existing = updated;
    }
    let plan = plan_rollout(&rollout, &views(&cluster, &sets, new.as_deref()));
    for step in &plan {
        let updated = scale(&cluster, &deployment, &rollout, &sets, step).await?;
        replace_in(&mut sets, &updated);
        if new.as_ref().is_some_and(|new| new.metadata.uid == updated.metadata.uid) {
            new = Some(updated);
        }
    }
    refresh_max_replicas(&cluster, &rollout, &sets).await?;
    let (status, look_again) =
        status::status_of(&deployment, &rollout, new.as_deref(), &sets, &progress, Timestamp::now());
    if status::is_complete(&status, &rollout, deployment.metadata.generation) {
        let new_uid = new.as_ref().and_then(|set| set.metadata.uid.clone());
        let old: Vec<_> = sets.iter().filter(|set| set.metadata.uid != new_uid).cloned().collect();
        for surplus in revision::beyond_history(&deployment, &old) {
            cluster.delete(&cluster.replica_sets, &*surplus).await?;
        }
    }
    write_status(&cluster, &key, status, new.as_deref()).await?;
    match failure {
        Some(error) => Err(error),
        None => Ok(look_again.map_or(Next::OnChange, Next::After)),
    }
}

/// The ReplicaSets of the Deployment, oldest first. Those that match its selector and have no
/// controller are adopted.
async fn claim(
    cluster: &Cluster,
    deployment: &Deployment,
    selector: &LabelMatch,
) -> Result<Vec<Arc<ReplicaSet>>, ControllerError> {
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
    let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
    let mut owned = Vec::new();
    for set in cluster.replica_sets.list_namespace(namespace) {
        if set.metadata.deletion_timestamp.is_some() {
            continue;
        }
        if is_controlled_by(&set.metadata, uid) {
            owned.push(set);
        } else if controller_of(&set.metadata).is_none()
            && selector.matches(&set.metadata)
            && let Some(owner) = deployment.controller_owner_ref(&())
        {
            let mut owners = set.metadata.owner_references.clone().unwrap_or_default();
            owners.push(owner);
            let patch = json!({"metadata": {"uid": set.metadata.uid, "ownerReferences": owners}});
            let key = ObjectKey::of(&set.metadata);
            owned.push(Arc::new(cluster.merge(&cluster.replica_sets, &key, patch).await?));
        }
    }
    owned.sort_by(|one, two| {
        let age = |set: &ReplicaSet| set.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (age(one), &one.metadata.name).cmp(&(age(two), &two.metadata.name))
    });
    Ok(owned)
}

fn views(cluster: &Cluster, sets: &[Arc<ReplicaSet>], new: Option<&ReplicaSet>) -> Vec<SetView> {
    let number = |set: &ReplicaSet, name: &str| {
        revision::annotation(&set.metadata, name).and_then(|value| value.parse().ok())
    };
    sets.iter()
        .map(|set| {
            let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
            let uid = set.metadata.uid.as_deref().unwrap_or_default();
            let pods = cluster.pods.list_namespace(namespace);
            let pods =
                pods.iter().filter(|pod| is_controlled_by(&pod.metadata, uid) && !is_finished(pod)).count();
            SetView {
                name: set.metadata.name.clone().unwrap_or_default(),
                is_new: new.is_some_and(|new| new.metadata.uid == set.metadata.uid),
                replicas: replicas_of(set),
                available: set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0),
                pods: i32::try_from(pods).unwrap_or(i32::MAX),
                desired_when_scaled: number(set, revision::DESIRED_REPLICAS),
                max_when_scaled: number(set, revision::MAX_REPLICAS),
            }
        })
        .collect()
}

fn replicas_of(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0)
}

fn replace_in(sets: &mut [Arc<ReplicaSet>], updated: &Arc<ReplicaSet>) {
    for set in sets.iter_mut().filter(|set| set.metadata.uid == updated.metadata.uid) {
        *set = updated.clone();
    }
}

/// Creates the ReplicaSet of the present template, unless it is not its time.
async fn create_new(
    cluster: &Cluster,
    deployment: &Deployment,
    rollout: &Rollout,
    old: &[Arc<ReplicaSet>],
) -> Result<Option<ReplicaSet>, ControllerError> {
    let Some(replicas) = rollout.size_of_new_set(&views(cluster, old, None)) else { return Ok(None) };
    let Some(owner) = deployment.controller_owner_ref(&()) else { return Ok(None) };
    let revision = revision::next_revision(None, old);
    let set = revision::new_replica_set(deployment, owner, replicas, rollout.max_total(), revision);
    match cluster.create(&cluster.replica_sets, &set).await {
        Ok(created) => {
            let name = created.metadata.name.as_deref().unwrap_or_default();
            let message = format!("Scaled up replica set {name} from 0 to {replicas}");
            if replicas > 0 {
                cluster.event(CONTROLLER, deployment, Severity::Normal, "ScalingReplicaSet", message);
            }
            Ok(Some(created))
        }
        Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
            // Another template has the same hash: count the collision, which changes the hash.
            let mut collided = deployment.clone();
            let counted = &mut collided.status.get_or_insert_default().collision_count;
            *counted = Some(counted.unwrap_or(0).saturating_add(1));
            cluster.replace_status(&cluster.deployments, &collided).await?;
            Err(ControllerError::Api(kube::Error::Api(status)))
        }
        Err(error) => {
            let message = format!("Failed to create new replica set: {error}");
            cluster.event(CONTROLLER, deployment, Severity::Warning, "ReplicaSetCreateError", message);
            Err(error.into())
        }
    }
}

/// Gives the set with the present template the highest revision and the Deployment's annotations.
async fn annotate_revision(
    cluster: &Cluster,
    deployment: &Deployment,
    new: &Arc<ReplicaSet>,
    sets: &[Arc<ReplicaSet>],
) -> Result<Arc<ReplicaSet>, ControllerError> {
    let wanted = revision::next_revision(Some(new), sets).max(revision::revision_of(&new.metadata));
    let annotations = revision::set_annotations(deployment, Some(new), wanted);
    let min_ready = deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
    let same_annotations = new.metadata.annotations.as_ref() == Some(&annotations);
    if same_annotations && new.spec.as_ref().is_some_and(|spec| spec.min_ready_seconds == min_ready) {
        return Ok(new.clone());
    }
    let patch = json!({
        "metadata": {"annotations": annotations, "resourceVersion": new.metadata.resource_version},
        "spec": {"minReadySeconds": min_ready},
    });
    Ok(Arc::new(cluster.merge(&cluster.replica_sets, &ObjectKey::of(&new.metadata), patch).await?))
}

async fn scale(
    cluster: &Cluster,
    deployment: &Deployment,
    rollout: &Rollout,
    sets: &[Arc<ReplicaSet>],
    step: &plan::Scale,
) -> Result<Arc<ReplicaSet>, ControllerError> {
    let Some(set) = sets.iter().find(|set| set.metadata.name.as_deref() == Some(&step.name)) else {
        return Err(ControllerError::Invalid(format!("replica set {} is gone", step.name)));
    };
    let patch = json!({
        "metadata": {
            "resourceVersion": set.metadata.resource_version,
            "annotations": size_annotations(rollout),
        },
        "spec": {"replicas": step.to},
    });
    let updated = cluster.merge(&cluster.replica_sets, &ObjectKey::of(&set.metadata), patch).await?;
    let direction = if step.to > step.from { "up" } else { "down" };
    let message = format!("Scaled {direction} replica set {} from {} to {}", step.name, step.from, step.to);
    cluster.event(CONTROLLER, deployment, Severity::Normal, "ScalingReplicaSet", message);
    Ok(Arc::new(updated))
}

fn size_annotations(rollout: &Rollout) -> serde_json::Value {
    json!({
        revision::DESIRED_REPLICAS: rollout.desired.to_string(),
        revision::MAX_REPLICAS: rollout.max_total().to_string(),
    })
}

/// Notes the Deployment's present size on active sets whose own size did not change with it, so
/// that the next look sees no scaling left to share.
async fn refresh_max_replicas(
    cluster: &Cluster,
    rollout: &Rollout,
    sets: &[Arc<ReplicaSet>],
) -> Result<(), ControllerError> {
    let desired = rollout.desired.to_string();
    for set in sets.iter().filter(|set| replicas_of(set) > 0) {
        // The plan left the cached copy behind when it scaled: read the latest.
        let key = ObjectKey::of(&set.metadata);
        let Some(latest) = cluster.replica_sets.get(&key) else { continue };
        if revision::annotation(&latest.metadata, revision::DESIRED_REPLICAS) != Some(desired.as_str()) {
            let patch = json!({"metadata": {"annotations": size_annotations(rollout)}});
            cluster.merge(&cluster.replica_sets, &key, patch).await?;
        }
    }
    Ok(())
}

async fn write_status(
    cluster: &Cluster,
    key: &ObjectKey,
    status: k8s_openapi::api::apps::v1::DeploymentStatus,
    new: Option<&ReplicaSet>,
) -> Result<(), ControllerError> {
    let Some(mut deployment) = cluster.deployments.get(key).map(Arc::unwrap_or_clone) else { return Ok(()) };
    let revision = new.and_then(|set| revision::annotation(&set.metadata, revision::REVISION));
    if let Some(revision) = revision
        && revision::annotation(&deployment.metadata, revision::REVISION) != Some(revision)
    {
        let patch = json!({"metadata": {"annotations": {revision::REVISION: revision}}});
        deployment = cluster.merge(&cluster.deployments, key, patch).await?;
    }
    let observed = status.observed_generation;
    if deployment.status.as_ref() != Some(&status) && deployment.metadata.generation == observed {
        deployment.status = Some(status);
        cluster.replace_status(&cluster.deployments, &deployment).await?;
    }
    Ok(())
}
