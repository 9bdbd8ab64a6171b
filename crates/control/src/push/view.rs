//! What a group of proxies sees: a part of their resources, translated once for all of them and kept
//! current. A proxy has two views, one for each [`Part`].

use super::known::Known;
use super::translation::{Affected, Part, Translate};
use mizzen_model::{Snapshot, Touched};
use mizzen_xds::server::Selection;
use mizzen_xds::{Resource, TypeUrl};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

/// One view. Sessions hold it; it goes when the last of them does.
pub(crate) struct View<T: Translate> {
    common: Arc<str>,
    part: Part,
    state: Mutex<State<T>>,
    bodies: Arc<Bodies>,
}

struct State<T: Translate> {
    snapshot: Arc<Snapshot>,
    /// The proxy that is translated for, on behalf of all.
    subject: Arc<T::Subject>,
    types: BTreeMap<TypeUrl, Known>,
}

/// What differs since the last change: for each type the names that came, went or changed.
pub(crate) type Differences = Vec<(TypeUrl, Arc<[Arc<str>]>)>;

impl<T: Translate> View<T> {
    /// What its proxies have in common.
    pub(crate) fn common(&self) -> &str {
        &self.common
    }

    /// Translates for this one of its proxies from now on: the one before may be gone.
    pub(crate) fn represent(&self, subject: &Arc<T::Subject>) {
        self.state.lock().subject = subject.clone();
    }

    /// The selected resources as they are now.
    pub(crate) fn resources(
        &self,
        translator: &T,
        type_url: TypeUrl,
        selection: Selection<'_>,
    ) -> Vec<Resource> {
        let mut state = self.state.lock();
        let State { snapshot, subject, types } = &mut *state;
        let known = types.entry(type_url).or_default();
        let translate = |selection: Selection<'_>| {
            translator.resources(&translator.context(snapshot, subject), self.part, type_url, selection)
        };
        match selection {
            Selection::Everything => {
                if !known.whole {
                    known.clear();
                    known.whole = true;
                    self.remember(known, translate(selection));
                }
                known.existing().cloned().collect()
            }
            Selection::Named(names) => {
                let missing: Vec<_> =
                    names.iter().filter(|name| !known.whole && !known.contains(name)).cloned().collect();
                if !missing.is_empty() {
                    let found = translate(Selection::Named(&missing));
                    missing.into_iter().for_each(|name| known.set(name, None));
                    self.remember(known, found);
                }
                names.iter().filter_map(|name| known.get(name).cloned()).collect()
            }
        }
    }

    /// Moves on to a newer snapshot and says what differs in it.
    fn advance(
        &self,
        translator: &T,
        snapshot: &Arc<Snapshot>,
        touched: &Touched,
        reach: &T::Reach,
    ) -> Differences {
        let mut state = self.state.lock();
        let State { snapshot: current, subject, types } = &mut *state;
        let before = std::mem::replace(current, snapshot.clone());
        if self.part == Part::Workload && !translator.is_reached(reach, subject) {
            return Differences::new();
        }
        let context = translator.context(snapshot, subject);
        let mut differences = Vec::new();
        for (type_url, known) in types.iter_mut() {
            let affected = translator.affected(&before, &context, touched, *type_url);
            let changed = self.update(translator, &context, *type_url, known, affected);
            if !changed.is_empty() {
                differences.push((*type_url, changed.into()));
            }
        }
        differences
    }

    /// Translates again what is affected; gives the names that differ.
    fn update(
        &self,
        translator: &T,
        context: &T::Context<'_>,
        type_url: TypeUrl,
        known: &mut Known,
        affected: Affected,
    ) -> Vec<Arc<str>> {
        let (mut asked, found): (Vec<Arc<str>>, Option<Vec<Resource>>) = match affected {
            Affected::Nothing => return Vec::new(),
            Affected::Names(names) => {
                let names = names.into_iter().map(Arc::from);
                (names.filter(|name| known.whole || known.contains(name)).collect(), None)
            }
            Affected::Hosts(hosts) => {
                let asked = hosts.iter().flat_map(|host| known.names_of_host(host.as_str()));
                let asked = asked.chain(known.names_of_no_host()).cloned().collect();
                (asked, known.whole.then(|| translator.of_hosts(context, self.part, type_url, &hosts)))
            }
            Affected::Everything => {
                let asked = known.names().cloned().collect();
                let all = || translator.resources(context, self.part, type_url, Selection::Everything);
                (asked, known.whole.then(all))
            }
        };
        let found = match found {
            Some(found) => {
                asked.extend(found.iter().map(|resource| resource.name.clone()));
                found
            }
            None if asked.is_empty() => return Vec::new(),
            None => translator.resources(context, self.part, type_url, Selection::Named(&asked)),
        };
        self.settle(known, asked, found)
    }

    /// Takes over what was found of what was asked for; gives the names that differ.
    fn settle(&self, known: &mut Known, mut asked: Vec<Arc<str>>, found: Vec<Resource>) -> Vec<Arc<str>> {
        asked.sort();
        asked.dedup();
        let mut found: HashMap<Arc<str>, Resource> =
            found.into_iter().map(|resource| (resource.name.clone(), resource)).collect();
        let mut changed = Vec::new();
        for name in asked {
            let new = found.remove(&name);
            let old = known.get(&name).map(|resource| resource.version);
            if old == new.as_ref().map(|resource| resource.version) {
                continue;
            }
            changed.push(name.clone());
            match new {
                Some(resource) => self.remember(known, vec![resource]),
                None if known.whole => known.remove(&name),
                None => known.set(name, None),
            }
        }
        changed
    }

    fn remember(&self, known: &mut Known, found: Vec<Resource>) {
        for resource in found {
            let resource = self.bodies.share(resource);
            known.set(resource.name.clone(), Some(resource));
        }
    }
}

/// All views in use.
pub(crate) struct Views<T: Translate> {
    pub(crate) translator: T,
    views: Mutex<HashMap<Arc<str>, Weak<View<T>>>>,
    bodies: Arc<Bodies>,
    /// Threads that translate at once. Asked once: it takes reading several files.
    workers: usize,
}

impl<T: Translate> Views<T> {
    pub(crate) fn new(translator: T) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { translator, views: Mutex::default(), bodies: Arc::default(), workers }
    }

    /// The view of proxies that have this in common, starting from `snapshot` if it is new.
    pub(crate) fn view(
        &self,
        part: Part,
        common: &str,
        subject: &Arc<T::Subject>,
        snapshot: &Arc<Snapshot>,
    ) -> Arc<View<T>> {
        let mut views = self.views.lock();
        if let Some(view) = views.get(common).and_then(Weak::upgrade) {
            return view;
        }
        views.retain(|_, view| view.strong_count() > 0);
        let common: Arc<str> = common.into();
        let state = State { snapshot: snapshot.clone(), subject: subject.clone(), types: BTreeMap::new() };
        let bodies = self.bodies.clone();
        let view = Arc::new(View { common: common.clone(), part, state: Mutex::new(state), bodies });
        views.insert(common, Arc::downgrade(&view));
        view
    }

    /// Moves every view on to a newer snapshot; gives those in which something differs.
    pub(crate) fn advance(
        &self,
        before: &Snapshot,
        snapshot: &Arc<Snapshot>,
        touched: &Touched,
    ) -> Vec<(Arc<View<T>>, Differences)> {
        let views: Vec<_> = self.views.lock().values().filter_map(Weak::upgrade).collect();
        let reach = self.translator.reach(before, snapshot, touched);
        let share = views.len().div_ceil(self.workers).max(1);
        let differing = |views: &[Arc<View<T>>]| -> Vec<_> {
            views
                .iter()
                .map(|view| (view.clone(), view.advance(&self.translator, snapshot, touched, &reach)))
                .filter(|(_, differences)| !differences.is_empty())
                .collect()
        };
        let results = std::thread::scope(|scope| {
            let mut shares = views.chunks(share);
            let own = shares.next();
            let others: Vec<_> = shares.map(|share| scope.spawn(|| differing(share))).collect();
            let mut results = own.map(&differing).unwrap_or_default();
            for other in others {
                // A panic there is a panic here; it must not leave proxies behind silently.
                results.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            results
        });
        self.bodies.collect();
        results
    }
}

/// Encoded bodies, shared by the views they are equal in.
#[derive(Default)]
struct Bodies {
    shared: Mutex<HashMap<(Arc<str>, u64), Resource>>,
    /// How many there were after the last collection.
    kept: std::sync::atomic::AtomicUsize,
}

impl Bodies {
    fn share(&self, resource: Resource) -> Resource {
        let key = (resource.name.clone(), resource.version);
        self.shared.lock().entry(key).or_insert(resource).clone()
    }

    /// Forgets what nobody else holds, once that can be half of it.
    fn collect(&self) {
        use std::sync::atomic::Ordering;
        let mut shared = self.shared.lock();
        if shared.len() <= 2 * self.kept.load(Ordering::Relaxed) + 1024 {
            return;
        }
        shared.retain(|_, resource| !resource.body.is_unique());
        shared.shrink_to_fit();
        self.kept.store(shared.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
