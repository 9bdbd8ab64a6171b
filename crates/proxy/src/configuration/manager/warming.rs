//! Warming: when an accepted resource has what it refers to, and putting it in force.

use super::{Manager, Warming};
use crate::configuration::sockets::BindError;
use crate::generation::Generation;
use crate::listener::Listener;
use crate::upstream::Cluster;
use mizzen_xds::TypeUrl;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Envoy's default `initial_fetch_timeout`: how long a resource waits for what it refers to.
const LONGEST_WARMING: Duration = Duration::from_secs(15);
/// How long a listener waits for the secrets of its filter chains. A missing one must not hold back
/// the others for long: its own chain refuses connections until it comes.
const SECRETS_PATIENCE: Duration = Duration::from_secs(2);

impl Manager {
    pub(super) fn anything_warm(&self) -> bool {
        self.warming_clusters.values().any(|warming| self.is_cluster_warm(warming))
            || self.warming_listeners.values().any(|warming| self.is_listener_warm(warming))
    }

    fn is_cluster_warm(&self, warming: &Warming<Cluster>) -> bool {
        let absent = |eds: &Arc<str>| self.absent.contains(&(TypeUrl::ENDPOINT, Arc::clone(eds)));
        warming.value.is_warm()
            || warming.value.eds_name().is_some_and(absent)
            || warming.since.elapsed() >= LONGEST_WARMING
    }

    fn is_listener_warm(&self, warming: &Warming<Listener>) -> bool {
        let age = warming.since.elapsed();
        let routed = warming.value.route_config_names().all(|name| {
            self.absent.contains(&(TypeUrl::ROUTE, Arc::clone(name)))
                || (self.routes.contains_key(name) && self.has_virtual_hosts(name))
        });
        let secured =
            warming.value.all_chains().all(|chain| chain.tls.as_ref().is_none_or(|tls| tls.usable().is_ok()));
        (routed || age >= LONGEST_WARMING) && (secured || age >= SECRETS_PATIENCE)
    }

    /// Puts in force what is warm, and a new generation with it. Returns sockets that could not be
    /// bound, which has been noted.
    pub(super) fn settle(&mut self) -> Vec<BindError> {
        self.promote_clusters();
        // Listeners after clusters: their routes then lead somewhere.
        let replaced = self.promote_listeners();
        self.follow_references();
        self.swap();
        let failures = self.rebind();
        for (before, after) in replaced {
            let kept: Vec<_> = after.all_chains().map(Arc::as_ptr).collect();
            let gone = before.all_chains().filter(|chain| !kept.contains(&Arc::as_ptr(chain)));
            gone.for_each(|chain| chain.drain.start());
        }
        self.context.secrets.collect();
        self.changed.notify_one();
        failures
    }

    fn promote_clusters(&mut self) {
        let warm = self.warming_clusters.iter().filter(|(_, warming)| self.is_cluster_warm(warming));
        let names: Vec<_> = warm.map(|(name, _)| Arc::clone(name)).collect();
        if names.is_empty() {
            return;
        }
        let clusters = Arc::make_mut(&mut self.clusters);
        for name in names {
            if let Some(warming) = self.warming_clusters.remove(&name) {
                clusters.insert(name, warming.value);
            }
        }
    }

    /// Returns listeners that were replaced, with what replaced them.
    fn promote_listeners(&mut self) -> Vec<(Arc<Listener>, Arc<Listener>)> {
        let warm = self.warming_listeners.iter().filter(|(_, warming)| self.is_listener_warm(warming));
        let names: Vec<_> = warm.map(|(name, _)| Arc::clone(name)).collect();
        let mut replaced = Vec::new();
        for name in names {
            let Some(warming) = self.warming_listeners.remove(&name) else { continue };
            if let Some(before) = self.listeners.insert(name, Arc::clone(&warming.value)) {
                replaced.push((before, warming.value));
            }
        }
        replaced
    }

    /// Which endpoints and routes are referred to now; what is not any more is dropped.
    fn follow_references(&mut self) {
        let waiting = self.warming_clusters.values().map(|warming| &warming.value);
        let endpoints: BTreeSet<_> =
            self.clusters.values().chain(waiting).filter_map(|cluster| cluster.eds_name().cloned()).collect();
        if endpoints != *self.wanted_endpoints {
            for name in self.wanted_endpoints.difference(&endpoints) {
                self.records.remove(TypeUrl::ENDPOINT, name);
                self.absent.remove(&(TypeUrl::ENDPOINT, Arc::clone(name)));
            }
            self.wanted_endpoints = Arc::new(endpoints);
        }
        let waiting = self.warming_listeners.values().map(|warming| &warming.value);
        let routes: BTreeSet<_> = self
            .listeners
            .values()
            .chain(waiting)
            .flat_map(|listener| listener.route_config_names().cloned().collect::<Vec<_>>())
            .collect();
        if routes != *self.wanted_routes {
            for name in self.wanted_routes.difference(&routes) {
                self.records.remove(TypeUrl::ROUTE, name);
                self.absent.remove(&(TypeUrl::ROUTE, Arc::clone(name)));
                Arc::make_mut(&mut self.routes).remove(name);
            }
            self.wanted_routes = Arc::new(routes);
        }
        self.follow_virtual_hosts();
    }

    fn swap(&mut self) {
        let mut addresses = ahash::AHashMap::new();
        for listener in self.listeners.values() {
            for address in &listener.addresses {
                addresses.insert(*address, Arc::clone(listener));
            }
        }
        self.current.swap(Arc::new(Generation {
            number: self.current.load().number + 1,
            listeners: self.listeners.clone(),
            addresses,
            routes: Arc::clone(&self.routes),
            clusters: Arc::clone(&self.clusters),
        }));
    }

    /// Opens the sockets that listeners in force need, then closes those nobody needs.
    fn rebind(&mut self) -> Vec<BindError> {
        if self.draining {
            return Vec::new();
        }
        let mut failed = Vec::new();
        for listener in self.listeners.values() {
            match self.sockets.prepare(listener, self.workers.len()) {
                Ok(prepared) => self.sockets.open(prepared, &self.workers),
                Err(error) => failed.push((Arc::clone(&listener.name), error)),
            }
        }
        for (name, error) in &failed {
            tracing::error!(listener = %name, %error, "the listener does not serve");
            if let Some(record) = self.records.get(TypeUrl::LISTENER, name).cloned() {
                self.records.refuse(
                    TypeUrl::LISTENER,
                    name,
                    record.body,
                    &record.version,
                    &error.to_string(),
                );
            }
        }
        let listeners = &self.listeners;
        self.sockets.close_unless(|name, address| {
            listeners
                .get(name)
                .is_some_and(|listener| listener.bind_to_port && listener.addresses.contains(&address))
        });
        failed.into_iter().map(|(_, error)| error).collect()
    }
}
