//! What most controllers look at again: their own objects that change, and the owners of others that do.

use super::cache::{Cache, Cached, Change, ObjectKey};
use super::pods::controller_of;
use super::queue::WorkQueue;

/// Queues every object of the cache that changes.
pub fn queue_changed<K: Cached>(cache: &Cache<K>, queue: &WorkQueue) {
    let queue = queue.clone();
    cache.on_change(move |change: &Change<'_, K>| {
        for object in change.before.into_iter().chain(change.after) {
            queue.add(ObjectKey::of(object.meta()));
        }
    });
}

/// Queues the owner of every object of the cache that changes, where it is of this kind.
pub fn queue_owners<K: Cached>(cache: &Cache<K>, kind: &'static str, queue: &WorkQueue) {
    let queue = queue.clone();
    cache.on_change(move |change: &Change<'_, K>| {
        for object in change.before.into_iter().chain(change.after) {
            let meta = object.meta();
            if let Some(owner) = controller_of(meta).filter(|owner| owner.kind == kind) {
                queue.add(ObjectKey::new(meta.namespace.clone().unwrap_or_default(), owner.name.clone()));
            }
        }
    });
}
