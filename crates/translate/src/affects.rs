//! What a change means for a proxy: which of its resources are to be made again.

use std::{collections::BTreeSet, sync::Arc};

use mizzen_model::{Host, Snapshot, Touched, VirtualService};
use mizzen_xds::TypeUrl;

use crate::{NAME_TABLE, context::Context, listener, name};

/// Which resources of one type may look different now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affected {
    /// None.
    Nothing,
    /// Those of these hosts: clusters and endpoints. Ask [`crate::of_hosts`], and compare with what was sent
    /// before for the same hosts.
    Hosts(BTreeSet<Host>),
    /// Those with these names.
    Names(BTreeSet<String>),
    /// Any.
    Everything,
}

impl Affected {
    /// Whether there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

/// Which resources of `type_url` a change may affect, as the proxy sees it now. `before` is the mesh that its
/// resources were last made of.
pub fn affected(touched: &Touched, before: &Snapshot, context: &Context<'_>, type_url: TypeUrl) -> Affected {
    if touched.mesh {
        return Affected::Everything;
    }
    let change = Change { touched, before, context };
    match type_url {
        TypeUrl::CLUSTER => change.clusters(),
        TypeUrl::ENDPOINT => change.endpoints(),
        TypeUrl::LISTENER => change.listeners(),
        TypeUrl::ROUTE => change.routes(),
        TypeUrl::VIRTUAL_HOST => change.virtual_hosts(),
        TypeUrl::SECRET => change.secrets(),
        other if other == NAME_TABLE => change.name_table(),
        _ => Affected::Nothing,
    }
}

struct Change<'a> {
    touched: &'a Touched,
    before: &'a Snapshot,
    context: &'a Context<'a>,
}

impl Change<'_> {
    /// Whether what the proxy is or sees as a whole changed: its labels, or the Sidecar that holds for it.
    fn view(&self) -> bool {
        let proxy = self.context.proxy;
        let itself = self
            .touched
            .workloads
            .iter()
            .any(|workload| *workload.namespace == *proxy.namespace && *workload.name == *proxy.name);
        itself || (!proxy.is_router() && self.concerns(&self.touched.sidecars))
    }

    /// Whether a namespace of the proxy's policies is among `namespaces`.
    fn concerns(&self, namespaces: &BTreeSet<mizzen_model::map::Name>) -> bool {
        let root = self.context.snapshot().root_namespace();
        namespaces
            .iter()
            .any(|namespace| **namespace == *root || **namespace == *self.context.proxy.namespace)
    }

    /// Hosts of services, rules of which changed. A rule for a wildcard concerns all services it matches.
    fn ruled(&self) -> BTreeSet<Host> {
        let mut hosts = BTreeSet::new();
        for pattern in &self.touched.destination_rules {
            if pattern.is_wildcard() {
                let services = self.context.scope.services().map(|service| &service.host);
                hosts.extend(services.filter(|host| pattern.covers(host)).cloned());
            } else {
                hosts.insert(pattern.clone());
            }
        }
        hosts
    }

    fn some(hosts: BTreeSet<Host>) -> Affected {
        if hosts.is_empty() { Affected::Nothing } else { Affected::Hosts(hosts) }
    }

    /// The hosts and wildcards whose VirtualServices are others for clients of the proxy's namespace, with
    /// those they had and those they have. A rule that is not exported to the namespace is none of these.
    fn rerouted(&self) -> impl Iterator<Item = (&Host, Vec<Arc<VirtualService>>)> {
        let rules = |snapshot: &Snapshot, host: &Host| -> Vec<Arc<VirtualService>> {
            let routes = snapshot.mesh_routes(host, &self.context.proxy.namespace);
            routes.into_iter().map(|(_, rule)| rule).collect()
        };
        self.touched.virtual_services.iter().filter_map(move |host| {
            let (mut old, new) = (rules(self.before, host), rules(self.context.snapshot(), host));
            let same = old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| Arc::ptr_eq(old, new));
            old.extend(new);
            (!same).then_some((host, old))
        })
    }

    /// Whether a scope narrowed by a Sidecar may have gained or lost hosts with a rule.
    fn led_elsewhere(&self) -> bool {
        !self.context.scope.is_unrestricted() && self.rerouted().next().is_some()
    }

    /// Whether rules for connections that are not HTTP changed: those are in the listeners.
    fn connections_rerouted(&self) -> bool {
        let mut rules = self.rerouted().flat_map(|(_, rules)| rules);
        rules.any(|rule| !rule.tcp.is_empty() || !rule.tls.is_empty())
    }

    fn clusters(&self) -> Affected {
        if self.view() || self.led_elsewhere() {
            return Affected::Everything;
        }
        let mut hosts = self.ruled();
        hosts.extend(self.touched.services.iter().cloned());
        Self::some(hosts)
    }

    fn endpoints(&self) -> Affected {
        if self.view() || self.led_elsewhere() {
            return Affected::Everything;
        }
        let mut hosts = self.ruled();
        hosts.extend(self.touched.services.iter().cloned());
        hosts.extend(self.touched.endpoints.iter().cloned());
        for namespace in &self.touched.peer_authentications {
            if **namespace == *self.context.snapshot().root_namespace() {
                return Affected::Everything;
            }
            let declared = self.context.scope.services().filter(|service| service.namespace == *namespace);
            hosts.extend(declared.map(|service| service.host.clone()));
        }
        Self::some(hosts)
    }

    fn listeners(&self) -> Affected {
        let touched = self.touched;
        let mut changed = self.view()
            || self.concerns(&touched.authorization_policies)
            || self.concerns(&touched.telemetries);
        if self.context.proxy.is_router() {
            changed |= self.gateway_touched();
        } else {
            changed |= self.concerns(&touched.peer_authentications);
            changed |= touched.services.iter().any(|host| self.sees_or_saw(host));
            changed |= self.connections_rerouted() || !touched.destination_rules.is_empty();
        }
        if changed { Affected::Everything } else { Affected::Nothing }
    }

    fn gateway_touched(&self) -> bool {
        let touched = self.touched;
        let own = self.context.snapshot().gateways_of(&self.context.labels);
        let known = own.iter().any(|gateway| touched.gateways.contains(&gateway.object_name()));
        // One that is gone, or no longer selects the proxy, cannot be told from one that never did.
        let gone = touched.gateways.iter().any(|name| {
            self.context.snapshot().gateway(&name.namespace, &name.name).is_none_or(|gateway| {
                !mizzen_model::workload::selects(&gateway.spec.selector, &self.context.labels)
            })
        });
        let ports = touched.services.iter().any(|host| {
            let declared = self.context.snapshot().declarations(host);
            declared.is_empty()
                || declared.iter().any(|service| *service.namespace == *self.context.proxy.namespace)
        });
        known || gone || ports
    }

    /// Whether the proxy sees a host, or may have seen it before it went.
    fn sees_or_saw(&self, host: &Host) -> bool {
        self.context.scope.service(host).is_some()
            || self.context.snapshot().declarations(host).is_empty()
            || self.context.scope.is_unrestricted()
    }

    fn routes(&self) -> Affected {
        let touched = self.touched;
        if self.view() || self.led_elsewhere() {
            return Affected::Everything;
        }
        if self.context.proxy.is_router() {
            if self.gateway_touched() {
                return Affected::Everything;
            }
            // Which port a destination without one means, and how it hashes, follow from services and rules.
            let any = !touched.services.is_empty() || !touched.destination_rules.is_empty();
            let affected = any && !listener::gateway::servers(self.context).is_empty();
            return if affected { Affected::Everything } else { Affected::Nothing };
        }
        let mut names = BTreeSet::new();
        let mut hosts = self.ruled();
        hosts.extend(touched.services.iter().cloned());
        for host in &hosts {
            match self.context.scope.service(host) {
                Some(service) => names.extend(route_names(service)),
                // Gone: any of the routes may have had it.
                None => return Affected::Everything,
            }
        }
        for (host, _) in self.rerouted() {
            names.insert("80".to_owned());
            if host.is_wildcard() {
                let services = self.context.scope.services().filter(|service| host.covers(&service.host));
                names.extend(services.flat_map(|service| route_names(service)));
            } else if let Some(service) = self.context.scope.service(host) {
                names.extend(route_names(service));
            }
        }
        // Routes of other hosts that lead to a touched service may mean its only port, or hash by its rule.
        // No host is touched by most changes, and rules are many.
        let others = (!hosts.is_empty()).then(|| self.context.scope.virtual_services());
        for (host, rules) in others.into_iter().flatten() {
            if rules.destinations().any(|destination| hosts.contains(&destination)) {
                names.insert("80".to_owned());
                if let Some(service) = self.context.scope.service(host) {
                    names.extend(route_names(service));
                }
            }
        }
        if self.context.proxy.virtual_host_discovery {
            // Those of a port have their virtual hosts beside them, and never change themselves.
            names.retain(|name| name.contains(':'));
        }
        if names.is_empty() { Affected::Nothing } else { Affected::Names(names) }
    }

    fn virtual_hosts(&self) -> Affected {
        if self.context.proxy.is_router() || !self.context.proxy.virtual_host_discovery {
            return Affected::Nothing;
        }
        if self.view() || self.led_elsewhere() {
            return Affected::Everything;
        }
        let mut led_to = self.ruled();
        led_to.extend(self.touched.services.iter().cloned());
        let mut hosts = led_to.clone();
        for (host, _) in self.rerouted() {
            hosts.insert(host.clone());
            if host.is_wildcard() {
                let services = self.context.scope.services().map(|service| &service.host);
                hosts.extend(services.filter(|service| host.covers(service)).cloned());
            }
        }
        // Routes of other hosts that lead to a touched service may mean its only port, or hash by its rule;
        // and a rule for a wildcard is one for unknown hosts while no service is below it.
        let others = (!led_to.is_empty()).then(|| self.context.scope.virtual_services());
        for (host, rules) in others.into_iter().flatten() {
            let covers = host.is_wildcard() && led_to.iter().any(|service| host.covers(service));
            if covers || rules.destinations().any(|destination| led_to.contains(&destination)) {
                hosts.insert(host.clone());
            }
        }
        Self::some(hosts)
    }

    fn secrets(&self) -> Affected {
        if !self.context.proxy.is_router() {
            return Affected::Nothing;
        }
        if self.view() || !self.touched.gateways.is_empty() {
            return Affected::Everything;
        }
        let own =
            self.touched.secrets.iter().filter(|secret| *secret.namespace == *self.context.proxy.namespace);
        // A Secret may also be the source of the authorities asked for by its name with a suffix.
        let names: BTreeSet<String> = own
            .flat_map(|secret| {
                [format!("kubernetes://{}", secret.name), format!("kubernetes://{}-cacert", secret.name)]
            })
            .collect();
        if names.is_empty() { Affected::Nothing } else { Affected::Names(names) }
    }

    fn name_table(&self) -> Affected {
        if self.context.proxy.is_router() {
            return Affected::Nothing;
        }
        let changed = self.view() || self.led_elsewhere() || !self.touched.services.is_empty();
        if changed { Affected::Everything } else { Affected::Nothing }
    }
}

fn route_names(service: &mizzen_model::Service) -> Vec<String> {
    service
        .ports
        .iter()
        .filter_map(|port| {
            if port.protocol.is_http() {
                Some(port.number.to_string())
            } else if port.protocol.is_sniffed() {
                Some(format!("{}:{}", service.host, port.number))
            } else {
                None
            }
        })
        .collect()
}

/// The host that the name of a cluster, its endpoints or a virtual host is about.
pub fn host_of(resource_name: &str) -> Option<Host> {
    match name::parse_outbound_cluster(resource_name) {
        Some((_, _, host)) => Some(host),
        None => resource_name.split_once('/').map(|(_, host)| Host::new(host)),
    }
}

#[cfg(test)]
#[path = "affects_tests.rs"]
mod tests;
