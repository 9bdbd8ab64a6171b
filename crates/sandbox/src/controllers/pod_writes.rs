//! Creating and deleting pods for an owner, with the Events that tell of it.

use super::cache::Cached;
use super::cluster::Cluster;
use crate::events::Severity;
use k8s_openapi::api::core::v1::Pod;

/// What the API said, without the client's wrapping.
pub fn api_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Creates a pod and tells it on its owner: SuccessfulCreate or FailedCreate.
pub async fn create_pod<K: Cached>(
    cluster: &Cluster,
    controller: &'static str,
    owner: &K,
    pod: &Pod,
) -> Result<Pod, kube::Error> {
    match cluster.create(&cluster.pods, pod).await {
        Ok(created) => {
            let message = format!("Created pod: {}", created.metadata.name.as_deref().unwrap_or_default());
            cluster.event(controller, owner, Severity::Normal, "SuccessfulCreate", message);
            Ok(created)
        }
        Err(error) => {
            let message = format!("Error creating: {}", api_message(&error));
            cluster.event(controller, owner, Severity::Warning, "FailedCreate", message);
            Err(error)
        }
    }
}

/// Deletes a pod and tells it on its owner: SuccessfulDelete or FailedDelete.
pub async fn delete_pod<K: Cached>(
    cluster: &Cluster,
    controller: &'static str,
    owner: &K,
    pod: &Pod,
) -> Result<(), kube::Error> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    match cluster.delete(&cluster.pods, pod).await {
        Ok(()) => {
            let message = format!("Deleted pod: {name}");
            cluster.event(controller, owner, Severity::Normal, "SuccessfulDelete", message);
            Ok(())
        }
        Err(error) => {
            let message = format!("Error deleting pod {name}: {}", api_message(&error));
            cluster.event(controller, owner, Severity::Warning, "FailedDelete", message);
            Err(error)
        }
    }
}
