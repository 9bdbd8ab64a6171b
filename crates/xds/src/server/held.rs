//! What a client holds: resource names with the versions it was sent, kept small, because there are
//! thousands of clients with thousands of names each.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// What the client was last told about one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version(u64);

impl Version {
    /// Nothing, or something we cannot recognise: it must be answered.
    pub(super) const UNKNOWN: Self = Self(0);
    /// That the resource does not exist.
    pub(super) const ABSENT: Self = Self(1);

    /// The version of an existing resource.
    pub(super) fn of(hash: u64) -> Self {
        Self(if hash < 2 { hash + 2 } else { hash })
    }

    /// As it stands in a message.
    pub(super) fn to_wire(self) -> String {
        format!("{:016x}", self.0)
    }

    /// The reverse; text that is not ours is [`Version::UNKNOWN`].
    pub(super) fn from_wire(text: &str) -> Self {
        u64::from_str_radix(text, 16).map_or(Self::UNKNOWN, Self)
    }

    fn exists(self) -> bool {
        self != Self::UNKNOWN && self != Self::ABSENT
    }
}

/// A name and what the client was last told about it.
type Entry = (Arc<str>, Version);

/// A map from name to version. Most clients hold what many others hold: a sorted list, shared, and beside it
/// what differs from that for this client.
#[derive(Debug, Default)]
pub(super) struct Held {
    shared: Arc<[Entry]>,
    /// Sorted by name; without a version what is in the shared list and not held.
    own: Vec<(Arc<str>, Option<Version>)>,
    len: usize,
    lists: Arc<Lists>,
}

impl Held {
    /// Nothing, which will be held in common with all others of `lists`.
    pub(super) fn new(lists: &Arc<Lists>) -> Self {
        Self { lists: lists.clone(), ..Self::default() }
    }

    pub(super) fn get(&self, name: &str) -> Option<Version> {
        match self.own_position(name) {
            Ok(index) => self.own[index].1,
            Err(_) => self.shared_version(name),
        }
    }

    /// Sets a version. The given name replaces the one held, so that all clients come to share the
    /// resource's own name and not each its own copy of it.
    pub(super) fn set(&mut self, name: &Arc<str>, version: Version) {
        self.put(name.clone(), Some(version));
    }

    pub(super) fn remove(&mut self, name: &str) {
        if self.get(name).is_some() {
            self.put(name.into(), None);
        }
    }

    fn put(&mut self, name: Arc<str>, version: Option<Version>) {
        let before = self.get(&name).is_some();
        self.len = self.len - usize::from(before) + usize::from(version.is_some());
        match self.own_position(&name) {
            Ok(index) => self.own[index] = (name, version),
            Err(index) => self.own.insert(index, (name, version)),
        }
        // Sharing again costs the length of the list, so that it must be rare.
        if self.own.len() > (self.shared.len() / 4).max(64) {
            self.share();
        }
    }

    /// Adds many at once; names already held keep the version given last.
    pub(super) fn extend(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let mut all: Vec<Entry> = self.entries().map(|(name, version)| (name.clone(), version)).collect();
        all.extend(entries);
        // Stable, so of equal names the newest is last; keep that one.
        all.sort_by(|left, right| left.0.cmp(&right.0));
        all.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        self.become_list(all);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Arc<str>) -> bool) {
        let kept = self.entries().filter(|(name, _)| keep(name));
        let mut kept: Vec<Entry> = kept.map(|(name, version)| (name.clone(), version)).collect();
        kept.sort_by(|left, right| left.0.cmp(&right.0));
        self.become_list(kept);
    }

    pub(super) fn clear(&mut self) {
        self.become_list(Vec::new());
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries().map(|(name, _)| name)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many of the names the client holds a resource for.
    pub(super) fn existing(&self) -> usize {
        self.entries().filter(|(_, version)| version.exists()).count()
    }

    /// One version for the whole content, the same in every process.
    pub(super) fn summary(&mut self) -> Version {
        self.share();
        let mut hash = Fnv::default();
        for (name, version) in self.shared.iter().filter(|(_, version)| version.exists()) {
            hash.write(name.as_bytes());
            hash.write(&version.0.to_le_bytes());
        }
        Version::of(hash.0)
    }

    /// All of it, in no order.
    fn entries(&self) -> impl Iterator<Item = (&Arc<str>, Version)> {
        let unchanged =
            self.shared.iter().filter(|(name, _)| self.own.is_empty() || self.own_position(name).is_err());
        let own = self.own.iter().filter_map(|(name, version)| Some((name, (*version)?)));
        unchanged.map(|(name, version)| (name, *version)).chain(own)
    }

    /// Takes what differs into a list that others may hold as well.
    fn share(&mut self) {
        if !self.own.is_empty() {
            self.extend([]);
        }
    }

    fn become_list(&mut self, list: Vec<Entry>) {
        self.len = list.len();
        self.own = Vec::new();
        self.shared = self.lists.share(list);
    }

    fn own_position(&self, name: &str) -> Result<usize, usize> {
        self.own.binary_search_by(|(own, _)| (**own).cmp(name))
    }

    fn shared_version(&self, name: &str) -> Option<Version> {
        let index = self.shared.binary_search_by(|(shared, _)| (**shared).cmp(name)).ok()?;
        Some(self.shared[index].1)
    }
}

/// The lists that clients hold, each of them once.
#[derive(Debug, Default)]
pub(super) struct Lists {
    state: ahash::RandomState,
    by_hash: Mutex<HashMap<u64, Weak<[Entry]>>>,
}

impl Lists {
    fn share(&self, list: Vec<Entry>) -> Arc<[Entry]> {
        let hash = self.state.hash_one(&list);
        let mut lists = self.by_hash.lock();
        if let Some(known) = lists.get(&hash).and_then(Weak::upgrade)
            && *known == *list
        {
            return known;
        }
        if lists.len() == lists.capacity() {
            lists.retain(|_, list| list.strong_count() > 0);
        }
        let list: Arc<[Entry]> = list.into();
        lists.insert(hash, Arc::downgrade(&list));
        list
    }
}

/// FNV-1a, 64 bits: small and stable across processes. It guards against nothing but coincidence.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
#[path = "held_tests.rs"]
mod tests;
