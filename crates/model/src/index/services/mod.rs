//! Services, endpoints and workloads, joined as objects come and go.

mod derive;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use crate::{
    allocate::Allocations,
    endpoint::Endpoints,
    host::Host,
    kubernetes::Slice,
    map::{Map, Name, Namespaced, link, map, unlink},
    service::{Registry, Service, ServiceKey},
    service_entry::{Entry, WorkloadEndpoint},
    touched::{ObjectName, Touched},
    visibility::Visibility,
    workload::{Locality, Workload, WorkloadKind, selects},
};

pub(crate) use derive::all_meshed;

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
