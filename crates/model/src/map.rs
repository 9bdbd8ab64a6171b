//! Ordered maps that share structure between generations, so that keeping the previous snapshot and
//! changing one entry costs the path to that entry and nothing else. Order makes everything derived
//! from them deterministic.

use std::{borrow::Borrow, sync::Arc};

/// A persistent ordered map; cloning is one reference count.
pub type Map<K, V> = rpds::RedBlackTreeMapSync<K, V>;

/// A shared, immutable name.
pub type Name = Arc<str>;

/// An empty [`Map`].
pub fn map<K: Ord, V>() -> Map<K, V> {
    Map::new_sync()
}

/// Objects by namespace and name.
#[derive(Clone, Debug)]
pub struct Namespaced<V> {
    namespaces: Map<Name, Map<Name, V>>,
}

impl<V> Default for Namespaced<V> {
    fn default() -> Self {
        Self { namespaces: map() }
    }
}

impl<V: Clone> Namespaced<V> {
    /// The object of this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&V> {
        self.namespaces.get(namespace)?.get(name)
    }

    /// Puts an object in place; what was there before is replaced.
    pub fn insert(&mut self, namespace: impl Into<Name>, name: impl Into<Name>, value: V) {
        let namespace = namespace.into();
        let mut objects = self.namespaces.get(&namespace).cloned().unwrap_or_else(map);
        objects.insert_mut(name.into(), value);
        self.namespaces.insert_mut(namespace, objects);
    }

    /// Takes an object away, and its namespace with the last one.
    pub fn remove(&mut self, namespace: &str, name: &str) -> Option<V> {
        let mut objects = self.namespaces.get(namespace)?.clone();
        let removed = objects.get(name)?.clone();
        objects.remove_mut(name);
        if objects.is_empty() {
            self.namespaces.remove_mut(namespace);
        } else {
            self.namespaces.insert_mut(namespace.into(), objects);
        }
        Some(removed)
    }

    /// The objects of one namespace, by name.
    pub fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = (&Name, &V)> {
        self.namespaces.get(namespace).into_iter().flat_map(|objects| objects.iter())
    }

    /// All objects, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Name, &V)> {
        self.namespaces.iter().flat_map(|(namespace, objects)| {
            objects.iter().map(move |(name, value)| (namespace, name, value))
        })
    }

    /// How many objects there are. Costs the number of namespaces.
    pub fn len(&self) -> usize {
        self.namespaces.values().map(Map::size).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }
}

/// Adds to the set kept under `key`.
pub(crate) fn link<K: Ord + Clone, M: Ord + Clone>(index: &mut Map<K, Map<M, ()>>, key: K, member: M) {
    let mut members = index.get(&key).cloned().unwrap_or_else(map);
    members.insert_mut(member, ());
    index.insert_mut(key, members);
}

/// Takes out of the set kept under `key`; an empty set is dropped.
pub(crate) fn unlink<K, M, Q>(index: &mut Map<K, Map<M, ()>>, key: &Q, member: &M)
where
    K: Ord + Clone + Borrow<Q>,
    M: Ord + Clone,
    Q: Ord + ToOwned<Owned = K> + ?Sized,
{
    let Some(mut members) = index.get(key).cloned() else { return };
    members.remove_mut(member);
    if members.is_empty() {
        index.remove_mut(key);
    } else {
        index.insert_mut(key.to_owned(), members);
    }
}
