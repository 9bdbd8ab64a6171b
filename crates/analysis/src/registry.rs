//! The services of the mesh by host: those of Kubernetes and those of ServiceEntries.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use mizzen_api::{Spec, annotations::object::EXPORT_TO, networking::ServiceEntry, spelling};
use mizzen_model::{Host, Visibility, host::HostMap};

use crate::world::{Item, World};

/// The services by host.
pub(crate) struct Registry<'a> {
    domain: &'a str,
    default_export_to: &'a [String],
    kubernetes: BTreeMap<Host, &'a Item<Service>>,
    entries: HostMap<Vec<Entry<'a>>>,
}

struct Entry<'a> {
    entry: &'a ServiceEntry,
    visibility: Visibility,
}

/// A service that a host stands for.
#[derive(Clone, Copy)]
pub(crate) enum Known<'a> {
    /// Of Kubernetes.
    Kubernetes(&'a Item<Service>),
    /// Of a ServiceEntry.
    Entry(&'a ServiceEntry),
}

impl<'a> Registry<'a> {
    pub(crate) fn of(world: &'a World) -> Self {
        let domain = world.settings.domain.as_str();
        let default_export_to = world.settings.services_export_to();
        let host = |item: &Item<Service>| Host::resolve(item.name(), item.namespace(), domain);
        let mut entries: HostMap<Vec<Entry<'a>>> = HostMap::default();
        let mut entries_by_host: BTreeMap<Host, Vec<Entry<'a>>> = BTreeMap::new();
        for item in world.configs() {
            let Spec::ServiceEntry(entry) = &item.value.spec else { continue };
            for text in &entry.hosts {
                let visibility = Visibility::parse(&entry.export_to, item.namespace(), default_export_to);
                entries_by_host.entry(Host::new(text)).or_default().push(Entry { entry, visibility });
            }
        }
        for (host, list) in entries_by_host {
            entries.insert(host, list);
        }
        // Where both have a service, that of the cluster itself goes before one of another.
        let mut kubernetes = BTreeMap::new();
        for item in world.services().chain(world.services_elsewhere()) {
            kubernetes.entry(host(item)).or_insert(item);
        }
        Self { domain, default_export_to, kubernetes, entries }
    }

    /// The host of a rule's reference in full.
    pub(crate) fn resolve(&self, reference: &str, namespace: &str) -> Host {
        Host::resolve(reference, namespace, self.domain)
    }

    /// The service that clients of a namespace reach by a host: exactly, or by the closest wildcard.
    pub(crate) fn find(&self, host: &Host, namespace: &str) -> Option<Known<'a>> {
        if let Some(item) = self.kubernetes.get(host).filter(|item| self.is_exported(item, namespace)) {
            return Some(Known::Kubernetes(item));
        }
        self.entries
            .matches(host.as_str())
            .flat_map(|(_, entries)| entries)
            .find(|entry| entry.visibility.includes(namespace))
            .map(|entry| Known::Entry(entry.entry))
    }

    fn is_exported(&self, item: &Item<Service>, namespace: &str) -> bool {
        let annotation = item.source.annotations.get(EXPORT_TO);
        let names: Vec<_> =
            annotation.iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()).collect();
        Visibility::parse(&names, item.namespace(), self.default_export_to).includes(namespace)
    }

    /// Whether a wildcard stands for any known service.
    pub(crate) fn covers_any(&self, wildcard: &Host) -> bool {
        self.kubernetes.keys().any(|host| wildcard.covers(host))
            || self.entries.iter().any(|(host, _)| wildcard.overlaps(host))
    }

    /// The host that somebody who wrote this one may have meant: the same name in another namespace or in
    /// full, else one that is spelt nearly so.
    pub(crate) fn suggestion(&self, reference: &str) -> Option<String> {
        let first = |host: &str| host.split('.').next().unwrap_or_default().to_owned();
        let name = first(reference);
        let same = self.kubernetes.keys().find(|host| first(host.as_str()) == name).map(Host::as_str);
        let external = || spelling::nearest(reference, self.entries.iter().map(|(host, _)| host.as_str()));
        let similar = || {
            let names = self.kubernetes.values().map(|item| item.name());
            let near = spelling::nearest(&name, names)?;
            self.kubernetes.iter().find(|(_, item)| item.name() == near).map(|(host, _)| host.as_str())
        };
        same.or_else(external).or_else(similar).map(|host| format!("did you mean {host}?"))
    }
}

impl Known<'_> {
    /// The port numbers.
    pub(crate) fn ports(&self) -> Vec<u32> {
        match self {
            Known::Kubernetes(item) => {
                service_ports(&item.value).filter_map(|port| u32::try_from(port.port).ok()).collect()
            }
            Known::Entry(entry) => entry.ports.iter().map(|port| port.number).collect(),
        }
    }
}

/// The ports of a Service.
pub(crate) fn service_ports(
    service: &Service,
) -> impl Iterator<Item = &k8s_openapi::api::core::v1::ServicePort> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten())
}
