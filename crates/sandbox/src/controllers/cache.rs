//! One shared list+watch per kind of object: a local copy that follows the API, tells the
//! controllers what changed, and never goes back in time behind a write of our own.
//!
//! A controller that creates a pod and looks again must see that pod, or it would create another.
//! So answers to writes go into the cache at once ([`Cache::wrote`]), and watch events that are older
//! than what is there are dropped. Resource versions are compared as numbers, which the API server
//! of the sandbox and every etcd-backed one allow.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::StreamExt;

/// How many deleted objects are remembered, so that a late answer to a write does not bring one back.
const REMEMBERED_DELETIONS: usize = 1024;
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Namespace (empty for cluster-wide objects) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub namespace: String,
    pub name: String,
}

impl ObjectKey {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub fn of(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// What the cache can hold: any kind known at compile time.
pub trait Cached:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}
impl<K> Cached for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// One object before and after; one of them is always there.
pub struct Change<'a, K> {
    pub before: Option<&'a K>,
    pub after: Option<&'a K>,
}

type Listener<K> = Box<dyn Fn(&Change<'_, K>) + Send + Sync>;

/// The local copy. Clones share it.
pub struct Cache<K: Cached> {
    inner: Arc<Inner<K>>,
}

struct Inner<K: Cached> {
    state: RwLock<State<K>>,
    listeners: RwLock<Vec<Listener<K>>>,
    synced: watch::Sender<bool>,
}

struct State<K> {
    objects: BTreeMap<ObjectKey, Arc<K>>,
    deleted_uids: VecDeque<String>,
}

impl<K: Cached> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<K: Cached> Default for Cache<K> {
    fn default() -> Self {
        let state = State { objects: BTreeMap::new(), deleted_uids: VecDeque::new() };
        let inner = Inner {
            state: RwLock::new(state),
            listeners: RwLock::default(),
            synced: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl<K: Cached> Cache<K> {
    /// Calls `listener` after every change. Listeners are quick and never call back into the cache.
    pub fn on_change(&self, listener: impl Fn(&Change<'_, K>) + Send + Sync + 'static) {
        self.inner.listeners.write().push(Box::new(listener));
    }

    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.inner.state.read().objects.get(key).cloned()
    }

    /// All objects, sorted by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.inner.state.read().objects.values().cloned().collect()
    }

    /// The objects of one namespace, sorted by name.
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.inner.state.read();
        let start = ObjectKey::new(namespace, "");
        state
            .objects
            .range(start..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Waits until the first list has been read.
    pub async fn synced(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.inner.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Takes in the API's answer to a create, update or graceful delete.
    pub fn wrote(&self, object: K) {
        self.put(object);
    }

    /// Takes in that the API removed the object at once.
    pub fn removed(&self, key: &ObjectKey, uid: Option<&str>) {
        let current = self.get(key);
        if let Some(object) = current
            && (uid.is_none() || object.meta().uid.as_deref() == uid)
        {
            self.remove(&object);
        }
    }

    fn put(&self, object: K) {
        let object = Arc::new(object);
        let before = {
            let mut state = self.inner.state.write();
            if let Some(uid) = &object.meta().uid
                && state.deleted_uids.contains(uid)
            {
                return;
            }
            let key = ObjectKey::of(object.meta());
            if let Some(current) = state.objects.get(&key)
                && current.meta().uid == object.meta().uid
                && version(current.meta()) >= version(object.meta())
            {
                return;
            }
            state.objects.insert(key, object.clone())
        };
        self.tell(&Change { before: before.as_deref(), after: Some(&object) });
    }

    fn remove(&self, object: &K) {
        let before = {
            let mut state = self.inner.state.write();
            if let Some(uid) = &object.meta().uid {
                if state.deleted_uids.len() == REMEMBERED_DELETIONS {
                    state.deleted_uids.pop_front();
                }
                state.deleted_uids.push_back(uid.clone());
            }
            let key = ObjectKey::of(object.meta());
            match state.objects.get(&key) {
                Some(current) if current.meta().uid == object.meta().uid => state.objects.remove(&key),
                _ => None,
            }
        };
        if let Some(before) = before {
            self.tell(&Change { before: Some(&before), after: None });
        }
    }

    /// Makes the cache equal to a list read at `list_version`. Objects we wrote after that stay.
    fn replace_all(&self, objects: Vec<K>, list_version: u64) {
        let listed: std::collections::BTreeSet<_> =
            objects.iter().map(|object| object.meta().uid.clone()).collect();
        for object in self.list() {
            if !listed.contains(&object.meta().uid) && version(object.meta()) <= list_version {
                self.remove(&object);
            }
        }
        for object in objects {
            self.put(object);
        }
        self.inner.synced.send_replace(true);
    }

    fn tell(&self, change: &Change<'_, K>) {
        for listener in self.inner.listeners.read().iter() {
            listener(change);
        }
    }

    /// Follows `api` for ever: lists, watches from there, and after an error tries again with a
    /// growing pause; the watch is resumed where it stopped unless the API says that is too old.
    pub async fn follow(self, api: Api<K>, fields: Option<&str>) {
        let mut retry = FIRST_RETRY;
        let mut resume: Option<String> = None;
        loop {
            let outcome = self.follow_once(&api, fields, &mut resume).await;
            match outcome {
                // The server ends a watch now and then; one that always does must not be hammered.
                Ok(()) => retry = FIRST_RETRY,
                Err(error) => {
                    tracing::debug!(kind = %K::kind(&()), %error, "watch interrupted; trying again");
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
            tokio::time::sleep(retry).await;
        }
    }

    async fn follow_once(
        &self,
        api: &Api<K>,
        fields: Option<&str>,
        resume: &mut Option<String>,
    ) -> Result<(), kube::Error> {
        let mut from = match resume.take() {
            Some(from) => from,
            None => {
                let params =
                    ListParams { field_selector: fields.map(str::to_owned), ..ListParams::default() };
                let list = api.list(&params).await?;
                let from = list.metadata.resource_version.unwrap_or_default();
                self.replace_all(list.items, from.parse().unwrap_or(0));
                from
            }
        };
        let params = WatchParams {
            field_selector: fields.map(str::to_owned),
            bookmarks: true,
            ..WatchParams::default()
        };
        let mut events = std::pin::pin!(api.watch(&params, &from).await?);
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    *resume = Some(from);
                    return Err(error);
                }
            };
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    from = object.meta().resource_version.clone().unwrap_or(from);
                    self.put(object);
                }
                WatchEvent::Deleted(object) => {
                    from = object.meta().resource_version.clone().unwrap_or(from);
                    self.remove(&object);
                }
                WatchEvent::Bookmark(bookmark) => from = bookmark.metadata.resource_version,
                // Mostly 410 Gone: list again.
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            }
        }
        *resume = Some(from);
        Ok(())
    }
}

fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
