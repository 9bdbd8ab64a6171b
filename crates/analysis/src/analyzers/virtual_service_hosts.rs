//! Several VirtualServices for one host on the sidecars (IST0109): only one of them is used.

use std::collections::BTreeMap;

use mizzen_api::{Config, Spec, networking::VirtualService};
use mizzen_model::{Host, Visibility};

use crate::{
    code,
    registry::Registry,
    report::Report,
    world::{Item, World},
};

struct Claim<'a> {
    item: &'a Item<Config>,
    path: String,
    visibility: Visibility,
}

pub(super) fn analyze(world: &World, registry: &Registry<'_>, report: &mut Report) {
    let mut claims: BTreeMap<Host, Vec<Claim<'_>>> = BTreeMap::new();
    for item in world.configs() {
        let Spec::VirtualService(service) = &item.value.spec else { continue };
        if !is_for_sidecars(service) {
            continue;
        }
        for (index, host) in service.hosts.iter().enumerate() {
            let visibility = Visibility::parse(
                &service.export_to,
                item.namespace(),
                world.settings.virtual_services_export_to(),
            );
            let claim = Claim { item, path: format!("spec.hosts[{index}]"), visibility };
            claims.entry(registry.resolve(host, item.namespace())).or_default().push(claim);
        }
    }
    for (host, claims) in &claims {
        for (index, claim) in claims.iter().enumerate() {
            let rivals =
                claims.iter().enumerate().filter(|(other, rival)| *other != index && meet(claim, rival));
            let names: Vec<_> = rivals
                .map(|(_, rival)| full_name(rival.item))
                .filter(|n| *n != full_name(claim.item))
                .collect();
            if names.is_empty() {
                continue;
            }
            let message = format!(
                "the host {host} has routes here and in {}; sidecars use only the oldest",
                names.join(", ")
            );
            let help = "move all routes of the host into one VirtualService".to_owned();
            report.add(&claim.item.source, code::CONFLICTING_HOSTS, &claim.path, message, Some(help));
        }
    }
}

fn is_for_sidecars(service: &VirtualService) -> bool {
    !service.hosts.is_empty()
        && (service.gateways.is_empty() || service.gateways.iter().any(|name| name == "mesh"))
}

fn full_name(item: &Item<Config>) -> String {
    format!("{}/{}", item.namespace(), item.name())
}

/// Whether some sidecar sees both. One that is private to its namespace goes before a public one there,
/// which is how an override is meant.
fn meet(one: &Claim<'_>, other: &Claim<'_>) -> bool {
    match (&one.visibility, &other.visibility) {
        (Visibility::Public, Visibility::Public) => true,
        (Visibility::Namespaces(some), Visibility::Namespaces(others)) => {
            some.intersection(others).next().is_some()
        }
        _ => false,
    }
}
