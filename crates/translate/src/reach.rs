//! Whose own resources a change can concern at all: found once for a change, so that thousands of workloads
//! are not looked at one by one for each endpoint that comes or goes.

use std::collections::BTreeSet;

use mizzen_model::{Snapshot, Touched, map::Name};

use crate::Proxy;

/// Whose listeners, own ports and secrets can be others after a change. Says too much at times, never too
/// little: [`crate::affected`] tells exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Those of every sidecar.
    sidecars: bool,
    /// Those of the sidecars of these namespaces.
    namespaces: BTreeSet<Name>,
    /// Those of gateways.
    routers: bool,
}

impl Reach {
    /// Of a change since `before`.
    pub fn of(touched: &Touched, before: &Snapshot, snapshot: &Snapshot) -> Self {
        let mut namespaces: BTreeSet<Name> = BTreeSet::new();
        for touched in [
            &touched.sidecars,
            &touched.peer_authentications,
            &touched.authorization_policies,
            &touched.request_authentications,
            &touched.telemetries,
            &touched.namespaces,
        ] {
            namespaces.extend(touched.iter().cloned());
        }
        namespaces.extend(touched.workloads.iter().map(|workload| workload.namespace.clone()));
        let connections = || {
            let mut hosts = touched.virtual_services.iter();
            hosts.any(|host| before.routes_connections(host) || snapshot.routes_connections(host))
        };
        Self {
            sidecars: touched.mesh
                || !touched.services.is_empty()
                || !touched.destination_rules.is_empty()
                || namespaces.iter().any(|namespace| **namespace == *snapshot.root_namespace())
                || connections(),
            routers: *touched != Touched { endpoints: touched.endpoints.clone(), ..Touched::default() },
            namespaces,
        }
    }

    /// Whether the proxy's own resources are among them.
    pub fn includes(&self, proxy: &Proxy) -> bool {
        match proxy.is_router() {
            true => self.routers,
            false => self.sidecars || self.namespaces.contains(&proxy.namespace),
        }
    }
}
