//! One kind's watch: list, watch, and again with back-off after an error, for ever.

use futures::{Stream, StreamExt, stream};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

/// Pause after the first error.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause: what is missing, a custom resource's definition for example, is noticed this
/// soon after it came.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What became known of a kind's objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed<K> {
    /// The object exists and looks like this.
    Present(Box<K>),
    /// The object of this namespace (empty if it has none) and name is gone.
    Gone {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// All that existed at the start has been told. Comes once, also when the kind does not exist
    /// in this cluster.
    Complete,
}

type Key = (String, String);

/// What of an object counts, as a hash; an object is told again when that is another, and always without.
pub(crate) type Fingerprint<K> = fn(&K) -> Option<u64>;

/// Watches the objects of `api` for as long as the stream is polled. `kind` is for log lines.
pub fn watch<K>(
    kind: &'static str,
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Observed<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch_news(kind, api, config, |_| None)
}

/// The same, but objects are told again only where their fingerprint is another.
pub(crate) fn watch_news<K>(
    kind: &'static str,
    api: Api<K>,
    config: watcher::Config,
    fingerprint: Fingerprint<K>,
) -> impl Stream<Item = Observed<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watcher(api, config).boxed();
    stream::unfold((events, Tracker::new(kind, fingerprint)), |(mut events, mut tracker)| async move {
        let observed = match events.next().await? {
            Ok(event) => tracker.on_event(event),
            Err(error) => {
                let (observed, pause) = tracker.on_error(&error);
                tokio::time::sleep(pause).await;
                observed
            }
        };
        Some((stream::iter(observed), (events, tracker)))
    })
    .flatten()
}

/// What is known so far: needed to tell what is gone after a list that came late.
struct Tracker<K> {
    kind: &'static str,
    fingerprint: Fingerprint<K>,
    known: BTreeMap<Key, Option<u64>>,
    /// While a list is read: what it had so far.
    listed: Option<BTreeSet<Key>>,
    complete: bool,
    pause: Duration,
}

impl<K: Resource> Tracker<K> {
    fn new(kind: &'static str, fingerprint: Fingerprint<K>) -> Self {
        Self { kind, fingerprint, known: BTreeMap::new(), listed: None, complete: false, pause: FIRST_PAUSE }
    }

    fn on_event(&mut self, event: Event<K>) -> Vec<Observed<K>> {
        match event {
            Event::Init => {
                self.listed = Some(BTreeSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(key_of(&object));
                }
                self.present(object)
            }
            Event::InitDone => {
                if self.pause != FIRST_PAUSE {
                    tracing::info!(kind = self.kind, "the watch works again");
                }
                self.pause = FIRST_PAUSE;
                let listed = self.listed.take().unwrap_or_default();
                let mut observed = self.forget_all_but(&listed);
                observed.extend(self.completed());
                observed
            }
            Event::Apply(object) => self.present(object),
            Event::Delete(object) => {
                let (namespace, name) = key_of(&object);
                self.known.remove(&(namespace.clone(), name.clone()));
                vec![Observed::Gone { namespace, name }]
            }
        }
    }

    fn present(&mut self, object: K) -> Vec<Observed<K>> {
        let now = (self.fingerprint)(&object);
        let before = self.known.insert(key_of(&object), now);
        let same = now.is_some() && before == Some(now);
        if same { Vec::new() } else { vec![Observed::Present(Box::new(object))] }
    }

    /// What an error means for what is known, and how long to wait. Objects already known stay:
    /// an API that cannot be asked has not deleted them. A kind that does not exist has none.
    fn on_error(&mut self, error: &watcher::Error) -> (Vec<Observed<K>>, Duration) {
        let pause = self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.listed = None;
        if !is_missing_kind(error) {
            tracing::warn!(kind = self.kind, "watching failed, trying again in {pause:?}: {error}");
            return (Vec::new(), pause);
        }
        tracing::debug!(kind = self.kind, "the API does not know this kind yet");
        let mut observed = self.forget_all_but(&BTreeSet::new());
        observed.extend(self.completed());
        (observed, pause)
    }

    fn forget_all_but(&mut self, listed: &BTreeSet<Key>) -> Vec<Observed<K>> {
        let gone: Vec<_> = self.known.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        self.known.retain(|key, _| listed.contains(key));
        gone.into_iter().map(|(namespace, name)| Observed::Gone { namespace, name }).collect()
    }

    fn completed(&mut self) -> Option<Observed<K>> {
        let first = !std::mem::replace(&mut self.complete, true);
        first.then_some(Observed::Complete)
    }
}

fn key_of<K: Resource>(object: &K) -> Key {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn is_missing_kind(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

/// The newest state of every key of a burst, in the order in which keys were first seen.
pub(crate) fn newest<K: Ord + Clone, V>(burst: Vec<(K, V)>) -> Vec<V> {
    let mut positions: BTreeMap<K, usize> = BTreeMap::new();
    let mut kept: Vec<V> = Vec::with_capacity(burst.len());
    for (key, value) in burst {
        match positions.get(&key).and_then(|index| kept.get_mut(*index)) {
            Some(slot) => *slot = value,
            None => {
                positions.insert(key, kept.len());
                kept.push(value);
            }
        }
    }
    kept
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
