//! Services → EndpointSlices: where each Service's traffic may go, milliseconds after a pod changed.

mod plan;

pub use plan::{MANAGED_BY, SERVICE_NAME, named_port};

use super::cache::{Change, ObjectKey};
use super::cluster::Cluster;
use super::pods::LabelMatch;
use super::queue::{ControllerError, Next, WorkQueue};
use super::watch::queue_changed;
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::Resource;
use plan::{Source, Zones, groups_of_endpoints, groups_of_pods, plan_slices};
use std::sync::Arc;

const CONTROLLER: &str = "endpoint-slice-controller";
const ZONE: &str = "topology.kubernetes.io/zone";
/// A person's wish that an Endpoints object be left alone.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

/// Watches what the slices depend on and keeps them right, for ever.
pub fn start(cluster: &Arc<Cluster>) -> impl Future<Output = ()> + Send + use<> {
    let queue = WorkQueue::default();
    queue_changed(&cluster.services, &queue);
    queue_changed(&cluster.endpoints, &queue);
    let (pods, known_services) = (queue.clone(), cluster.services.clone());
    cluster.pods.on_change(move |change: &Change<'_, Pod>| {
        for pod in change.before.into_iter().chain(change.after) {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            for service in known_services.list_namespace(namespace) {
                if selector_of(&service).is_some_and(|selector| selector.matches(&pod.metadata)) {
                    pods.add(ObjectKey::of(&service.metadata));
                }
            }
        }
    });
    let slices = queue.clone();
    cluster.slices.on_change(move |change: &Change<'_, EndpointSlice>| {
        for slice in change.before.into_iter().chain(change.after) {
            if let Some(service) = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME))
            {
                let namespace = slice.metadata.namespace.clone().unwrap_or_default();
                slices.add(ObjectKey::new(namespace, service.clone()));
            }
        }
    });
    let (nodes, known_services) = (queue.clone(), cluster.services.clone());
    cluster.nodes.on_change(move |change: &Change<'_, Node>| {
        let zone =
            |node: Option<&Node>| node.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned());
        if zone(change.before) != zone(change.after) {
            known_services.list().iter().for_each(|service| nodes.add(ObjectKey::of(&service.metadata)));
        }
    });
    let cluster = cluster.clone();
    async move { queue.work(CONTROLLER, |key| reconcile(cluster.clone(), key)).await }
}

/// The selector of a Service whose endpoints follow it; ExternalName Services have none.
fn selector_of(service: &Service) -> Option<LabelMatch> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let selector = LabelSelector { match_labels: spec.selector.clone(), match_expressions: None };
    LabelMatch::new(&selector).ok()
}

async fn reconcile(cluster: Arc<Cluster>, key: ObjectKey) -> Result<Next, ControllerError> {
    let Some(service) = cluster.services.get(&key) else {
        // The API's garbage collector deletes the slices with their owner.
        return Ok(Next::OnChange);
    };
    if service.metadata.deletion_timestamp.is_some() {
        return Ok(Next::OnChange);
    }
    let Some(owner) = service.controller_owner_ref(&()) else { return Ok(Next::OnChange) };
    let owner = OwnerReference { block_owner_deletion: Some(true), ..owner };
    let selector = selector_of(&service);
    let external = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
    let from_pods = match &selector {
        Some(selector) => {
            let pods = cluster.pods.list_namespace(&key.namespace);
            let selected: Vec<_> = pods.into_iter().filter(|pod| selector.matches(&pod.metadata)).collect();
            Some(groups_of_pods(&service, &selected, &zones(&cluster)))
        }
        None => None,
    };
    let from_endpoints = match cluster.endpoints.get(&key) {
        Some(endpoints) if selector.is_none() && !external && wants_mirror(&endpoints) => {
            Some(groups_of_endpoints(&endpoints))
        }
        _ => None,
    };
    for (source, groups) in [(Source::Selector, from_pods), (Source::Endpoints, from_endpoints)] {
        let existing = slices_of(&cluster, &key, source);
        match groups {
            Some(groups) => {
                apply(&cluster, plan_slices(&service, &owner, source, groups, &existing)).await?;
            }
            None => {
                for slice in existing {
                    cluster.delete(&cluster.slices, &*slice).await?;
                }
            }
        }
    }
    Ok(Next::OnChange)
}

fn wants_mirror(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(SKIP_MIRROR)).is_none_or(|skip| skip != "true")
}

fn zones(cluster: &Cluster) -> Zones {
    let nodes = cluster.nodes.list();
    let zone = |node: &Arc<Node>| {
        Some((node.metadata.name.clone()?, node.metadata.labels.as_ref()?.get(ZONE)?.clone()))
    };
    nodes.iter().filter_map(zone).collect()
}

fn slices_of(cluster: &Cluster, service: &ObjectKey, source: Source) -> Vec<Arc<EndpointSlice>> {
    let mut slices = cluster.slices.list_namespace(&service.namespace);
    slices.retain(|slice| {
        let Some(labels) = &slice.metadata.labels else { return false };
        slice.metadata.deletion_timestamp.is_none()
            && labels.get(SERVICE_NAME) == Some(&service.name)
            && labels.get(MANAGED_BY).map(String::as_str) == Some(source.manager())
    });
    slices
}

async fn apply(cluster: &Cluster, changes: plan::Changes) -> Result<(), ControllerError> {
    // New places first: an endpoint that moves is rather in two slices than in none.
    for slice in &changes.create {
        cluster.create(&cluster.slices, slice).await?;
    }
    for slice in &changes.update {
        cluster.replace(&cluster.slices, slice).await?;
    }
    for slice in &changes.delete {
        cluster.delete(&cluster.slices, &**slice).await?;
    }
    Ok(())
}
