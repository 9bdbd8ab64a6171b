//! Small numbers for the few values that metric labels have, so that a series is found by a few
//! integers instead of two dozen strings.

use ahash::AHashMap;
use parking_lot::RwLock;
use std::hash::Hash;
use std::sync::Arc;

/// The number of a value; zero is "unknown".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub u32);

impl Id {
    /// The value that is not known, or that came after the table was full.
    pub const UNKNOWN: Self = Self(0);
}

/// A bounded table of values. Numbers stay valid for the life of the process.
#[derive(Debug)]
pub struct Interner<T> {
    limit: usize,
    table: RwLock<Table<T>>,
}

#[derive(Debug)]
struct Table<T> {
    ids: AHashMap<Arc<T>, Id>,
    values: Vec<Arc<T>>,
}

impl<T: Eq + Hash + Default + Clone> Interner<T> {
    /// A table of at most `limit` values; whatever comes later is unknown.
    pub fn new(limit: usize) -> Self {
        let unknown = Arc::new(T::default());
        let ids = AHashMap::from_iter([(Arc::clone(&unknown), Id::UNKNOWN)]);
        Self { limit, table: RwLock::new(Table { ids, values: vec![unknown] }) }
    }

    /// The number of `value`. Takes a lock: call it when a connection, cluster or endpoint is made,
    /// and keep the answer.
    pub fn id(&self, value: &T) -> Id {
        if let Some(id) = self.table.read().ids.get(value) {
            return *id;
        }
        let mut table = self.table.write();
        if let Some(id) = table.ids.get(value) {
            return *id;
        }
        if table.values.len() >= self.limit {
            return Id::UNKNOWN;
        }
        let Ok(number) = u32::try_from(table.values.len()) else { return Id::UNKNOWN };
        let value = Arc::new(value.clone());
        table.values.push(Arc::clone(&value));
        table.ids.insert(value, Id(number));
        Id(number)
    }

    /// The value behind a number.
    pub fn value(&self, id: Id) -> Arc<T> {
        let table = self.table.read();
        let index = usize::try_from(id.0).unwrap_or_default();
        table.values.get(index).or_else(|| table.values.first()).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "intern_tests.rs"]
mod tests;
