//! Job → Pods that run to their end.

mod plan;

use super::cache::ObjectKey;
use super::cluster::Cluster;
use super::pod_writes::{create_pod, delete_pod};
use super::pods::{PodName, from_template, is_controlled_by};
use super::queue::{ControllerError, Next, WorkQueue};
use super::watch::{queue_changed, queue_owners};
use crate::events::Severity;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use plan::{plan_job, unsupported};
use std::sync::Arc;

const CONTROLLER: &str = "job-controller";

/// Watches what Jobs depend on and brings each to its end, for ever.
pub fn start(cluster: &Arc<Cluster>) -> impl Future<Output = ()> + Send + use<> {
    let queue = WorkQueue::default();
    queue_changed(&cluster.jobs, &queue);
    queue_owners(&cluster.pods, "Job", &queue);
    let cluster = cluster.clone();
    async move { queue.work(CONTROLLER, |key| reconcile(cluster.clone(), key)).await }
}

async fn reconcile(cluster: Arc<Cluster>, key: ObjectKey) -> Result<Next, ControllerError> {
    let Some(job) = cluster.jobs.get(&key) else { return Ok(Next::OnChange) };
    let Some(spec) = job.spec.as_ref().filter(|_| job.metadata.deletion_timestamp.is_none()) else {
        return Ok(Next::OnChange);
    };
    if let Some(reason) = unsupported(spec) {
        cluster.event(CONTROLLER, &*job, Severity::Warning, "NotSupported", reason);
        return Ok(Next::OnChange);
    }
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let mut pods = cluster.pods.list_namespace(&key.namespace);
    pods.retain(|pod| is_controlled_by(&pod.metadata, uid));
    let decision = plan_job(&job, &pods, Timestamp::now());
    if decision.remove {
        cluster.delete(&cluster.jobs, &*job).await?;
        return Ok(Next::OnChange);
    }
    if job.status.as_ref() != Some(&decision.status) {
        let mut told = Job::clone(&job);
        told.status = Some(decision.status);
        cluster.replace_status(&cluster.jobs, &told).await?;
        if let Some((reason, message)) = decision.news {
            let severity = if reason == "Completed" { Severity::Normal } else { Severity::Warning };
            cluster.event(CONTROLLER, &*job, severity, reason, message);
        }
    }
    for pod in &decision.delete {
        delete_pod(&cluster, CONTROLLER, &*job, pod).await?;
    }
    for _ in 0..decision.create {
        create_pod(&cluster, CONTROLLER, &*job, &new_pod(&job, spec)).await?;
    }
    Ok(decision.look_again.map_or(Next::OnChange, Next::After))
}

fn new_pod(job: &Job, spec: &JobSpec) -> Pod {
    let name = job.metadata.name.clone().unwrap_or_default();
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let owner = job.controller_owner_ref(&()).unwrap_or_default();
    let mut pod = from_template(&spec.template, namespace, PodName::Generated(format!("{name}-")), owner);
    let labels = pod.metadata.labels.get_or_insert_default();
    for (label, value) in [
        ("batch.kubernetes.io/job-name", &name),
        ("job-name", &name),
        ("batch.kubernetes.io/controller-uid", &uid),
        ("controller-uid", &uid),
    ] {
        labels.insert(label.to_owned(), value.clone());
    }
    pod
}
