//! All that one proxy sees: the view it shares with clients like it, and that of its workload.

use super::translation::{Keys, Part, Translate};
use super::view::{View, Views};
use mizzen_model::Snapshot;
use mizzen_xds::server::Selection;
use mizzen_xds::{Resource, TypeUrl};
use std::sync::Arc;

/// The two views of a proxy.
pub(crate) struct Sight<T: Translate> {
    clients: Arc<View<T>>,
    workload: Arc<View<T>>,
}

impl<T: Translate> Sight<T> {
    /// Of a proxy that has `keys` in common with others.
    pub(crate) fn new(
        views: &Views<T>,
        keys: &Keys,
        subject: &Arc<T::Subject>,
        snapshot: &Arc<Snapshot>,
    ) -> Self {
        Self {
            clients: views.view(Part::Clients, &keys.clients, subject, snapshot),
            workload: views.view(Part::Workload, &keys.workload, subject, snapshot),
        }
    }

    /// Whether these are the views of proxies with `keys`.
    pub(crate) fn is_of(&self, keys: &Keys) -> bool {
        self.clients.common() == keys.clients && self.workload.common() == keys.workload
    }

    /// Both.
    pub(crate) fn views(&self) -> [&Arc<View<T>>; 2] {
        [&self.clients, &self.workload]
    }

    /// The selected resources as they are now.
    pub(crate) fn resources(
        &self,
        translator: &T,
        subject: &T::Subject,
        type_url: TypeUrl,
        selection: Selection<'_>,
    ) -> Vec<Resource> {
        match selection {
            Selection::Everything => {
                let mut all = self.clients.resources(translator, type_url, selection);
                all.extend(self.workload.resources(translator, type_url, selection));
                all
            }
            Selection::Named(names) => {
                let is_shared =
                    |name: &&Arc<str>| translator.part_of(subject, type_url, name) == Part::Clients;
                let (shared, own): (Vec<_>, Vec<_>) = names.iter().partition(is_shared);
                match (shared.is_empty(), own.is_empty()) {
                    (_, true) => self.clients.resources(translator, type_url, selection),
                    (true, _) => self.workload.resources(translator, type_url, selection),
                    (false, false) => {
                        let named = |view: &View<T>, names: Vec<&Arc<str>>| {
                            let names: Vec<_> = names.into_iter().cloned().collect();
                            view.resources(translator, type_url, Selection::Named(&names))
                        };
                        let mut found = named(&self.clients, shared);
                        found.extend(named(&self.workload, own));
                        found
                    }
                }
            }
        }
    }
}
