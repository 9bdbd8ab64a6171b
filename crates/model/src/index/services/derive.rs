//! What follows from the objects: which service a host means, and which endpoints it has.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{Dirty, ServiceIndex};
use crate::{
    endpoint::{Endpoint, EndpointAddress, Endpoints},
    host::Host,
    kubernetes::SliceEndpoint,
    map::{Map, Name, link, map},
    service::{Registry, Resolution, Service, ServiceKey, ServiceSource, TargetPort},
    service_entry::Entry,
    touched::{ObjectName, Touched},
    workload::{Locality, Workload, WorkloadKind, selects},
};

impl ServiceIndex {
    /// Derives again what changed, and says which hosts look different now.
    pub(crate) fn settle(&mut self, dirty: Dirty, default_export: &[String], touched: &mut Touched) {
        for host in dirty.hosts {
            self.settle_host(&host, default_export, touched);
        }
        for key in dirty.endpoints {
            self.settle_endpoints(&key, touched);
        }
    }

    fn settle_host(&mut self, host: &Host, default_export: &[String], touched: &mut Touched) {
        let services = self.declarations(host, default_export);
        let old = self.services.get(host).cloned().unwrap_or_else(|| Arc::from([]));
        for service in services.iter() {
            link(&mut self.hosts_of_namespace, Arc::clone(&service.namespace), host.clone());
        }
        for gone in old.iter().filter(|old| services.iter().all(|service| service.namespace != old.namespace))
        {
            self.undeclare(host, &gone.namespace);
            self.allocations.release(&gone.key());
        }
        if *old == *services {
            return;
        }
        touched.services.insert(host.clone());
        if services.is_empty() {
            self.services.remove_mut(host);
        } else {
            self.services.insert_mut(host.clone(), services);
        }
    }

    /// All declarations of a host in their order, several of one namespace's ServiceEntries made one.
    fn declarations(&mut self, host: &Host, default_export: &[String]) -> Arc<[Arc<Service>]> {
        let mut services: Vec<Service> = Vec::new();
        for entry in self.entries_of(host) {
            for mut service in
                entry.services(default_export).into_iter().filter(|service| service.host == *host)
            {
                if entry.wants_allocation() && !host.is_wildcard() {
                    service.allocated = self.allocations.allocate(&service.key()).map(IpAddr::V4);
                }
                services.push(service);
            }
        }
        services.extend(self.kubernetes_service(host).map(|service| Service::clone(service)));
        services.sort_by(Service::precedence);
        let mut merged: Vec<Service> = Vec::new();
        for service in services {
            match merged.iter_mut().find(|known| known.namespace == service.namespace) {
                None => merged.push(service),
                Some(known) => {
                    if known.registry == service.registry && known.resolution == service.resolution {
                        let more = service.ports.into_iter().filter(|port| known.port(port.number).is_none());
                        let more: Vec<_> = more.collect();
                        known.ports.extend(more);
                    }
                }
            }
        }
        merged.into_iter().map(Arc::new).collect()
    }

    fn entries_of(&self, host: &Host) -> Vec<Arc<Entry>> {
        let names = self.entries_of_host.get(host).into_iter().flat_map(Map::keys);
        names.filter_map(|name| self.entries.get(&name.namespace, &name.name)).cloned().collect()
    }

    fn kubernetes_service(&self, host: &Host) -> Option<&Arc<Service>> {
        let mut labels = host.as_str().splitn(3, '.');
        let (name, namespace) = (labels.next()?, labels.next()?);
        self.kubernetes.get(namespace, name).filter(|service| service.host == *host)
    }

    fn settle_endpoints(&mut self, key: &ServiceKey, touched: &mut Touched) {
        let declared = self
            .services
            .get(&key.host)
            .and_then(|services| services.iter().find(|service| service.namespace == key.namespace).cloned());
        let new = declared.as_deref().map(|service| Arc::new(self.endpoints_of(service)));
        let old = self.endpoints.get(key).cloned();
        if old == new {
            return;
        }
        let identities =
            |endpoints: &Option<Arc<Endpoints>>| endpoints.as_ref().map(|e| (e.identities(), all_meshed(e)));
        let inline = declared.as_deref().is_some_and(|service| service.resolution != Resolution::Static);
        // Clusters name the identities they accept, and those resolved by DNS hold their endpoints.
        if inline || identities(&old) != identities(&new) {
            touched.services.insert(key.host.clone());
        }
        touched.endpoints.insert(key.host.clone());
        match new {
            Some(endpoints) => self.endpoints.insert_mut(key.clone(), endpoints),
            None => {
                self.endpoints.remove_mut(key);
            }
        }
    }

    fn endpoints_of(&self, service: &Service) -> Endpoints {
        let mut endpoints = Endpoints::default();
        match (service.registry, &service.external_name) {
            (Registry::Kubernetes, Some(name)) => {
                for port in &service.ports {
                    endpoints.push(port.number, external_endpoint(service, name, port.number));
                }
            }
            (Registry::Kubernetes, None) => self.kubernetes_endpoints(service, &mut endpoints),
            (Registry::ServiceEntry, _) => self.entry_endpoints(service, &mut endpoints),
        }
        endpoints.sort();
        endpoints
    }

    fn kubernetes_endpoints(&self, service: &Service, endpoints: &mut Endpoints) {
        let object = ObjectName::new(Arc::clone(&service.namespace), Arc::clone(&service.name));
        let names = self.slices_of_service.get(&object).cloned().unwrap_or_else(map);
        for slice in names.keys().filter_map(|name| self.slices.get(&service.namespace, name)) {
            for endpoint in &slice.endpoints {
                let workload = self.workload_of(&service.namespace, endpoint);
                for port in &service.ports {
                    let numbers = slice.ports.iter().filter(|(name, _)| *name == port.name);
                    for (_, number) in numbers {
                        endpoints.push(
                            port.number,
                            Endpoint {
                                address: EndpointAddress::Ip(endpoint.address),
                                port: *number,
                                weight: 1,
                                workload: Arc::clone(&workload),
                                hostname: endpoint.hostname.clone(),
                            },
                        );
                    }
                }
            }
        }
        if service.selector.is_empty() {
            return;
        }
        for (_, entry) in self.workload_entries.of_namespace(&service.namespace) {
            if selects(&service.selector, &entry.workload.labels)
                && let Some(address) = &entry.address
            {
                for port in &service.ports {
                    let named = entry.ports.get(&port.name).and_then(|number| u16::try_from(*number).ok());
                    let target = match &port.target {
                        TargetPort::Number(number) => Some(*number),
                        TargetPort::Named(name) => entry.workload.ports.get(name).copied(),
                    };
                    let endpoint = Endpoint {
                        address: address.clone(),
                        port: named.or(target).unwrap_or(port.number),
                        weight: entry.weight,
                        workload: Arc::clone(&entry.workload),
                        hostname: None,
                    };
                    endpoints.push(port.number, endpoint);
                }
            }
        }
    }

    fn entry_endpoints(&self, service: &Service, endpoints: &mut Endpoints) {
        for entry in self.entries_of(&service.host) {
            if entry.meta.namespace != *service.namespace {
                continue;
            }
            for declared in entry.services(&[]).iter().filter(|declared| declared.host == service.host) {
                let pods = self.pods.of_namespace(&service.namespace).map(|(_, pod)| pod);
                let workload_entries =
                    self.workload_entries.of_namespace(&service.namespace).map(|(_, entry)| entry);
                for (port, endpoint) in entry.endpoints(declared, pods, workload_entries) {
                    endpoints.push(port, endpoint);
                }
            }
        }
    }

    /// The workload behind an endpoint; one that is no pod we know is described by what the slice says.
    fn workload_of(&self, namespace: &Name, endpoint: &SliceEndpoint) -> Arc<Workload> {
        if let Some(pod) = endpoint.pod.as_ref().and_then(|pod| self.pods.get(namespace, pod)) {
            return Arc::clone(pod);
        }
        let mut locality = self.nodes.get(&endpoint.node).cloned().unwrap_or_default();
        if locality.zone.is_empty() {
            locality.zone.clone_from(&endpoint.zone);
        }
        let name = endpoint.pod.clone().unwrap_or_else(|| Name::from(""));
        Arc::new(Workload {
            addresses: vec![endpoint.address],
            locality,
            node: Arc::clone(&endpoint.node),
            ..unknown_workload(namespace, name)
        })
    }

    /// The workload that has an address of its own.
    pub(crate) fn workload_at(&self, address: IpAddr) -> Option<&Arc<Workload>> {
        let object = self.by_address.get(&address)?;
        self.pods.get(&object.namespace, &object.name).or_else(|| {
            self.workload_entries.get(&object.namespace, &object.name).map(|entry| &entry.workload)
        })
    }

    /// The object that declares a service, for those that ask where a host comes from.
    pub(crate) fn sources(&self, host: &Host) -> Vec<ServiceSource> {
        self.services
            .get(host)
            .into_iter()
            .flat_map(|services| services.iter())
            .map(|service| service.source())
            .collect()
    }
}

/// Whether every endpoint accepts mutual TLS. With none there is nobody to speak it to.
pub(crate) fn all_meshed(endpoints: &Endpoints) -> bool {
    !endpoints.is_empty() && endpoints.iter().all(|(_, endpoint)| endpoint.workload.meshed)
}

fn unknown_workload(namespace: &Name, name: Name) -> Workload {
    Workload {
        namespace: Arc::clone(namespace),
        workload_name: Arc::clone(&name),
        name,
        kind: WorkloadKind::Entry,
        addresses: Vec::new(),
        labels: Arc::default(),
        annotations: Arc::default(),
        service_account: Name::from(""),
        locality: Locality::default(),
        node: Name::from(""),
        network: Name::from(""),
        meshed: false,
        host_network: false,
        ports: BTreeMap::new(),
    }
}

fn external_endpoint(service: &Service, name: &Host, port: u16) -> Endpoint {
    let address = EndpointAddress::parse(name.as_str());
    let workload = unknown_workload(&service.namespace, Arc::clone(&service.name));
    Endpoint { address, port, weight: 1, workload: Arc::new(workload), hostname: None }
}
