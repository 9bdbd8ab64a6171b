//! The resources of one type in one view, found by name and by the host they are about.

use ahash::AHashMap;
use mizzen_xds::Resource;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// The resources of one type that somebody has asked for. A name that was asked for and does not
/// exist is kept as such.
///
/// Proxies that connect ask for thousands by name, changes for those of a host: each has its own way in.
#[derive(Default)]
pub(super) struct Known {
    /// Everything was asked for; without, only the names that are there.
    pub(super) whole: bool,
    resources: AHashMap<Arc<str>, Option<Resource>>,
    by_host: BTreeSet<HostFirst>,
}

impl Known {
    pub(super) fn get(&self, name: &Arc<str>) -> Option<&Resource> {
        self.resources.get(name)?.as_ref()
    }

    pub(super) fn contains(&self, name: &Arc<str>) -> bool {
        self.resources.contains_key(name)
    }

    pub(super) fn set(&mut self, name: Arc<str>, resource: Option<Resource>) {
        if self.resources.insert(name.clone(), resource).is_none() {
            self.by_host.insert(HostFirst(name));
        }
    }

    pub(super) fn remove(&mut self, name: &Arc<str>) {
        self.resources.remove(name);
        self.by_host.remove(&HostFirst(name.clone()));
    }

    pub(super) fn clear(&mut self) {
        self.resources.clear();
        self.by_host.clear();
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_host.iter().map(|key| &key.0)
    }

    pub(super) fn existing(&self) -> impl Iterator<Item = &Resource> {
        self.names().filter_map(|name| self.get(name))
    }

    /// The names about one host, in as many steps as there are.
    pub(super) fn names_of_host(&self, host: &str) -> impl Iterator<Item = &Arc<str>> {
        // No name of the same host is smaller.
        let first = HostFirst(Arc::from(format!("/{host}")));
        self.by_host
            .range((Bound::Included(first), Bound::Unbounded))
            .map(|key| &key.0)
            .take_while(move |name| host_of(name) == host)
    }

    /// The names about none: the workload's own ports, and those that every proxy has.
    pub(super) fn names_of_no_host(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names_of_host("")
    }
}

/// A resource name, ordered by the host it is about first.
#[derive(Clone, PartialEq, Eq)]
struct HostFirst(Arc<str>);

/// What precedes the host, and the host: the last part of `outbound|80|v1|HOST` and `80/HOST`, empty for
/// names of other forms.
fn parts_of(name: &str) -> (&str, &str) {
    name.rsplit_once('|').or_else(|| name.split_once('/')).unwrap_or((name, ""))
}

fn host_of(name: &str) -> &str {
    parts_of(name).1
}

/// By host, then by the rest. The length tells `/` from the empty name, of which it must be the lesser.
fn order(name: &str) -> (&str, &str, Reverse<usize>, &str) {
    let (rest, host) = parts_of(name);
    (host, rest, Reverse(name.len()), name)
}

impl Ord for HostFirst {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&self.0).cmp(&order(&other.0))
    }
}

impl PartialOrd for HostFirst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
