//! Virtual hosts that come by themselves (VHDS): so that a change of one of thousands is one small message.
//!
//! A resource is called `ROUTES/NAME`, and is part of the route configuration `ROUTES`, which says that it has
//! such. Source: Envoy, "Virtual Host Discovery Service (VHDS)"; never on demand here, all are sent ahead.

use super::Manager;
use crate::compile::{self, CompileError};
use crate::configuration::Record;
use crate::http::routes::VirtualHost;
use mizzen_xds::TypeUrl;
use mizzen_xds::client::Update;
use mizzen_xds::resource::{collection_of, with_virtual_hosts};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Manager {
    pub(super) fn virtual_host(&mut self, name: &Arc<str>, body: &[u8]) -> Result<(), CompileError> {
        let compiled = compile::route::virtual_host(body, &self.context)?;
        self.virtual_hosts.insert(Arc::clone(name), compiled);
        Ok(())
    }

    /// The virtual hosts of a route configuration.
    pub(super) fn discovered(&self, routes: &str) -> Vec<Arc<VirtualHost>> {
        let hosts = self.virtual_hosts.range(first_of(routes)..).take_while(|(name, _)| is_of(name, routes));
        hosts.map(|(_, host)| Arc::clone(host)).collect()
    }

    /// Makes the route tables anew that an update of virtual hosts is about.
    pub(super) fn gather_virtual_hosts(&mut self, update: &Update) {
        let names = update.resources.iter().map(|resource| &resource.name).chain(&update.removed);
        let concerned: BTreeSet<&str> = names.map(|name| collection_of(name)).collect();
        for routes in concerned {
            let Some(record) = self.records.get(TypeUrl::ROUTE, routes) else { continue };
            let body = record.body.clone();
            if let Err(error) = self.route(&routes.into(), &body) {
                tracing::warn!(routes, %error, "its virtual hosts cannot be used; what served before goes on");
            }
        }
    }

    /// Whether a route configuration has all that it says to have, or there is nothing to wait for.
    pub(super) fn has_virtual_hosts(&self, routes: &str) -> bool {
        let discovers = self.routes.get(routes).is_some_and(|table| table.discovers);
        let mut known = self.virtual_hosts.range(first_of(routes)..);
        !discovers
            || known.next().is_some_and(|(name, _)| is_of(name, routes))
            || self.absent.contains(&(TypeUrl::VIRTUAL_HOST, routes.into()))
    }

    /// Drops the virtual hosts of route configurations that nobody refers to any more.
    pub(super) fn follow_virtual_hosts(&mut self) {
        let discovering = self.routes.iter().filter(|(_, table)| table.discovers);
        let wanted: BTreeSet<_> = discovering.map(|(name, _)| Arc::clone(name)).collect();
        if wanted == *self.wanted_virtual_hosts {
            return;
        }
        for routes in self.wanted_virtual_hosts.difference(&wanted) {
            self.absent.remove(&(TypeUrl::VIRTUAL_HOST, Arc::clone(routes)));
        }
        let records = &mut self.records;
        self.virtual_hosts.retain(|name, _| {
            let kept = wanted.contains(collection_of(name));
            if !kept {
                records.remove(TypeUrl::VIRTUAL_HOST, name);
            }
            kept
        });
        self.wanted_virtual_hosts = Arc::new(wanted);
    }

    /// A route configuration as it is in force: with the virtual hosts that came by themselves. Encoded.
    pub fn whole_routes(&self, name: &str, record: &Record) -> Vec<u8> {
        let hosts = self.virtual_hosts.range(first_of(name)..).take_while(|(host, _)| is_of(host, name));
        let records = hosts.filter_map(|(host, _)| self.records.get(TypeUrl::VIRTUAL_HOST, host));
        with_virtual_hosts(&record.body, records.map(|record| &*record.body))
    }
}

/// What no name of the collection precedes.
fn first_of(routes: &str) -> Arc<str> {
    format!("{routes}/").into()
}

fn is_of(name: &str, routes: &str) -> bool {
    name.strip_prefix(routes).is_some_and(|rest| rest.starts_with('/'))
}
