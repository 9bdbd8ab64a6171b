//! One type on one stream: what the client asked for, what it holds, what is owed to it.

use super::held::{Held, Lists, Version};
use super::source::{Selection, Session};
use crate::resource::collection_of;
use crate::{Resource, TypeUrl};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The name that stands for everything.
const WILDCARD: &str = "*";

/// More dirty names than this are not worth remembering one by one.
const DIRTY_NAMES_LIMIT: usize = 4096;

/// Bytes of resources in one delta response, unless a single resource has more. A response is held encoded until
/// the client has read it, and its buffer kept: thousands of clients that connect at once must not each have all of it
/// in memory.
const RESPONSE_BYTES: usize = 16 << 10;

/// Names that are looked at for one delta response; most have more than a quarter of a kilobyte.
const RESPONSE_NAMES: usize = 256;

/// Names whose present state the client may not have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Dirt {
    #[default]
    None,
    Names(BTreeSet<Arc<str>>),
    Everything,
}

impl Dirt {
    pub(super) fn add(&mut self, names: impl IntoIterator<Item = Arc<str>>) {
        if *self == Self::None {
            *self = Self::Names(BTreeSet::new());
        }
        if let Self::Names(dirty) = self {
            dirty.extend(names);
            if dirty.len() > DIRTY_NAMES_LIMIT {
                *self = Self::Everything;
            } else if dirty.is_empty() {
                *self = Self::None;
            }
        }
    }

    /// Takes it, or of many names the first.
    fn take_part(&mut self) -> Self {
        let rest = match self {
            Self::Names(names) => {
                names.iter().nth(RESPONSE_NAMES).cloned().map(|first| names.split_off(&first))
            }
            Self::None | Self::Everything => None,
        };
        std::mem::replace(self, rest.map_or(Self::None, Self::Names))
    }

    pub(super) fn add_everything(&mut self) {
        *self = Self::Everything;
    }
}

/// A response the client has not answered yet.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) nonce: String,
    pub(super) sent: Instant,
}

/// What became of the responses so far; shown to operators.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) nonce_sent: String,
    pub(super) nonce_acknowledged: String,
    pub(super) last_sent: Option<SystemTime>,
    pub(super) last_acknowledged: Option<SystemTime>,
    /// Of the last response, if the client refused it.
    pub(super) error: Option<String>,
}

/// What one response carries.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Batch {
    pub(super) resources: Vec<Resource>,
    pub(super) removed: Vec<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) type_url: TypeUrl,
    pub(super) outstanding: Option<Outstanding>,
    pub(super) record: Record,
    pub(super) dirt: Dirt,
    /// An answer is due even if it is empty: the client waits for it.
    owes_answer: bool,
    wildcard: bool,
    /// With a wildcard, what was asked for by name as well.
    explicit: BTreeSet<Arc<str>>,
    /// Of a type that is asked for by collection, those asked for: a wildcard within these.
    collections: BTreeSet<Arc<str>>,
    /// Those that were asked for since the last response.
    unanswered: BTreeSet<Arc<str>>,
    /// Without a wildcard exactly the names asked for; with one, what the client has.
    held: Held,
    /// Removals kept until nothing refers to the removed any more.
    withheld: Vec<Arc<str>>,
}

impl Subscription {
    pub(super) fn new(type_url: TypeUrl, lists: &Arc<Lists>) -> Self {
        Self {
            type_url,
            outstanding: None,
            record: Record::default(),
            dirt: Dirt::None,
            owes_answer: false,
            wildcard: false,
            explicit: BTreeSet::new(),
            collections: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            held: Held::new(lists),
            withheld: Vec::new(),
        }
    }

    /// Whether something is to be sent, as far as is known without asking the source.
    pub(super) fn is_due(&self) -> bool {
        self.owes_answer || self.dirt != Dirt::None
    }

    /// Nothing due, nothing unanswered.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_due() && self.outstanding.is_none() && self.withheld.is_empty()
    }

    pub(super) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    pub(super) fn names_len(&self) -> usize {
        self.held.len() + self.explicit.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.held.names()
    }

    pub(super) fn existing(&self) -> usize {
        self.held.existing()
    }

    /// The first delta request of a type on a stream. `initial` are the versions that the client
    /// kept from an earlier stream; what matches is not sent again.
    pub(super) fn start_delta(&mut self, subscribe: Vec<String>, initial: HashMap<String, String>) {
        let reconnected = !initial.is_empty();
        if self.type_url.is_by_collection() {
            self.collect(to_names(subscribe));
            self.hold(initial);
            self.held.retain(|name| self.collections.contains(collection_of(name)));
            self.owes_answer = !reconnected;
            return;
        }
        self.wildcard = subscribe.iter().any(|name| name == WILDCARD)
            || subscribe.is_empty() && self.type_url.is_wildcard_by_default();
        let names = to_names(subscribe);
        self.hold(initial);
        if self.wildcard {
            self.explicit = names;
        } else {
            self.held.retain(|name| names.contains(name));
            let unknown: Vec<_> = names.into_iter().filter(|name| self.held.get(name).is_none()).collect();
            self.held.extend(unknown.into_iter().map(|name| (name, Version::UNKNOWN)));
        }
        self.owes_answer = self.wildcard && !reconnected;
        if self.wildcard || self.held.len() > 0 {
            self.dirt.add_everything();
        }
    }

    fn hold(&mut self, initial: HashMap<String, String>) {
        let versions = initial.into_iter().map(|(name, version)| (name.into(), Version::from_wire(&version)));
        self.held.extend(versions);
    }

    /// Adds collections to those asked for.
    fn collect(&mut self, added: BTreeSet<Arc<str>>) {
        self.wildcard = true;
        self.owes_answer = true;
        self.unanswered.extend(added.iter().cloned());
        self.collections.extend(added);
        self.dirt.add_everything();
    }

    /// Whether a resource is among what a wildcard stands for.
    fn wildcard_covers(&self, name: &str) -> bool {
        !self.type_url.is_by_collection() || self.collections.contains(collection_of(name))
    }

    /// A later delta request. A name that is asked for again is sent again: the client has dropped
    /// it, or warms a resource that needs it.
    pub(super) fn change_delta(&mut self, subscribe: Vec<String>, unsubscribe: Vec<String>) {
        if self.type_url.is_by_collection() {
            if !unsubscribe.is_empty() {
                let gone = to_names(unsubscribe);
                self.collections.retain(|collection| !gone.contains(collection));
                self.unanswered.retain(|collection| !gone.contains(collection));
                self.held.retain(|name| !gone.contains(collection_of(name)));
            }
            if !subscribe.is_empty() {
                self.collect(to_names(subscribe));
            }
            return;
        }
        for name in unsubscribe {
            if name == WILDCARD {
                self.wildcard = false;
                let explicit = std::mem::take(&mut self.explicit);
                self.held.retain(|held| explicit.contains(held));
                let unknown: Vec<_> =
                    explicit.into_iter().filter(|name| self.held.get(name).is_none()).collect();
                self.held.extend(unknown.into_iter().map(|name| (name, Version::UNKNOWN)));
            } else if self.wildcard {
                self.explicit.remove(name.as_str());
            } else {
                self.held.remove(&name);
            }
        }
        if subscribe.iter().any(|name| name == WILDCARD) && !self.wildcard {
            self.wildcard = true;
            self.explicit = self.held.names().cloned().collect();
            self.owes_answer = true;
            self.dirt.add_everything();
        }
        let names = to_names(subscribe);
        if names.is_empty() {
            return;
        }
        if self.wildcard {
            self.explicit.extend(names.iter().cloned());
        }
        self.held.extend(names.iter().map(|name| (name.clone(), Version::UNKNOWN)));
        self.dirt.add(names);
    }

    /// Makes those of the names that were asked for due, though the client has them.
    pub(super) fn repeat(&mut self, names: Vec<Arc<str>>) {
        let asked: Vec<_> = names.into_iter().filter(|name| self.held.get(name).is_some()).collect();
        self.held.extend(asked.iter().map(|name| (name.clone(), Version::UNKNOWN)));
        self.dirt.add(asked);
    }

    /// A state-of-the-world request: `names` is all that the client wants now.
    pub(super) fn set_names(&mut self, names: Vec<String>, first: bool) {
        let wildcard = names.iter().any(|name| name == WILDCARD)
            || names.is_empty() && self.type_url.is_wildcard_by_default() && (first || self.wildcard);
        let names = to_names(names);
        if wildcard {
            if first || !self.wildcard {
                self.dirt.add_everything();
                self.owes_answer = true;
            }
            self.wildcard = true;
            return;
        }
        self.wildcard = false;
        self.held.retain(|name| names.contains(name));
        let added: BTreeSet<_> = names.into_iter().filter(|name| self.held.get(name).is_none()).collect();
        if !added.is_empty() {
            self.held.extend(added.iter().map(|name| (name.clone(), Version::UNKNOWN)));
            self.dirt.add(added);
            self.owes_answer = true;
        }
    }

    /// What a delta client is to be sent now; `None` if nothing. Of much only a part, the rest is due after
    /// it. With `withhold_removals` it goes on holding what has ceased to exist until
    /// [`Subscription::release_removals`].
    pub(super) fn take_delta(&mut self, session: &impl Session, withhold_removals: bool) -> Option<Batch> {
        let dirt = self.dirt.take_part();
        let answer_due = std::mem::take(&mut self.owes_answer);
        let (found, asked) = self.ask(session, dirt);
        let mut batch = self.changed(found, &asked, RESPONSE_BYTES);
        if self.dirt == Dirt::None {
            // The client waits for what it asked for: it is told that there is nothing.
            let empty = std::mem::take(&mut self.unanswered)
                .into_iter()
                .filter(|collection| !self.held.names().any(|name| collection_of(name) == &**collection));
            batch.removed.extend(empty);
        }
        if withhold_removals {
            self.withheld.append(&mut batch.removed);
        }
        for name in &batch.removed {
            if self.wildcard && !self.explicit.contains(name) {
                self.held.remove(name);
            } else {
                self.held.set(name, Version::ABSENT);
            }
        }
        let empty = batch.resources.is_empty() && batch.removed.is_empty();
        (!empty || answer_due).then_some(batch)
    }

    pub(super) fn withholds_removals(&self) -> bool {
        !self.withheld.is_empty()
    }

    /// Makes withheld removals due.
    pub(super) fn release_removals(&mut self) {
        let withheld = std::mem::take(&mut self.withheld);
        self.dirt.add(withheld);
    }

    /// What a state-of-the-world client is to be sent now, and the version of the whole. Everything
    /// for a wildcard, since what is missing counts as removed; else only what has changed.
    /// `known` is the version the client says to have kept from an earlier stream.
    pub(super) fn take_world(
        &mut self,
        session: &impl Session,
        known: Option<Version>,
    ) -> Option<(Vec<Resource>, Version)> {
        let dirt = std::mem::take(&mut self.dirt);
        let answer_due = std::mem::take(&mut self.owes_answer);
        if !self.wildcard {
            let (found, asked) = self.ask(session, dirt);
            let batch = self.changed(found, &asked, usize::MAX);
            for name in &batch.removed {
                self.held.set(name, Version::ABSENT);
            }
            let version = self.held.summary();
            let due = !batch.resources.is_empty() || answer_due;
            return (due && known != Some(version)).then_some((batch.resources, version));
        }
        let before = self.held.summary();
        let found = session.resources(self.type_url, Selection::Everything);
        self.held.clear();
        self.held.extend(found.iter().map(|resource| (resource.name.clone(), Version::of(resource.version))));
        let version = self.held.summary();
        let due = answer_due || version != before;
        (due && known != Some(version)).then_some((found, version))
    }

    /// The present state of the dirty names, and which names that was an answer to.
    fn ask(&self, session: &impl Session, dirt: Dirt) -> (Vec<Resource>, Vec<Arc<str>>) {
        match dirt {
            Dirt::None => (Vec::new(), Vec::new()),
            Dirt::Everything if self.wildcard => {
                let mut found = session.resources(self.type_url, Selection::Everything);
                found.retain(|resource| self.wildcard_covers(&resource.name));
                (found, self.held.names().chain(&self.explicit).cloned().collect())
            }
            Dirt::Everything => {
                let names: Vec<_> = self.held.names().cloned().collect();
                (session.resources(self.type_url, Selection::Named(&names)), names)
            }
            Dirt::Names(names) => {
                let wanted = |name: &Arc<str>| match self.wildcard {
                    true => self.wildcard_covers(name),
                    false => self.held.get(name).is_some(),
                };
                let names: Vec<_> = names.into_iter().filter(wanted).collect();
                if names.is_empty() {
                    return (Vec::new(), names);
                }
                (session.resources(self.type_url, Selection::Named(&names)), names)
            }
        }
    }

    /// Of `found`, what the client does not have; of `asked`, what it must be told is gone. The
    /// former counts as held from now on, up to `limit` bytes; what is beyond stays dirty.
    fn changed(&mut self, found: Vec<Resource>, asked: &[Arc<str>], limit: usize) -> Batch {
        let found_names: ahash::AHashSet<&str> = found.iter().map(|resource| &*resource.name).collect();
        let removed = asked
            .iter()
            .filter(|name| !found_names.contains(&***name))
            .filter(|name| match self.held.get(name) {
                Some(Version::ABSENT) => false,
                Some(_) => true,
                None => self.explicit.contains(*name),
            })
            .cloned()
            .collect::<BTreeSet<_>>();
        drop(found_names);
        let mut resources: Vec<_> = found
            .into_iter()
            .filter(|resource| self.held.get(&resource.name) != Some(Version::of(resource.version)))
            .filter(|resource| self.wildcard || self.held.get(&resource.name).is_some())
            .collect();
        let count = count_within(&resources, limit);
        self.dirt.add(resources.drain(count..).map(|resource| resource.name));
        let held = resources.iter().map(|resource| (&resource.name, Version::of(resource.version)));
        match count {
            ..RESPONSE_NAMES => held.for_each(|(name, version)| self.held.set(name, version)),
            _ => self.held.extend(held.map(|(name, version)| (name.clone(), version))),
        }
        Batch { resources, removed: removed.into_iter().collect() }
    }
}

/// How many of these resources go into one response: as many as fit, and one at least.
fn count_within(resources: &[Resource], limit: usize) -> usize {
    let mut bytes = 0usize;
    let fits = |resource: &&Resource| {
        bytes = bytes.saturating_add(resource.body.len());
        bytes <= limit
    };
    resources.iter().take_while(fits).count().max(resources.len().min(1))
}

fn to_names(names: Vec<String>) -> BTreeSet<Arc<str>> {
    names.into_iter().filter(|name| name != WILDCARD).map(Arc::from).collect()
}

#[cfg(test)]
#[path = "subscription_tests.rs"]
mod tests;
