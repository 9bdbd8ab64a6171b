//! What cluster DNS knows: the names of Services and pods, by the Kubernetes DNS specification
//! (github.com/kubernetes/dns, docs/specification.md, version 1.1.0). No I/O.

use crate::controllers::{Cache, ObjectKey, SERVICE_NAME};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::{Namespace, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// Seconds an answer may be kept, also one that says that a name does not exist. Short, because
/// Services come and go in a sandbox (CoreDNS' default for `kubernetes` is 5 too).
pub const TTL: u32 = 5;

/// The cluster's names.
pub struct Zone {
    pub services: Cache<Service>,
    pub slices: Cache<EndpointSlice>,
    pub namespaces: Cache<Namespace>,
    domain: Name,
    /// `cluster.local`, lower case, without the last dot.
    suffix: String,
}

/// What the cluster has to say to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The name exists. No answers: it has no records of this type.
    Found { answers: Vec<Record>, additionals: Vec<Record> },
    /// The name is another name for `target`, which has to be asked next.
    Alias { record: Box<Record>, target: Name },
    /// The name is the cluster's to know, and there is none.
    Missing,
    /// Not the cluster's to know.
    Outside,
}

impl Lookup {
    fn nothing() -> Self {
        Self::found(Vec::new())
    }

    fn found(answers: Vec<Record>) -> Self {
        Self::Found { answers, additionals: Vec::new() }
    }
}

/// Where a name of a Service leads.
struct Target {
    name: Name,
    address: IpAddr,
    port: Option<u16>,
}

impl Zone {
    /// A zone for `domain` (`cluster.local`) over caches that follow the API.
    pub fn new(
        services: Cache<Service>,
        slices: Cache<EndpointSlice>,
        namespaces: Cache<Namespace>,
        domain: &str,
    ) -> Result<Self, hickory_proto::ProtoError> {
        let suffix = domain.trim_matches('.').to_ascii_lowercase();
        let domain = Name::from_str(&format!("{suffix}."))?;
        Ok(Self { services, slices, namespaces, domain, suffix })
    }

    /// The record that goes with "no such name" and "no such record" (RFC 2308).
    pub fn authority(&self) -> Record {
        let server = self.name(&["ns", "dns"]).unwrap_or_else(|| self.domain.clone());
        let contact = self.name(&["hostmaster"]).unwrap_or_else(|| self.domain.clone());
        let soa = SOA::new(server, contact, 1, 7200, 1800, 86400, TTL);
        Record::from_rdata(self.domain.clone(), TTL, RData::SOA(soa))
    }

    /// Answers a question. Names compare without case (RFC 4343).
    pub fn lookup(&self, name: &Name, record_type: RecordType) -> Lookup {
        let text = name.to_ascii().to_ascii_lowercase();
        let text = text.trim_end_matches('.');
        if text.ends_with(".in-addr.arpa") || text.ends_with(".ip6.arpa") {
            return self.reverse(name, record_type);
        }
        if text == self.suffix {
            return Lookup::nothing();
        }
        let Some(inside) = text.strip_suffix(&self.suffix).and_then(|inside| inside.strip_suffix('.')) else {
            return Lookup::Outside;
        };
        let labels: Vec<&str> = inside.split('.').collect();
        match labels.as_slice() {
            ["svc" | "pod"] => Lookup::nothing(),
            [namespace, "svc" | "pod"] => match self.has_namespace(namespace) {
                true => Lookup::nothing(),
                false => Lookup::Missing,
            },
            [address, namespace, "pod"] => self.pod(name, record_type, address, namespace),
            [service, namespace, "svc"] => self.service(name, record_type, namespace, service),
            [part, service, namespace, "svc"] => {
                self.part_of_service(name, record_type, part, namespace, service)
            }
            [port, protocol, service, namespace, "svc"] => {
                self.port_of_service(name, record_type, (port, protocol), namespace, service)
            }
            _ => Lookup::Missing,
        }
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.get(&ObjectKey::new("", namespace)).is_some()
    }

    /// `10-244-0-5.NAMESPACE.pod`: the address written in the name.
    fn pod(&self, name: &Name, record_type: RecordType, address: &str, namespace: &str) -> Lookup {
        let address = address.replace('-', ".").parse::<IpAddr>().ok();
        match address.filter(|_| self.has_namespace(namespace)) {
            Some(address) => Lookup::found(address_record(name, address, record_type).into_iter().collect()),
            None => Lookup::Missing,
        }
    }

    fn service(&self, name: &Name, record_type: RecordType, namespace: &str, service: &str) -> Lookup {
        let Some(service) = self.services.get(&ObjectKey::new(namespace, service)) else {
            return Lookup::Missing;
        };
        let spec = service.spec.as_ref();
        if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
            let target = spec.and_then(|spec| spec.external_name.as_deref()).unwrap_or_default();
            let Ok(target) = Name::from_str(&format!("{}.", target.trim_end_matches('.'))) else {
                return Lookup::nothing();
            };
            let record = Record::from_rdata(name.clone(), TTL, RData::CNAME(CNAME(target.clone())));
            return Lookup::Alias { record: Box::new(record), target };
        }
        if record_type == RecordType::SRV {
            let ports = spec.and_then(|spec| spec.ports.clone()).unwrap_or_default();
            return self.srv(name, &service, ports.iter());
        }
        let targets = self.targets(&service, None);
        if targets.is_empty() && is_headless(&service) {
            return Lookup::Missing;
        }
        let answers = targets.iter().filter_map(|target| address_record(name, target.address, record_type));
        Lookup::found(answers.collect())
    }

    /// `HOST.SERVICE.NAMESPACE.svc`: one endpoint of a headless Service; or `_tcp.SERVICE…`, which
    /// exists when a port is below it.
    fn part_of_service(
        &self,
        name: &Name,
        record_type: RecordType,
        part: &str,
        namespace: &str,
        service: &str,
    ) -> Lookup {
        let Some(service) = self.services.get(&ObjectKey::new(namespace, service)) else {
            return Lookup::Missing;
        };
        if let Some(protocol) = part.strip_prefix('_') {
            let known = ports_of(&service).any(|port| protocol_of(port).eq_ignore_ascii_case(protocol));
            return if known { Lookup::nothing() } else { Lookup::Missing };
        }
        if !is_headless(&service) {
            return Lookup::Missing;
        }
        let targets = self.targets(&service, None);
        let mut named = targets.iter().filter(|target| {
            target.name.iter().next().is_some_and(|label| label.eq_ignore_ascii_case(part.as_bytes()))
        });
        let Some(first) = named.next() else { return Lookup::Missing };
        let all = std::iter::once(first).chain(named);
        Lookup::found(all.filter_map(|target| address_record(name, target.address, record_type)).collect())
    }

    /// `_PORT._PROTOCOL.SERVICE.NAMESPACE.svc`.
    fn port_of_service(
        &self,
        name: &Name,
        record_type: RecordType,
        (port, protocol): (&str, &str),
        namespace: &str,
        service: &str,
    ) -> Lookup {
        let wanted = port.strip_prefix('_').zip(protocol.strip_prefix('_'));
        let service = self.services.get(&ObjectKey::new(namespace, service));
        let (Some((port, protocol)), Some(service)) = (wanted, service) else { return Lookup::Missing };
        let ports: Vec<ServicePort> = ports_of(&service)
            .filter(|candidate| {
                candidate.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(port))
                    && protocol_of(candidate).eq_ignore_ascii_case(protocol)
            })
            .cloned()
            .collect();
        if ports.is_empty() {
            return Lookup::Missing;
        }
        match record_type {
            RecordType::SRV => self.srv(name, &service, ports.iter()),
            _ => Lookup::nothing(),
        }
    }

    fn srv<'a>(
        &self,
        name: &Name,
        service: &Service,
        ports: impl Iterator<Item = &'a ServicePort>,
    ) -> Lookup {
        let mut answers = Vec::new();
        let mut additionals: Vec<Record> = Vec::new();
        for port in ports {
            for target in self.targets(service, Some(port)) {
                let Some(number) = target.port else { continue };
                // Priority 0; equal weights (specification, 2.3.2).
                let srv = SRV::new(0, 100, number, target.name.clone());
                answers.push(Record::from_rdata(name.clone(), TTL, RData::SRV(srv)));
                let record_type = if target.address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
                if let Some(record) = address_record(&target.name, target.address, record_type)
                    && !additionals.contains(&record)
                {
                    additionals.push(record);
                }
            }
        }
        Lookup::Found { answers, additionals }
    }

    /// The cluster IP of a Service, or the ready endpoints of a headless one; with the number of
    /// `port` where it leads.
    fn targets(&self, service: &Service, port: Option<&ServicePort>) -> Vec<Target> {
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        if !is_headless(service) {
            let Some(dns_name) = self.name(&[name, namespace, "svc"]) else { return Vec::new() };
            let number = port.and_then(|port| u16::try_from(port.port).ok());
            let target = |address| Target { name: dns_name.clone(), address, port: number };
            return cluster_addresses(service).into_iter().map(target).collect();
        }
        let mut targets: Vec<Target> = Vec::new();
        for slice in self.slices_of(namespace, name) {
            let number = port.and_then(|port| slice_port(&slice, port));
            if port.is_some() && number.is_none() {
                continue;
            }
            for endpoint in slice.endpoints.iter().filter(|endpoint| is_listed(endpoint)) {
                let Some(address) = address_of(endpoint) else { continue };
                if targets.iter().any(|target| target.address == address) {
                    continue;
                }
                let host = host_label(endpoint, address);
                if let Some(name) = self.name(&[&host, name, namespace, "svc"]) {
                    targets.push(Target { name, address, port: number });
                }
            }
        }
        targets
    }

    fn slices_of(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        let mut slices = self.slices.list_namespace(namespace);
        slices.retain(|slice| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(SERVICE_NAME)).is_some_and(|name| name == service)
        });
        slices
    }

    /// The name of an address. Addresses no Service has may still have one outside.
    fn reverse(&self, name: &Name, record_type: RecordType) -> Lookup {
        let Ok(net) = name.parse_arpa_name() else { return Lookup::Outside };
        let address = net.addr();
        let whole = net.prefix_len() == net.max_prefix_len();
        for service in self.services.list().iter().filter(|_| whole) {
            let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
            let named = if is_headless(service) {
                self.targets(service, None).into_iter().find(|target| target.address == address)
            } else {
                let here = cluster_addresses(service).contains(&address);
                here.then(|| self.name(&[service.metadata.name.as_deref()?, namespace, "svc"]))
                    .flatten()
                    .map(|name| Target { name, address, port: None })
            };
            if let Some(target) = named {
                return match record_type {
                    RecordType::PTR => {
                        let record = Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target.name)));
                        Lookup::found(vec![record])
                    }
                    _ => Lookup::nothing(),
                };
            }
        }
        Lookup::Outside
    }

    /// These labels under the cluster's domain.
    fn name(&self, labels: &[&str]) -> Option<Name> {
        let inside = Name::from_labels(labels.iter().map(|label| label.as_bytes())).ok()?;
        inside.append_domain(&self.domain).ok()
    }
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

fn ports_of(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten()
}

fn protocol_of(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn cluster_addresses(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let several = spec.cluster_ips.as_ref().filter(|addresses| !addresses.is_empty());
    match several {
        Some(addresses) => addresses.iter().filter_map(|address| address.parse().ok()).collect(),
        None => spec.cluster_ip.iter().filter_map(|address| address.parse().ok()).collect(),
    }
}

fn slice_port(slice: &EndpointSlice, port: &ServicePort) -> Option<u16> {
    let name = port.name.as_deref().unwrap_or_default();
    let same = slice.ports.iter().flatten().find(|candidate| {
        candidate.name.as_deref().unwrap_or_default() == name
            && candidate.protocol.as_deref().unwrap_or("TCP") == protocol_of(port)
    })?;
    u16::try_from(same.port?).ok()
}

fn is_listed(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn address_of(endpoint: &Endpoint) -> Option<IpAddr> {
    endpoint.addresses.first()?.parse().ok()
}

/// The endpoint's host name, or its address with dashes.
fn host_label(endpoint: &Endpoint, address: IpAddr) -> String {
    endpoint.hostname.clone().unwrap_or_else(|| address.to_string().replace(['.', ':'], "-"))
}

fn address_record(name: &Name, address: IpAddr, record_type: RecordType) -> Option<Record> {
    let data = match (address, record_type) {
        (IpAddr::V4(address), RecordType::A | RecordType::ANY) => RData::A(A(address)),
        (IpAddr::V6(address), RecordType::AAAA | RecordType::ANY) => RData::AAAA(AAAA(address)),
        _ => return None,
    };
    Some(Record::from_rdata(name.clone(), TTL, data))
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
