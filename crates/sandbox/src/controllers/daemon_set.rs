//! DaemonSet → one pod on every node that its node selector selects.
//!
//! Pods are bound to their node when they are made. Affinity and taints are the scheduler's, which
//! a machine with one node has no use for.

use super::cache::{Change, ObjectKey};
use super::cluster::Cluster;
use super::deployment::{Rounding, fnv1a, resolve, safe_letters};
use super::pod_writes::{create_pod, delete_pod};
use super::pods::{
    Availability, PodName, availability, from_template, is_controlled_by, is_finished, is_ready,
};
use super::queue::{ControllerError, Next, WorkQueue};
use super::watch::{queue_changed, queue_owners};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Resource;
use std::sync::Arc;

const CONTROLLER: &str = "daemonset-controller";
const REVISION: &str = "controller-revision-hash";

/// Watches what DaemonSets depend on and brings each to its wanted state, for ever.
pub fn start(cluster: &Arc<Cluster>) -> impl Future<Output = ()> + Send + use<> {
    let queue = WorkQueue::default();
    queue_changed(&cluster.daemon_sets, &queue);
    queue_owners(&cluster.pods, "DaemonSet", &queue);
    let (nodes, known_sets) = (queue.clone(), cluster.daemon_sets.clone());
    cluster.nodes.on_change(move |change: &Change<'_, Node>| {
        let labels = |node: Option<&Node>| node.map(|node| node.metadata.labels.clone());
        if labels(change.before) != labels(change.after) {
            known_sets.list().iter().for_each(|set| nodes.add(ObjectKey::of(&set.metadata)));
        }
    });
    let cluster = cluster.clone();
    async move { queue.work(CONTROLLER, |key| reconcile(cluster.clone(), key)).await }
}

/// What to do next for a DaemonSet.
#[derive(Debug, Default)]
struct Plan {
    /// Names of nodes without a pod.
    create_on: Vec<String>,
    delete: Vec<Arc<Pod>>,
}

async fn reconcile(cluster: Arc<Cluster>, key: ObjectKey) -> Result<Next, ControllerError> {
    let Some(set) = cluster.daemon_sets.get(&key) else { return Ok(Next::OnChange) };
    let Some(spec) = set.spec.as_ref().filter(|_| set.metadata.deletion_timestamp.is_none()) else {
        return Ok(Next::OnChange);
    };
    let now = Timestamp::now();
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let mut pods = cluster.pods.list_namespace(&key.namespace);
    pods.retain(|pod| is_controlled_by(&pod.metadata, uid));
    let nodes = wanted_nodes(spec, &cluster.nodes.list());
    let revision = safe_letters(fnv1a(&serde_json::to_vec(&spec.template).unwrap_or_default()));
    let plan = plan_daemon_set(spec, &nodes, &pods, &revision, now)?;
    let mut outcome = Ok(());
    for pod in &plan.delete {
        outcome = outcome.and(delete_pod(&cluster, CONTROLLER, &*set, pod).await);
    }
    for node in &plan.create_on {
        let created = create_pod(&cluster, CONTROLLER, &*set, &new_pod(&set, spec, &revision, node)).await;
        outcome = outcome.and(created.map(|_| ()));
    }
    let status = status_of(&set, spec, &nodes, &pods, &revision, now);
    let mut next = Next::OnChange;
    for pod in &pods {
        if let Availability::In(missing) = availability(pod, spec.min_ready_seconds.unwrap_or(0), now) {
            next = next.sooner(Next::After(missing));
        }
    }
    if set.status.as_ref() != Some(&status) {
        let mut told = DaemonSet::clone(&set);
        told.status = Some(status);
        cluster.replace_status(&cluster.daemon_sets, &told).await?;
    }
    outcome?;
    Ok(next)
}

fn wanted_nodes(spec: &DaemonSetSpec, nodes: &[Arc<Node>]) -> Vec<String> {
    let selector = spec.template.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    let fits = |node: &&Arc<Node>| {
        let labels = node.metadata.labels.as_ref();
        let mut wanted = selector.into_iter().flatten();
        wanted.all(|(name, value)| labels.is_some_and(|labels| labels.get(name) == Some(value)))
    };
    nodes.iter().filter(fits).filter_map(|node| node.metadata.name.clone()).collect()
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn is_current(pod: &Pod, revision: &str) -> bool {
    pod.metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(REVISION))
        .is_some_and(|label| label == revision)
}

/// Missing pods are made, surplus and finished ones deleted; outdated ones go as far as
/// `maxUnavailable` allows. Pods of `maxSurge` are not made: it is refused by name.
fn plan_daemon_set(
    spec: &DaemonSetSpec,
    nodes: &[String],
    pods: &[Arc<Pod>],
    revision: &str,
    now: Timestamp,
) -> Result<Plan, ControllerError> {
    let strategy = spec.update_strategy.as_ref();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let count = i32::try_from(nodes.len()).unwrap_or(i32::MAX);
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    if surge.is_some_and(|surge| resolve(surge, count, Rounding::Up) != Some(0)) {
        let message =
            "spec.updateStrategy.rollingUpdate.maxSurge: the sandbox does not surge; use maxUnavailable";
        return Err(ControllerError::Invalid(message.to_owned()));
    }
    let max_unavailable = match rolling.and_then(|rolling| rolling.max_unavailable.as_ref()) {
        Some(amount) => resolve(amount, count, Rounding::Up).unwrap_or(1),
        None => 1,
    };
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let is_available = |pod: &Pod| availability(pod, min_ready, now) == Availability::Available;
    let mut plan = Plan::default();
    let mut outdated = Vec::new();
    let mut unavailable = 0;
    for node in nodes {
        let here: Vec<&Arc<Pod>> = pods.iter().filter(|pod| node_of(pod) == Some(node)).collect();
        let (finished, alive): (Vec<_>, Vec<_>) = here.into_iter().partition(|pod| is_finished(pod));
        plan.delete.extend(
            finished.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).copied().cloned(),
        );
        let mut alive = alive.into_iter();
        match alive.next() {
            None if finished.is_empty() => plan.create_on.push(node.clone()),
            None => {}
            Some(pod) => {
                let ending = pod.metadata.deletion_timestamp.is_some();
                unavailable += i32::from(ending || !is_available(pod));
                if !ending && !is_current(pod, revision) {
                    outdated.push(pod);
                }
            }
        }
        plan.delete.extend(alive.filter(|pod| pod.metadata.deletion_timestamp.is_none()).cloned());
    }
    let strays =
        pods.iter().filter(|pod| !node_of(pod).is_some_and(|node| nodes.iter().any(|wanted| wanted == node)));
    plan.delete.extend(strays.filter(|pod| pod.metadata.deletion_timestamp.is_none()).cloned());
    if strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete") {
        for pod in outdated {
            let serves = is_available(pod);
            // One that does not serve costs nothing.
            if !serves || unavailable < max_unavailable {
                unavailable += i32::from(serves);
                plan.delete.push(pod.clone());
            }
        }
    }
    Ok(plan)
}

fn new_pod(set: &DaemonSet, spec: &DaemonSetSpec, revision: &str, node: &str) -> Pod {
    let name = PodName::Generated(format!("{}-", set.metadata.name.as_deref().unwrap_or_default()));
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let owner = set.controller_owner_ref(&()).unwrap_or_default();
    let mut pod = from_template(&spec.template, namespace, name, owner);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(REVISION.to_owned(), revision.to_owned());
    if let Some(pod_spec) = &mut pod.spec {
        pod_spec.node_name = Some(node.to_owned());
    }
    pod
}

fn status_of(
    set: &DaemonSet,
    spec: &DaemonSetSpec,
    nodes: &[String],
    pods: &[Arc<Pod>],
    revision: &str,
    now: Timestamp,
) -> DaemonSetStatus {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let placed = |pod: &&Arc<Pod>| {
        !is_finished(pod) && node_of(pod).is_some_and(|node| nodes.iter().any(|wanted| wanted == node))
    };
    let count = |of: &dyn Fn(&Pod) -> bool| number(pods.iter().filter(placed).filter(|pod| of(pod)).count());
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let wanted = number(nodes.len());
    let available = count(&|pod| availability(pod, min_ready, now) == Availability::Available);
    DaemonSetStatus {
        desired_number_scheduled: wanted,
        current_number_scheduled: count(&|_| true),
        number_misscheduled: number(pods.len()) - count(&|_| true),
        number_ready: count(&is_ready),
        number_available: Some(available),
        number_unavailable: Some((wanted - available).max(0)),
        updated_number_scheduled: Some(count(&|pod| is_current(pod, revision))),
        observed_generation: set.metadata.generation,
        collision_count: None,
        conditions: None,
    }
}

#[cfg(test)]
#[path = "daemon_set_tests.rs"]
mod tests;
