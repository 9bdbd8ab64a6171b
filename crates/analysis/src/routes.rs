//! Walks over what a VirtualService refers to.

use mizzen_api::networking::{Destination, VirtualService};

/// A destination and the path of the field that names it.
pub(crate) struct Target<'a> {
    pub(crate) path: String,
    pub(crate) destination: &'a Destination,
}

/// Every destination of a VirtualService, mirrors included.
pub(crate) fn targets(service: &VirtualService) -> Vec<Target<'_>> {
    let mut targets = Vec::new();
    for (index, rule) in service.http.iter().enumerate() {
        let path = format!("spec.http[{index}]");
        for (position, target) in rule.route.iter().enumerate() {
            let path = format!("{path}.route[{position}].destination");
            targets.push(Target { path, destination: &target.destination });
        }
        if let Some(destination) = &rule.mirror {
            targets.push(Target { path: format!("{path}.mirror"), destination });
        }
        for (position, mirror) in rule.mirrors.iter().enumerate() {
            let path = format!("{path}.mirrors[{position}].destination");
            targets.push(Target { path, destination: &mirror.destination });
        }
    }
    let tls = service.tls.iter().enumerate().map(|(index, rule)| (format!("spec.tls[{index}]"), &rule.route));
    let tcp = service.tcp.iter().enumerate().map(|(index, rule)| (format!("spec.tcp[{index}]"), &rule.route));
    for (path, routes) in tls.chain(tcp) {
        for (position, target) in routes.iter().enumerate() {
            let path = format!("{path}.route[{position}].destination");
            targets.push(Target { path, destination: &target.destination });
        }
    }
    targets
}

/// The full `NAMESPACE/NAME` of a gateway that a VirtualService names; nothing for the sidecars.
pub(crate) fn gateway_name(reference: &str, namespace: &str) -> Option<(String, String)> {
    if reference == "mesh" {
        return None;
    }
    Some(match reference.split_once('/') {
        Some((".", name)) => (namespace.to_owned(), name.to_owned()),
        Some((other, name)) => (other.to_owned(), name.to_owned()),
        None => (namespace.to_owned(), reference.to_owned()),
    })
}
