//! The mesh at one moment, immutable, with answers to what proxies need to know of it.

use std::{net::IpAddr, sync::Arc};

use mizzen_api::{
    Config, Kind, Violation,
    networking::{Gateway, Sidecar},
    security::{AuthorizationPolicy, RequestAuthentication},
};

use crate::{
    destination_rule::DestinationRule,
    endpoint::Endpoints,
    host::Host,
    index::{
        attached::{Attached, Declared, Gateways},
        routes::RouteIndex,
        rules::RuleIndex,
        services::{ServiceIndex, all_meshed},
    },
    map::{Map, Name, Namespaced, map},
    mesh::MeshConfig,
    object::ObjectRef,
    secret::Secret,
    service::{Registry, Service, ServiceKey, ServiceSource},
    touched::ObjectName,
    virtual_service::VirtualService,
    workload::{Labels, Namespace, Workload, selects},
};

/// The mesh at one moment. Cloning shares everything.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) revision: u64,
    pub(crate) domain: Name,
    pub(crate) mesh: Arc<MeshConfig>,
    pub(crate) configs: Map<Kind, Namespaced<Arc<Config>>>,
    pub(crate) namespaces: Map<Name, Arc<Namespace>>,
    pub(crate) secrets: Namespaced<Arc<Secret>>,
    pub(crate) services: ServiceIndex,
    pub(crate) routes: RouteIndex,
    pub(crate) rules: RuleIndex,
    pub(crate) gateways: Gateways,
    pub(crate) sidecars: Attached<Sidecar>,
    pub(crate) peer_authentications: Attached<mizzen_api::security::PeerAuthentication>,
    pub(crate) request_authentications: Attached<RequestAuthentication>,
    pub(crate) authorization_policies: Attached<AuthorizationPolicy>,
    pub(crate) telemetries: Attached<mizzen_api::telemetry::Telemetry>,
    pub(crate) quarantined: Map<ObjectRef, Arc<[Violation]>>,
}

impl Snapshot {
    pub(crate) fn empty(domain: &str) -> Self {
        Self {
            revision: 0,
            domain: domain.into(),
            mesh: Arc::default(),
            configs: map(),
            namespaces: map(),
            secrets: Namespaced::default(),
            services: ServiceIndex::default(),
            routes: RouteIndex::default(),
            rules: RuleIndex::default(),
            gateways: Gateways::default(),
            sidecars: Attached::default(),
            peer_authentications: Attached::default(),
            request_authentications: Attached::default(),
            authorization_policies: Attached::default(),
            telemetries: Attached::default(),
            quarantined: map(),
        }
    }

    /// Counts the batches of changes that led here.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The cluster's DNS domain, `cluster.local`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The settings of the mesh.
    pub fn mesh(&self) -> &MeshConfig {
        &self.mesh
    }

    /// The namespace whose policies hold for all: `istio-system`.
    pub fn root_namespace(&self) -> &str {
        &self.mesh.root_namespace
    }

    /// The objects that are left out because they are not valid, with what is wrong with them.
    pub fn quarantined(&self) -> impl Iterator<Item = (&ObjectRef, &[Violation])> {
        self.quarantined.iter().map(|(object, violations)| (object, &**violations))
    }

    // === objects ===

    /// One of Istio's resources, as it was declared, quarantined ones included.
    pub fn config(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Config>> {
        self.configs.get(&kind)?.get(namespace, name)
    }

    /// All resources of a kind, quarantined ones included.
    pub fn configs(&self, kind: Kind) -> impl Iterator<Item = &Arc<Config>> {
        self.configs.get(&kind).into_iter().flat_map(|configs| configs.iter().map(|(_, _, config)| config))
    }

    /// A namespace.
    pub fn namespace(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.get(name)
    }

    /// All namespaces, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.namespaces.values()
    }

    /// A secret.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<Secret>> {
        self.secrets.get(namespace, name)
    }

    // === workloads ===

    /// A pod.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Arc<Workload>> {
        self.services.pods.get(namespace, name)
    }

    /// All pods.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.services.pods.iter().map(|(_, _, pod)| pod)
    }

    /// The pods of a namespace.
    pub fn pods_of_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<Workload>> {
        self.services.pods.of_namespace(namespace).map(|(_, pod)| pod)
    }

    /// What a WorkloadEntry describes.
    pub fn workload_entry(&self, namespace: &str, name: &str) -> Option<&Arc<Workload>> {
        self.services.workload_entries.get(namespace, name).map(|entry| &entry.workload)
    }

    /// The pod or WorkloadEntry that has an address.
    pub fn workload_at(&self, address: IpAddr) -> Option<&Arc<Workload>> {
        self.services.workload_at(address)
    }

    // === services ===

    /// Every declaration of a host, the one that counts first.
    pub fn declarations(&self, host: &Host) -> &[Arc<Service>] {
        self.services.services.get(host).map_or(&[], |services| services)
    }

    /// All hosts with their declarations.
    pub fn hosts(&self) -> impl Iterator<Item = (&Host, &[Arc<Service>])> {
        self.services.services.iter().map(|(host, services)| (host, &**services))
    }

    /// The service clients of a namespace mean by a host: their own namespace's before others', and only
    /// what is exported to them.
    pub fn service(&self, host: &Host, client_namespace: &str) -> Option<&Arc<Service>> {
        let visible =
            || self.declarations(host).iter().filter(|service| service.visibility.includes(client_namespace));
        visible().find(|service| *service.namespace == *client_namespace).or_else(|| visible().next())
    }

    /// The service a host or address name leads to, the most specific wildcard where none is exact.
    pub fn service_matching(&self, host: &Host, client_namespace: &str) -> Option<&Arc<Service>> {
        self.service(host, client_namespace).or_else(|| {
            let text = host.as_str();
            text.match_indices('.').find_map(|(index, _)| {
                let wildcard = Host::new(&format!("*{}", text.get(index..)?));
                self.service(&wildcard, client_namespace)
            })
        })
    }

    /// The endpoints of a service.
    pub fn endpoints(&self, key: &ServiceKey) -> Option<&Arc<Endpoints>> {
        self.services.endpoints.get(key)
    }

    /// Whether every endpoint of a service accepts mutual TLS.
    pub fn is_meshed(&self, key: &ServiceKey) -> bool {
        self.endpoints(key).is_some_and(|endpoints| all_meshed(endpoints))
    }

    /// The services a workload is part of, by selector, the oldest first.
    pub fn services_of_workload(&self, namespace: &str, labels: &Labels) -> Vec<Arc<Service>> {
        let hosts = self.services.hosts_of_namespace.get(namespace).into_iter().flat_map(Map::keys);
        let declared =
            hosts.flat_map(|host| self.declarations(host)).filter(|service| *service.namespace == *namespace);
        let mut found: Vec<_> = declared
            .filter(|service| !service.selector.is_empty() && selects(&service.selector, labels))
            .cloned()
            .collect();
        found.sort_by(|a, b| a.precedence(b));
        found
    }

    /// The objects that declare a host.
    pub fn sources(&self, host: &Host) -> Vec<ServiceSource> {
        self.services.sources(host)
    }

    /// The Kubernetes Service of a name.
    pub fn kubernetes_service(&self, namespace: &str, name: &str) -> Option<&Arc<Service>> {
        let host = Host::new(&format!("{name}.{namespace}.svc.{}", self.domain));
        self.declarations(&host).iter().find(|service| service.registry == Registry::Kubernetes)
    }

    // === rules ===

    /// All VirtualServices that have hosts, completed.
    pub fn virtual_services(&self) -> impl Iterator<Item = &Arc<VirtualService>> {
        self.routes.all.iter().map(|(_, _, rule)| rule)
    }

    /// One VirtualService, completed; nothing for delegates.
    pub fn virtual_service(&self, namespace: &str, name: &str) -> Option<&Arc<VirtualService>> {
        self.routes.all.get(namespace, name)
    }

    /// The VirtualServices that apply to a host in sidecars of a namespace, with the most specific host
    /// they name, the one that counts first. Sidecars apply only the first.
    pub fn mesh_routes(&self, host: &Host, client_namespace: &str) -> Vec<(Host, Arc<VirtualService>)> {
        let matching = self.routes.mesh.matches(host.as_str());
        matching
            .flat_map(|(pattern, _)| {
                self.routes
                    .rules(pattern, client_namespace)
                    .into_iter()
                    .map(|rule| (pattern.clone(), Arc::clone(rule)))
            })
            .collect()
    }

    /// Whether a VirtualService for sidecars, whoever sees it, leads connections to a host that are not HTTP.
    pub fn routes_connections(&self, host: &Host) -> bool {
        let rules = self.routes.mesh.get(host.as_str()).into_iter().flat_map(|rules| rules.iter());
        rules.into_iter().any(|rule| !rule.tcp.is_empty() || !rule.tls.is_empty())
    }

    /// Every host or wildcard that has a VirtualService for sidecars of a namespace, with the one that counts.
    pub fn mesh_route_hosts<'a>(
        &'a self,
        client_namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Host, &'a Arc<VirtualService>)> {
        self.routes.mesh.iter().filter_map(move |(host, _)| {
            self.routes.rules(host, client_namespace).into_iter().next().map(|rule| (host, rule))
        })
    }

    /// The VirtualServices bound to a Gateway, the oldest first.
    pub fn gateway_routes(&self, gateway: &ObjectName) -> &[Arc<VirtualService>] {
        self.routes.gateways.get(gateway).map_or(&[], |rules| rules)
    }

    /// The DestinationRule for a service as seen by a client.
    pub fn destination_rule(
        &self,
        service: &Service,
        client_namespace: &str,
        client_labels: &Labels,
    ) -> Option<&Arc<DestinationRule>> {
        let client = (client_namespace, client_labels);
        self.rules.applicable(service.host.as_str(), &service.namespace, self.root_namespace(), client)
    }

    /// All DestinationRules, several of one namespace for one host made one.
    pub fn destination_rules(&self) -> impl Iterator<Item = &Arc<DestinationRule>> {
        self.rules.iter()
    }

    /// Whether what a client sees depends on its labels besides its namespace.
    pub fn depends_on_client_labels(&self) -> bool {
        self.routes.by_source_labels > 0 || self.rules.by_client > 0 || self.rules.by_failover_priority > 0
    }

    /// Whether what a client sees depends on the node it runs on, or on its labels as far as endpoints are
    /// preferred by them.
    pub fn depends_on_client_node(&self) -> bool {
        self.rules.by_failover_priority > 0 || self.services.by_distribution > 0
    }

    /// A Gateway.
    pub fn gateway(&self, namespace: &str, name: &str) -> Option<&Arc<Declared<Gateway>>> {
        self.gateways.objects.get(namespace, name)
    }

    /// All Gateways.
    pub fn gateways(&self) -> impl Iterator<Item = &Arc<Declared<Gateway>>> {
        self.gateways.objects.iter().map(|(_, _, gateway)| gateway)
    }

    // === policies ===

    /// The Sidecar that holds for a workload.
    pub fn sidecar(&self, namespace: &str, labels: &Labels) -> Option<Arc<Declared<Sidecar>>> {
        self.sidecars.narrowest(self.root_namespace(), namespace, labels)
    }

    /// The AuthorizationPolicies that hold for a workload, those of the root first.
    pub fn authorization_policies(
        &self,
        namespace: &str,
        labels: &Labels,
    ) -> Vec<Arc<Declared<AuthorizationPolicy>>> {
        self.authorization_policies.of_workload(self.root_namespace(), namespace, labels)
    }

    /// The RequestAuthentications that hold for a workload, those of the root first.
    pub fn request_authentications(
        &self,
        namespace: &str,
        labels: &Labels,
    ) -> Vec<Arc<Declared<RequestAuthentication>>> {
        self.request_authentications.of_workload(self.root_namespace(), namespace, labels)
    }
}
