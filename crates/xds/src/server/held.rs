//! What a client holds: resource names with the versions it was sent, kept small, because there are
//! thousands of clients with thousands of names each.

use std::sync::Arc;

/// What the client was last told about one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A map from name to version: a sorted vector, 24 bytes an entry.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<(Arc<str>, Version)>);

impl Held {
    pub(super) fn get(&self, name: &str) -> Option<Version> {
        self.position(name).ok().and_then(|index| self.0.get(index)).map(|entry| entry.1)
    }

    /// Sets a version. The given name replaces the one held, so that all clients come to share the
    /// resource's own name and not each its own copy of it.
    pub(super) fn set(&mut self, name: &Arc<str>, version: Version) {
        match self.position(name) {
            Ok(index) => self.0[index] = (name.clone(), version),
            Err(index) => self.0.insert(index, (name.clone(), version)),
        }
    }

    /// Adds many at once; names already held keep the version given last.
    pub(super) fn extend(&mut self, entries: impl IntoIterator<Item = (Arc<str>, Version)>) {
        self.0.extend(entries);
        // Stable, so of equal names the newest is last; keep that one.
        self.0.sort_by(|left, right| left.0.cmp(&right.0));
        self.0.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        self.0.shrink_to_fit();
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Ok(index) = self.position(name) {
            self.0.remove(index);
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Arc<str>) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().map(|(name, _)| name)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many of the names the client holds a resource for.
    pub(super) fn existing(&self) -> usize {
        self.0.iter().filter(|(_, version)| version.exists()).count()
    }

    /// One version for the whole content, the same in every process.
    pub(super) fn summary(&self) -> Version {
        let mut hash = Fnv::default();
        for (name, version) in self.0.iter().filter(|(_, version)| version.exists()) {
            hash.write(name.as_bytes());
            hash.write(&version.0.to_le_bytes());
        }
        Version::of(hash.0)
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(held, _)| (**held).cmp(name))
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
