//! What all controllers share: the client, the caches they follow the API with, and writes that the
//! caches see at once.

use super::cache::{Cache, Cached, ObjectKey};
use super::context::ControllerContext;
use crate::events::{Recorder, Severity};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Endpoints, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Client, Resource};
use serde::Serialize;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The API as the controllers see it.
pub struct Cluster {
    pub client: Client,
    pub context: ControllerContext,
    pub recorder: Recorder,
    pub namespaces: Cache<Namespace>,
    pub nodes: Cache<Node>,
    pub pods: Cache<Pod>,
    pub services: Cache<Service>,
    pub endpoints: Cache<Endpoints>,
    pub slices: Cache<EndpointSlice>,
    pub deployments: Cache<Deployment>,
    pub replica_sets: Cache<ReplicaSet>,
    pub stateful_sets: Cache<StatefulSet>,
    pub daemon_sets: Cache<DaemonSet>,
    pub jobs: Cache<Job>,
}

impl Cluster {
    pub fn new(client: Client, context: ControllerContext, recorder: Recorder) -> Arc<Self> {
        Arc::new(Self {
            client,
            context,
            recorder,
            namespaces: Cache::default(),
            nodes: Cache::default(),
            pods: Cache::default(),
            services: Cache::default(),
            endpoints: Cache::default(),
            slices: Cache::default(),
            deployments: Cache::default(),
            replica_sets: Cache::default(),
            stateful_sets: Cache::default(),
            daemon_sets: Cache::default(),
            jobs: Cache::default(),
        })
    }

    /// Starts following the API with every cache.
    pub fn follow(&self, tasks: &mut JoinSet<()>) {
        self.follow_one(&self.namespaces, tasks);
        self.follow_one(&self.nodes, tasks);
        self.follow_one(&self.pods, tasks);
        self.follow_one(&self.services, tasks);
        self.follow_one(&self.endpoints, tasks);
        self.follow_one(&self.slices, tasks);
        self.follow_one(&self.deployments, tasks);
        self.follow_one(&self.replica_sets, tasks);
        self.follow_one(&self.stateful_sets, tasks);
        self.follow_one(&self.daemon_sets, tasks);
        self.follow_one(&self.jobs, tasks);
    }

    fn follow_one<K: Cached>(&self, cache: &Cache<K>, tasks: &mut JoinSet<()>) {
        let (cache, api) = (cache.clone(), Api::all(self.client.clone()));
        tasks.spawn(async move { cache.follow(api, None).await });
    }

    /// Waits until every cache has read its first list.
    pub async fn synced(&self) {
        tokio::join!(
            self.namespaces.synced(),
            self.nodes.synced(),
            self.pods.synced(),
            self.services.synced(),
            self.endpoints.synced(),
            self.slices.synced(),
            self.deployments.synced(),
            self.replica_sets.synced(),
            self.stateful_sets.synced(),
            self.daemon_sets.synced(),
            self.jobs.synced(),
        );
    }

    /// Creates an object in its namespace.
    pub async fn create<K>(&self, cache: &Cache<K>, object: &K) -> Result<K, kube::Error>
    where
        K: Cached + Resource<Scope = NamespaceResourceScope> + Serialize,
    {
        let namespace = object.meta().namespace.as_deref().unwrap_or("default");
        let created = self.api(namespace).create(&PostParams::default(), object).await?;
        cache.wrote(created.clone());
        Ok(created)
    }

    /// Replaces an object, if it is still the one that was read.
    pub async fn replace<K>(&self, cache: &Cache<K>, object: &K) -> Result<K, kube::Error>
    where
        K: Cached + Resource<Scope = NamespaceResourceScope> + Serialize,
    {
        let key = ObjectKey::of(object.meta());
        let replaced = self.api(&key.namespace).replace(&key.name, &PostParams::default(), object).await?;
        cache.wrote(replaced.clone());
        Ok(replaced)
    }

    /// Replaces an object's status, if it is still the one that was read.
    pub async fn replace_status<K>(&self, cache: &Cache<K>, object: &K) -> Result<K, kube::Error>
    where
        K: Cached + Resource<Scope = NamespaceResourceScope> + Serialize,
    {
        let key = ObjectKey::of(object.meta());
        let replaced =
            self.api(&key.namespace).replace_status(&key.name, &PostParams::default(), object).await?;
        cache.wrote(replaced.clone());
        Ok(replaced)
    }

    /// Changes some fields of an object (RFC 7386 merge patch).
    pub async fn merge<K>(
        &self,
        cache: &Cache<K>,
        key: &ObjectKey,
        patch: serde_json::Value,
    ) -> Result<K, kube::Error>
    where
        K: Cached + Resource<Scope = NamespaceResourceScope>,
    {
        let api: Api<K> = self.api(&key.namespace);
        let patched = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        cache.wrote(patched.clone());
        Ok(patched)
    }

    /// Deletes exactly this object and, in the background, what it owns. Already gone is fine.
    pub async fn delete<K>(&self, cache: &Cache<K>, object: &K) -> Result<(), kube::Error>
    where
        K: Cached + Resource<Scope = NamespaceResourceScope>,
    {
        let key = ObjectKey::of(object.meta());
        let uid = object.meta().uid.clone();
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.api::<K>(&key.namespace).delete(&key.name, &params).await {
            // The object while it is still ending; else a status, or the object as it last was.
            Ok(answer) => match answer.left().filter(|left| left.meta().deletion_timestamp.is_some()) {
                Some(ending) => cache.wrote(ending),
                None => cache.removed(&key, uid.as_deref()),
            },
            Err(kube::Error::Api(status)) if status.code == 404 => cache.removed(&key, uid.as_deref()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Records an Event about an object in the name of a controller.
    pub fn event<K: Cached>(
        &self,
        controller: &'static str,
        about: &K,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.recorder.for_component(controller).record(&about.object_ref(&()), severity, reason, message);
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Cached + Resource<Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}
