//! Where objects live: in memory, versioned, with the recent past of every collection kept for watches.
//!
//! One revision counter numbers every write of the whole store, as etcd's does; an object's `resourceVersion` is the
//! revision that wrote it. Writers compare and swap on it, so a decision may take as long as it needs (admission webhooks)
//! without a lock held. Watchers keep a revision and ask for what came after: nobody buffers for a slow one, it finds its
//! place compacted and is told so.

mod journal;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

pub(crate) use journal::JournalError;
use journal::{Journal, Record};

use crate::object;

/// How many past writes of a collection a late watcher can still read.
const HISTORY: usize = 4096;

/// Which collection: `GROUP/PLURAL`, independent of the version it is read in.
pub(crate) type Collection = Arc<str>;

/// An object at one revision.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The write that made it so.
    pub revision: u64,
    /// The whole object, `metadata.resourceVersion` included.
    pub object: Value,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One write, as watchers see it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub revision: u64,
    pub change: Change,
    /// The object after the write; for a deletion, its last state at the deleting revision.
    pub object: Arc<Stored>,
    /// The object before the write, so that a watcher with a selector knows what left its view.
    pub previous: Option<Arc<Stored>>,
}

/// Why a write did not happen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// There is an object of that name.
    Exists,
    /// The object is not at the expected revision any more, or gone.
    Changed,
    /// A check made together with the write said no.
    Refused,
}

/// The asked-for part of a collection's past is no longer kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// The oldest revision that can still be watched from.
    pub oldest: u64,
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location {
    pub collection: Collection,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    pub name: String,
}

/// What the garbage collector has to look at.
#[derive(Debug)]
pub(crate) enum Trail {
    /// An object is gone; its dependents may have to go, its owners and namespace may have waited for it.
    Removed(Location, Arc<Stored>),
    /// An object was written whose owner does not exist (any more).
    OwnerMissing(Location),
    /// Deletion of an object has begun but something has to happen first.
    Terminating(Location),
}

#[derive(Default)]
struct Shelf {
    objects: BTreeMap<(String, String), Arc<Stored>>,
    history: VecDeque<Event>,
    /// Writes up to here may be missing from the history.
    compacted: u64,
    changed: watch::Sender<u64>,
    volatile: bool,
}

struct State {
    revision: u64,
    /// Revision at which this process started; nothing older is in any history.
    started_at: u64,
    shelves: HashMap<Collection, Shelf>,
    by_uid: HashMap<String, Location>,
    dependents: HashMap<String, BTreeSet<Location>>,
}

/// The store. Cheap to share by reference; every method takes its lock briefly and never across an await.
pub(crate) struct Store {
    state: RwLock<State>,
    journal: Journal,
    volatile: BTreeSet<String>,
    trail: mpsc::UnboundedSender<Trail>,
}

impl Store {
    /// Loads what is in the folder and goes on from there. The second value tells the garbage collector what happens.
    pub fn open(
        folder: &Path,
        volatile: impl IntoIterator<Item = String>,
    ) -> Result<(Store, mpsc::UnboundedReceiver<Trail>), JournalError> {
        let volatile: BTreeSet<String> = volatile.into_iter().collect();
        let loaded = journal::load(folder)?;
        let mut state = State {
            revision: loaded.revision,
            started_at: loaded.revision,
            shelves: HashMap::new(),
            by_uid: HashMap::new(),
            dependents: HashMap::new(),
        };
        for (location, stored) in loaded.objects {
            if !volatile.contains(&*location.collection) {
                state.index(&location, None, Some(&stored.object));
                let shelf = state.shelf(&location.collection, &volatile);
                shelf.objects.insert((location.namespace, location.name), stored);
            }
        }
        let journal = Journal::open(folder, state.revision, state.durable_objects())?;
        let (trail, trail_end) = mpsc::unbounded_channel();
        Ok((Store { state: RwLock::new(state), journal, volatile, trail }, trail_end))
    }

    /// The revision of the newest write.
    pub fn revision(&self) -> u64 {
        self.state.read().revision
    }

    /// One object.
    pub fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        let state = self.state.read();
        state.shelves.get(collection)?.objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// The objects of a collection, in one namespace or in all, ordered by namespace and name, and the revision this is
    /// the truth at.
    pub fn list(&self, collection: &str, namespace: Option<&str>) -> (Vec<Arc<Stored>>, u64) {
        let state = self.state.read();
        let Some(shelf) = state.shelves.get(collection) else { return (Vec::new(), state.revision) };
        let objects = match namespace {
            None => shelf.objects.values().cloned().collect(),
            Some(namespace) => shelf
                .objects
                .range((namespace.to_owned(), String::new())..)
                .take_while(|((found, _), _)| found == namespace)
                .map(|(_, object)| object.clone())
                .collect(),
        };
        (objects, state.revision)
    }

    /// Every object of a namespace, in all collections.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Location> {
        let state = self.state.read();
        let mut found = Vec::new();
        for (collection, shelf) in &state.shelves {
            let start = (namespace.to_owned(), String::new());
            let names = shelf.objects.range(start..).take_while(|((space, _), _)| space == namespace);
            found.extend(names.map(|((_, name), _)| Location {
                collection: collection.clone(),
                namespace: namespace.to_owned(),
                name: name.clone(),
            }));
        }
        found
    }

    /// Where the object with this uid is.
    pub fn locate(&self, uid: &str) -> Option<Location> {
        self.state.read().by_uid.get(uid).cloned()
    }

    /// The objects that name this uid as an owner.
    pub fn dependents(&self, uid: &str) -> Vec<Location> {
        self.state.read().dependents.get(uid).map(|found| found.iter().cloned().collect()).unwrap_or_default()
    }

    /// Adds an object, unless one of that name exists or its namespace fails the check. The check sees the Namespace
    /// object under the same lock, so that nothing slips into a namespace that has just begun to go.
    pub fn create(
        &self,
        collection: &Collection,
        object: Value,
        namespace_allows: impl FnOnce(Option<&Value>) -> bool,
    ) -> Result<Arc<Stored>, WriteError> {
        let location = Location {
            collection: collection.clone(),
            namespace: object::namespace(&object).to_owned(),
            name: object::name(&object).to_owned(),
        };
        let mut state = self.state.write();
        if !location.namespace.is_empty() {
            let key = (String::new(), location.namespace.clone());
            let namespace = state.shelves.get("/namespaces").and_then(|shelf| shelf.objects.get(&key));
            if !namespace_allows(namespace.map(|stored| &stored.object)) {
                return Err(WriteError::Refused);
            }
        }
        let key = (location.namespace.clone(), location.name.clone());
        if state.shelf(collection, &self.volatile).objects.contains_key(&key) {
            return Err(WriteError::Exists);
        }
        Ok(self.commit(&mut state, location, Some(object), None))
    }

    /// Puts a new state in the place of the one at `expected`.
    pub fn replace(
        &self,
        location: &Location,
        expected: u64,
        object: Value,
    ) -> Result<Arc<Stored>, WriteError> {
        let mut state = self.state.write();
        let previous = current(&state, location, expected)?;
        Ok(self.commit(&mut state, location.clone(), Some(object), Some(previous)))
    }

    /// Takes the object at `expected` out. `last` is how it looked at the end.
    pub fn remove(&self, location: &Location, expected: u64, last: Value) -> Result<Arc<Stored>, WriteError> {
        let mut state = self.state.write();
        let previous = current(&state, location, expected)?;
        let removed = Arc::new(Stored { revision: state.revision + 1, object: last });
        self.commit(&mut state, location.clone(), None, Some(previous));
        // The commit recorded the deletion with the previous state; watchers get the last one, at its own revision.
        let mut object = removed.object.clone();
        object::set(&mut object, &["metadata", "resourceVersion"], removed.revision.to_string());
        let removed = Arc::new(Stored { revision: removed.revision, object });
        if let Some(event) =
            state.shelves.get_mut(&location.collection).and_then(|shelf| shelf.history.back_mut())
        {
            event.object = removed.clone();
        }
        let _ = self.trail.send(Trail::Removed(location.clone(), removed.clone()));
        Ok(removed)
    }

    /// Tells the garbage collector to look at an object whose deletion has begun.
    pub fn note_terminating(&self, location: Location) {
        let _ = self.trail.send(Trail::Terminating(location));
    }

    /// What happened in a collection after a revision, and the revision up to which this is everything.
    pub fn events_after(&self, collection: &str, revision: u64) -> Result<(Vec<Event>, u64), Compacted> {
        let state = self.state.read();
        let Some(shelf) = state.shelves.get(collection) else {
            return if revision < state.started_at {
                Err(Compacted { oldest: state.started_at })
            } else {
                Ok((Vec::new(), state.revision))
            };
        };
        if revision < shelf.compacted {
            return Err(Compacted { oldest: shelf.compacted });
        }
        let start = shelf.history.partition_point(|event| event.revision <= revision);
        Ok((shelf.history.range(start..).cloned().collect(), state.revision))
    }

    /// Changes whenever something in the collection does.
    pub fn subscribe(&self, collection: &Collection) -> watch::Receiver<u64> {
        self.state.write().shelf(collection, &self.volatile).changed.subscribe()
    }

    /// Waits until everything written so far is on disk.
    pub async fn flush(&self) {
        self.journal.flush().await;
    }

    /// The one place where state changes: numbers the write, indexes it, remembers it, tells everyone.
    fn commit(
        &self,
        state: &mut State,
        location: Location,
        object: Option<Value>,
        previous: Option<Arc<Stored>>,
    ) -> Arc<Stored> {
        state.revision += 1;
        let revision = state.revision;
        let before = previous.as_ref().map(|stored| &stored.object);
        state.index(&location, before, object.as_ref());
        let change = match (&object, &previous) {
            (None, _) => Change::Deleted,
            (Some(_), None) => Change::Added,
            (Some(_), Some(_)) => Change::Modified,
        };
        let owner_missing = object
            .as_ref()
            .is_some_and(|object| object::owner_uids(object).any(|uid| !state.by_uid.contains_key(uid)));
        let shelf = state.shelf(&location.collection, &self.volatile);
        let key = (location.namespace.clone(), location.name.clone());
        let stored = match object {
            Some(mut object) => {
                object::set(&mut object, &["metadata", "resourceVersion"], revision.to_string());
                let stored = Arc::new(Stored { revision, object });
                shelf.objects.insert(key, stored.clone());
                stored
            }
            None => {
                shelf.objects.remove(&key);
                previous.clone().unwrap_or_else(|| Arc::new(Stored { revision, object: Value::Null }))
            }
        };
        shelf.remember(Event { revision, change, object: stored.clone(), previous });
        let record = match (shelf.volatile, change) {
            (true, _) => Record::Revision(revision),
            (false, Change::Deleted) => Record::Remove { revision, location: location.clone() },
            (false, _) => Record::Put { location: location.clone(), stored: stored.clone() },
        };
        shelf.changed.send_replace(revision);
        if self.journal.append(record) {
            self.journal.compact(state.revision, state.durable_objects());
        }
        if owner_missing {
            let _ = self.trail.send(Trail::OwnerMissing(location));
        }
        stored
    }
}

fn current(state: &State, location: &Location, expected: u64) -> Result<Arc<Stored>, WriteError> {
    let key = (location.namespace.clone(), location.name.clone());
    state
        .shelves
        .get(&location.collection)
        .and_then(|shelf| shelf.objects.get(&key))
        .filter(|stored| stored.revision == expected)
        .cloned()
        .ok_or(WriteError::Changed)
}

impl State {
    fn shelf(&mut self, collection: &Collection, volatile: &BTreeSet<String>) -> &mut Shelf {
        let started_at = self.started_at;
        self.shelves.entry(collection.clone()).or_insert_with(|| Shelf {
            compacted: started_at,
            volatile: volatile.contains(&**collection),
            ..Shelf::default()
        })
    }

    fn index(&mut self, location: &Location, before: Option<&Value>, after: Option<&Value>) {
        if let Some(before) = before {
            self.by_uid.remove(object::uid(before));
            for owner in object::owner_uids(before) {
                if let Some(dependents) = self.dependents.get_mut(owner) {
                    dependents.remove(location);
                    if dependents.is_empty() {
                        self.dependents.remove(owner);
                    }
                }
            }
        }
        if let Some(after) = after {
            self.by_uid.insert(object::uid(after).to_owned(), location.clone());
            for owner in object::owner_uids(after) {
                self.dependents.entry(owner.to_owned()).or_default().insert(location.clone());
            }
        }
    }

    fn durable_objects(&self) -> Vec<(Location, Arc<Stored>)> {
        let mut all = Vec::new();
        for (collection, shelf) in self.shelves.iter().filter(|(_, shelf)| !shelf.volatile) {
            all.extend(shelf.objects.iter().map(|((namespace, name), stored)| {
                let location = Location {
                    collection: collection.clone(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                };
                (location, stored.clone())
            }));
        }
        all
    }
}

impl Shelf {
    fn remember(&mut self, event: Event) {
        self.history.push_back(event);
        if self.history.len() > HISTORY
            && let Some(dropped) = self.history.pop_front()
        {
            self.compacted = dropped.revision;
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
