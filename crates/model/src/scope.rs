//! What one client sees of the mesh: `exportTo` of the objects, narrowed by the Sidecar that holds for it.

use std::{collections::BTreeSet, sync::Arc};

use mizzen_api::networking::{OutboundTrafficMode, Sidecar};

use crate::{
    destination_rule::DestinationRule, host::Host, index::attached::Declared, map::Name, service::Service,
    snapshot::Snapshot, virtual_service::VirtualService, workload::Labels,
};

/// The mesh as the clients of one namespace with certain labels see it.
#[derive(Clone, Debug)]
pub struct Scope {
    snapshot: Arc<Snapshot>,
    namespace: Name,
    labels: Arc<Labels>,
    sidecar: Option<Arc<Declared<Sidecar>>>,
    egress: Vec<Egress>,
    /// Hosts that imported rules lead to, and so are imported too.
    led_to: BTreeSet<Host>,
}

/// What an egress listener of a Sidecar imports.
#[derive(Clone, Debug)]
struct Egress {
    port: Option<u16>,
    hosts: Vec<(NamespacePattern, Host)>,
}

#[derive(Clone, Debug, PartialEq)]
enum NamespacePattern {
    Any,
    Nowhere,
    Only(Name),
}

impl NamespacePattern {
    fn parse(text: &str, own: &str) -> Self {
        match text {
            "*" => Self::Any,
            "~" => Self::Nowhere,
            "." => Self::Only(own.into()),
            other => Self::Only(other.into()),
        }
    }

    fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Nowhere => false,
            Self::Only(only) => **only == *namespace,
        }
    }
}

impl Egress {
    fn imports(&self, namespace: &str, host: &Host) -> bool {
        self.hosts.iter().any(|(pattern, wanted)| pattern.includes(namespace) && wanted.overlaps(host))
    }
}

impl Scope {
    /// What a sidecar sees.
    pub fn of_sidecar(snapshot: &Arc<Snapshot>, namespace: &str, labels: &Arc<Labels>) -> Self {
        let sidecar = snapshot.sidecar(namespace, labels);
        let egress = sidecar.as_deref().map(|sidecar| egress(sidecar, namespace)).unwrap_or_default();
        let mut scope = Self {
            snapshot: Arc::clone(snapshot),
            namespace: namespace.into(),
            labels: Arc::clone(labels),
            sidecar,
            egress,
            led_to: BTreeSet::new(),
        };
        if !scope.egress.is_empty() {
            let rules =
                snapshot.mesh_route_hosts(namespace).filter(|(host, rule)| scope.imports_rule(host, rule));
            scope.led_to = rules.flat_map(|(_, rule)| rule.destinations()).collect();
        }
        scope
    }

    /// What a gateway sees: Sidecars do not hold for it.
    pub fn of_gateway(snapshot: &Arc<Snapshot>, namespace: &str, labels: &Arc<Labels>) -> Self {
        Self {
            snapshot: Arc::clone(snapshot),
            namespace: namespace.into(),
            labels: Arc::clone(labels),
            sidecar: None,
            egress: Vec::new(),
            led_to: BTreeSet::new(),
        }
    }

    /// The mesh.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The namespace of the clients.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The labels of the clients.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The Sidecar that holds for them.
    pub fn sidecar(&self) -> Option<&Arc<Declared<Sidecar>>> {
        self.sidecar.as_ref()
    }

    /// Whether everything that is exported here is seen.
    pub fn is_unrestricted(&self) -> bool {
        self.egress.is_empty()
    }

    /// Whether connections to hosts nobody knows are let through.
    pub fn allows_any(&self) -> bool {
        let policy = self.sidecar.as_ref().and_then(|sidecar| sidecar.spec.outbound_traffic_policy.as_ref());
        match policy {
            Some(policy) => policy.mode.unwrap_or_default() == OutboundTrafficMode::AllowAny,
            None => self.snapshot.mesh().allows_any(),
        }
    }

    /// The service clients mean by a host, if they see it.
    pub fn service(&self, host: &Host) -> Option<&Arc<Service>> {
        self.snapshot.service(host, &self.namespace).filter(|service| self.imports(service))
    }

    /// All services clients see, by host.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.snapshot.hosts().filter_map(|(host, _)| self.service(host))
    }

    /// Whether clients see a service on one of its ports.
    pub fn sees_port(&self, service: &Service, port: u16) -> bool {
        if self.egress.is_empty() || self.led_to.contains(&service.host) {
            return true;
        }
        let imports = |egress: &Egress| egress.imports(&service.namespace, &service.host);
        let mut own = self.egress.iter().filter(|egress| egress.port == Some(port)).peekable();
        if own.peek().is_some() {
            own.any(imports)
        } else {
            self.egress.iter().filter(|egress| egress.port.is_none()).any(imports)
        }
    }

    fn imports(&self, service: &Service) -> bool {
        self.egress.is_empty()
            || self.led_to.contains(&service.host)
            || self.egress.iter().any(|egress| egress.imports(&service.namespace, &service.host))
    }

    fn imports_rule(&self, host: &Host, rule: &VirtualService) -> bool {
        self.egress.is_empty() || self.egress.iter().any(|egress| egress.imports(&rule.namespace, host))
    }

    /// The one VirtualService that applies to a host: of the most specific host named by a visible rule,
    /// the rule that counts first.
    pub fn virtual_service(&self, host: &Host) -> Option<Arc<VirtualService>> {
        let rules = self.snapshot.mesh_routes(host, &self.namespace);
        rules.into_iter().find(|(host, rule)| self.imports_rule(host, rule)).map(|(_, rule)| rule)
    }

    /// All hosts and wildcards that have a VirtualService here, with the one that applies.
    pub fn virtual_services(&self) -> impl Iterator<Item = (&Host, &Arc<VirtualService>)> {
        self.snapshot.mesh_route_hosts(&self.namespace).filter(|(host, rule)| self.imports_rule(host, rule))
    }

    /// Of these the one for exactly this host or wildcard; what holds for it by a wider wildcard is not its own.
    pub fn own_virtual_service(&self, host: &Host) -> Option<Arc<VirtualService>> {
        let rules = self.snapshot.mesh_routes(host, &self.namespace);
        let own = rules.into_iter().find(|(named, _)| named == host).map(|(_, rule)| rule);
        own.filter(|rule| self.imports_rule(host, rule))
    }

    /// The DestinationRule that applies to a service.
    pub fn destination_rule(&self, service: &Service) -> Option<&Arc<DestinationRule>> {
        self.snapshot.destination_rule(service, &self.namespace, &self.labels)
    }
}

fn egress(sidecar: &Declared<Sidecar>, namespace: &str) -> Vec<Egress> {
    let listeners = sidecar.spec.egress.iter().map(|listener| Egress {
        port: listener.port.as_ref().and_then(|port| u16::try_from(port.number).ok()),
        hosts: listener
            .hosts
            .iter()
            .filter_map(|host| host.split_once('/'))
            .map(|(pattern, host)| (NamespacePattern::parse(pattern, namespace), Host::new(host)))
            .collect(),
    });
    listeners.collect()
}
