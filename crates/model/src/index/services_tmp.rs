//! Services, endpoints and workloads, joined as objects come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    allocate::Allocations,
    endpoint::{Endpoint, EndpointAddress, Endpoints},
    host::Host,
    kubernetes::{Slice, SliceEndpoint},
    map::{Map, Name, Namespaced, link, map, unlink},
    service::{Registry, Resolution, Service, ServiceKey, ServiceSource},
    service_entry::{Entry, WorkloadEndpoint},
    touched::{ObjectName, Touched},
    visibility::Visibility,
    workload::{Locality, Workload, WorkloadKind, selects},
};

/// Hosts, what is behind them, and who runs it.
#[derive(Clone, Debug)]
pub(crate) struct ServiceIndex {
    /// Every declaration of a host, the one that counts first.
    pub(crate) services: Map<Host, Arc<[Arc<Service>]>>,
    pub(crate) endpoints: Map<ServiceKey, Arc<Endpoints>>,
    /// Hosts by the namespace that declares them.
    pub(crate) hosts_of_namespace: Map<Name, Map<Host, ()>>,
    pub(crate) nodes: Map<Name, Locality>,
    pub(crate) pods: Namespaced<Arc<Workload>>,
    pub(crate) workload_entries: Namespaced<Arc<WorkloadEndpoint>>,
    /// How many Kubernetes Services prefer near endpoints, the client's own node included.
    pub(crate) by_distribution: usize,
    by_address: Map<IpAddr, ObjectName>,
    kubernetes: Namespaced<Arc<Service>>,
    entries: Namespaced<Arc<Entry>>,
    /// Names of ServiceEntries by host.
    entries_of_host: Map<Host, Map<ObjectName, ()>>,
    /// ServiceEntries that select workloads.
    selecting: Namespaced<Arc<Entry>>,
    /// Slices by namespace and name of their own.
    slices: Namespaced<Arc<Slice>>,
    /// Names of slices by service.
    slices_of_service: Map<ObjectName, Map<Name, ()>>,
    /// Names of slices by pod.
    slices_of_pod: Map<ObjectName, Map<Name, ()>>,
    allocations: Allocations,
}

impl Default for ServiceIndex {
    fn default() -> Self {
        Self {
            services: map(),
            endpoints: map(),
            hosts_of_namespace: map(),
            nodes: map(),
            pods: Namespaced::default(),
            workload_entries: Namespaced::default(),
            by_distribution: 0,
            by_address: map(),
            kubernetes: Namespaced::default(),
            entries: Namespaced::default(),
            entries_of_host: map(),
            selecting: Namespaced::default(),
            slices: Namespaced::default(),
            slices_of_service: map(),
            slices_of_pod: map(),
            allocations: Allocations::default(),
        }
    }
}

/// What has to be derived again once all changes of a batch are in.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    hosts: BTreeSet<Host>,
    endpoints: BTreeSet<ServiceKey>,
}

// === what happened to an object ===

impl ServiceIndex {
    /// A Kubernetes Service came, changed or went.
    pub(crate) fn set_service(
        &mut self,
        namespace: &str,
        name: &str,
        service: Option<Service>,
        dirty: &mut Dirty,
    ) {
        let old = self.kubernetes.get(namespace, name).cloned();
        if old.as_deref() == service.as_ref() {
            return;
        }
        for host in old.iter().map(|service| &service.host).chain(service.iter().map(|service| &service.host))
        {
            dirty.host(host, namespace);
        }
        let distributes = |service: &Service| usize::from(service.traffic_distribution.is_some());
        self.by_distribution -= old.as_deref().map_or(0, distributes);
        self.by_distribution += service.as_ref().map_or(0, distributes);
        match service {
            Some(service) => self.kubernetes.insert(namespace, name, Arc::new(service)),
            None => {
                self.kubernetes.remove(namespace, name);
            }
        }
    }

    /// A ServiceEntry came, changed or went.
    pub(crate) fn set_entry(&mut self, namespace: &str, name: &str, entry: Option<Entry>, dirty: &mut Dirty) {
        let old = self.entries.remove(namespace, name);
        self.selecting.remove(namespace, name);
        for host in old
            .iter()
            .flat_map(|entry| &entry.spec.hosts)
            .chain(entry.iter().flat_map(|entry| &entry.spec.hosts))
        {
            dirty.host(&Host::new(host), namespace);
        }
        let object = ObjectName::new(namespace, name);
        for host in old.iter().flat_map(|entry| &entry.spec.hosts) {
            unlink::<_, _, Host>(&mut self.entries_of_host, &Host::new(host), &object);
        }
        if let Some(entry) = entry.map(Arc::new) {
            for host in &entry.spec.hosts {
                link(&mut self.entries_of_host, Host::new(host), object.clone());
            }
            if entry.spec.workload_selector.is_some() {
                self.selecting.insert(namespace, name, Arc::clone(&entry));
            }
            self.entries.insert(namespace, name, entry);
        }
    }

    fn undeclare(&mut self, host: &Host, namespace: &str) {
        unlink::<Name, Host, Name>(&mut self.hosts_of_namespace, &Name::from(namespace), host);
    }

    /// A pod came, changed or went.
    pub(crate) fn set_pod(
        &mut self,
        namespace: &str,
        name: &str,
        pod: Option<Workload>,
        dirty: &mut Dirty,
        touched: &mut Touched,
    ) {
        let old = self.pods.get(namespace, name).cloned();
        if old.as_deref() == pod.as_ref() {
            return;
        }
        let object = ObjectName::new(namespace, name);
        for address in old.iter().filter(|pod| !pod.host_network).flat_map(|pod| &pod.addresses) {
            if self.by_address.get(address) == Some(&object) {
                self.by_address.remove_mut(address);
            }
        }
        for pod in old.iter().map(|pod| &**pod).chain(pod.iter()) {
            self.mark_selecting(pod, dirty);
        }
        let slices = self.slices_of_pod.get(&object).cloned().unwrap_or_else(map);
        for slice in slices.keys().filter_map(|slice| self.slices.get(namespace, slice)) {
            dirty.endpoints_of(&self.kubernetes, namespace, &slice.service);
        }
        match pod {
            Some(pod) => {
                let pod = Arc::new(pod);
                for address in pod.addresses.iter().filter(|_| !pod.host_network) {
                    self.by_address.insert_mut(*address, object.clone());
                }
                self.pods.insert(namespace, name, pod);
            }
            None => {
                self.pods.remove(namespace, name);
            }
        }
        touched.workloads.insert(object);
    }

    /// A WorkloadEntry came, changed or went.
    pub(crate) fn set_workload_entry(
        &mut self,
        namespace: &str,
        name: &str,
        entry: Option<WorkloadEndpoint>,
        dirty: &mut Dirty,
        touched: &mut Touched,
    ) {
        let old = self.workload_entries.remove(namespace, name);
        for entry in old.iter().map(|entry| &**entry).chain(entry.iter()) {
            self.mark_selecting(&entry.workload, dirty);
        }
        let object = ObjectName::new(namespace, name);
        for address in old.iter().flat_map(|entry| &entry.workload.addresses) {
            if self.by_address.get(address) == Some(&object) {
                self.by_address.remove_mut(address);
            }
        }
        if let Some(entry) = entry {
            for address in &entry.workload.addresses {
                self.by_address.insert_mut(*address, object.clone());
            }
            self.workload_entries.insert(namespace, name, Arc::new(entry));
        }
        touched.workloads.insert(object);
    }

    fn mark_selecting(&self, workload: &Workload, dirty: &mut Dirty) {
        for (_, entry) in self.selecting.of_namespace(&workload.namespace) {
            let Some(selector) = &entry.spec.workload_selector else { continue };
            if selects(&selector.labels, &workload.labels) {
                dirty.endpoints.extend(entry.spec.hosts.iter().map(|host| key(host, &workload.namespace)));
            }
        }
        if workload.kind == WorkloadKind::Entry {
            for host in self.hosts_of_namespace.get(&workload.namespace).into_iter().flat_map(Map::keys) {
                let selected =
                    self.services.get(host).into_iter().flat_map(|services| services.iter()).any(|service| {
                        service.registry == Registry::Kubernetes
                            && service.namespace == workload.namespace
                            && !service.selector.is_empty()
                            && selects(&service.selector, &workload.labels)
                    });
                if selected {
                    dirty.endpoints.insert(key(host.as_str(), &workload.namespace));
                }
            }
        }
    }

    /// An EndpointSlice came, changed or went.
    pub(crate) fn set_slice(&mut self, namespace: &str, name: &str, slice: Option<Slice>, dirty: &mut Dirty) {
        let old = self.slices.get(namespace, name).cloned();
        if old.as_deref() == slice.as_ref() {
            return;
        }
        let slice_name = Name::from(name);
        if let Some(old) = &old {
            unlink::<_, _, ObjectName>(
                &mut self.slices_of_service,
                &ObjectName::new(namespace, Arc::clone(&old.service)),
                &slice_name,
            );
            for pod in pods(old).difference(&slice.as_ref().map(pods).unwrap_or_default()) {
                unlink::<_, _, ObjectName>(
                    &mut self.slices_of_pod,
                    &ObjectName::new(namespace, Arc::clone(pod)),
                    &slice_name,
                );
            }
            dirty.endpoints_of(&self.kubernetes, namespace, &old.service);
        }
        match slice {
            Some(slice) => {
                let service = ObjectName::new(namespace, Arc::clone(&slice.service));
                link(&mut self.slices_of_service, service, Arc::clone(&slice_name));
                for pod in pods(&slice).difference(&old.as_deref().map(pods).unwrap_or_default()) {
                    let pod = ObjectName::new(namespace, Arc::clone(pod));
                    link(&mut self.slices_of_pod, pod, Arc::clone(&slice_name));
                }
                dirty.endpoints_of(&self.kubernetes, namespace, &slice.service);
                self.slices.insert(namespace, slice_name, Arc::new(slice));
            }
            None => {
                self.slices.remove(namespace, name);
            }
        }
    }

    /// A node came, changed or went: its pods are where it is.
    pub(crate) fn set_node(
        &mut self,
        name: &str,
        locality: Option<Locality>,
        dirty: &mut Dirty,
        touched: &mut Touched,
    ) {
        if self.nodes.get(name) == locality.as_ref() {
            return;
        }
        match &locality {
            Some(locality) => self.nodes.insert_mut(name.into(), locality.clone()),
            None => {
                self.nodes.remove_mut(name);
            }
        }
        let locality = locality.unwrap_or_default();
        let moved: Vec<Workload> = self
            .pods
            .iter()
            .map(|(_, _, pod)| pod)
            .filter(|pod| &*pod.node == name && !pod.labels.contains_key(crate::workload::LOCALITY_LABEL))
            .map(|pod| Workload { locality: locality.clone(), ..Workload::clone(pod) })
            .collect();
        for pod in moved {
            let (namespace, name) = (Arc::clone(&pod.namespace), Arc::clone(&pod.name));
            self.set_pod(&namespace, &name, Some(pod), dirty, touched);
        }
    }

    /// The default of `exportTo` changed: Kubernetes Services that say nothing themselves follow it.
    pub(crate) fn set_default_export(&mut self, new: &[String]) {
        let following: Vec<Service> = self
            .kubernetes
            .iter()
            .map(|(_, _, service)| service)
            .filter(|service| !service.declares_visibility)
            .map(|service| Service {
                visibility: Visibility::parse(&[], &service.namespace, new),
                ..Service::clone(service)
            })
            .collect();
        for service in following {
            self.kubernetes.insert(
                Arc::clone(&service.namespace),
                Arc::clone(&service.name),
                Arc::new(service),
            );
        }
    }

    /// The defaults of `exportTo` changed: every service is looked at again.
    pub(crate) fn mark_all(&self, dirty: &mut Dirty) {
        for services in self.services.values() {
            for service in services.iter() {
                dirty.host(&service.host, &service.namespace);
            }
        }
    }
}

fn pods(slice: &Slice) -> BTreeSet<Name> {
    slice.endpoints.iter().filter_map(|endpoint| endpoint.pod.clone()).collect()
}

fn key(host: &str, namespace: &str) -> ServiceKey {
    ServiceKey { host: Host::new(host), namespace: namespace.into() }
}

impl Dirty {
    fn host(&mut self, host: &Host, namespace: &str) {
        self.hosts.insert(host.clone());
        self.endpoints.insert(ServiceKey { host: host.clone(), namespace: namespace.into() });
    }

    fn endpoints_of(&mut self, services: &Namespaced<Arc<Service>>, namespace: &str, service: &str) {
        if let Some(service) = services.get(namespace, service) {
            self.endpoints.insert(service.key());
        }
    }
}

// === deriving ===

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
                        crate::service::TargetPort::Number(number) => Some(*number),
                        crate::service::TargetPort::Named(name) => entry.workload.ports.get(name).copied(),
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
