//! The names a sidecar's DNS answers.

use std::collections::HashMap;

use mizzen_model::{EndpointAddress, Registry, Service};
use mizzen_proto::name_table::{NameTable, name_table::NameInfo};

use crate::context::Context;

/// The one name table of a sidecar.
pub(crate) fn of_proxy(context: &Context<'_>) -> NameTable {
    let mut table = HashMap::new();
    for service in context.scope.services() {
        let addresses = addresses(context, service);
        if addresses.is_empty() {
            continue;
        }
        let (registry, short) = match service.registry {
            Registry::Kubernetes => ("Kubernetes", service.name.to_string()),
            Registry::ServiceEntry => ("External", String::new()),
        };
        table.insert(
            service.host.as_str().to_owned(),
            NameInfo {
                ips: addresses,
                registry: registry.to_owned(),
                shortname: short,
                namespace: match service.registry {
                    Registry::Kubernetes => service.namespace.to_string(),
                    Registry::ServiceEntry => String::new(),
                },
                ..Default::default()
            },
        );
        if service.headless {
            named_pods(context, service, &mut table);
        }
    }
    NameTable { table }
}

fn addresses(context: &Context<'_>, service: &Service) -> Vec<String> {
    let own: Vec<String> = service.single_addresses().map(|address| address.to_string()).collect();
    if !own.is_empty() {
        return own;
    }
    if service.headless {
        let endpoints = context.snapshot().endpoints(&service.key());
        let mut found: Vec<String> = endpoints
            .iter()
            .flat_map(|endpoints| endpoints.iter())
            .filter_map(|(_, endpoint)| endpoint.address.ip())
            .map(|address| address.to_string())
            .collect();
        found.sort();
        found.dedup();
        return found;
    }
    service.allocated.iter().map(ToString::to_string).collect()
}

/// The pods of a StatefulSet: `web-0.web.shop.svc.cluster.local`.
fn named_pods(context: &Context<'_>, service: &Service, table: &mut HashMap<String, NameInfo>) {
    let Some(endpoints) = context.snapshot().endpoints(&service.key()) else { return };
    for (_, endpoint) in endpoints.iter() {
        let (Some(hostname), EndpointAddress::Ip(address)) = (&endpoint.hostname, &endpoint.address) else {
            continue;
        };
        let info = table.entry(format!("{hostname}.{}", service.host)).or_insert_with(|| NameInfo {
            registry: "Kubernetes".to_owned(),
            shortname: format!("{hostname}.{}", service.name),
            namespace: service.namespace.to_string(),
            ..Default::default()
        });
        let address = address.to_string();
        if !info.ips.contains(&address) {
            info.ips.push(address);
        }
    }
}
