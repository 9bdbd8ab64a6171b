//! Gateways that are not there (IST0101), and hosts that the gateway does not serve (IST0132).

use std::collections::BTreeMap;

use mizzen_api::{
    Config, Spec,
    networking::{Gateway, VirtualService},
};
use mizzen_model::Host;

use crate::{
    code,
    registry::Registry,
    report::Report,
    routes::gateway_name,
    world::{Item, World},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    let gateways: BTreeMap<_, _> = world
        .configs()
        .filter_map(|item| match &item.value.spec {
            Spec::Gateway(gateway) => {
                Some(((item.namespace().to_owned(), item.name().to_owned()), &**gateway))
            }
            _ => None,
        })
        .collect();
    for item in world.configs() {
        let Spec::VirtualService(service) = &item.value.spec else { continue };
        for (path, reference) in references(service) {
            let Some(name) = gateway_name(reference, item.namespace()) else { continue };
            match gateways.get(&name) {
                Some(gateway) if path.starts_with("spec.gateways") => {
                    check_hosts(item, service, &name, gateway, report)
                }
                Some(_) => {}
                None => report_missing(item, reference, &path, &name, gateways.keys(), report),
            }
        }
    }
}

/// The gateways that a VirtualService and its matches name.
fn references(service: &VirtualService) -> Vec<(String, &str)> {
    let mut found: Vec<_> = service
        .gateways
        .iter()
        .enumerate()
        .map(|(i, name)| (format!("spec.gateways[{i}]"), name.as_str()))
        .collect();
    let http = service.http.iter().enumerate().flat_map(|(rule, route)| {
        let matches = route.matches.iter().enumerate();
        matches
            .map(move |(index, condition)| (format!("spec.http[{rule}].match[{index}]"), &condition.gateways))
    });
    let tls = service.tls.iter().enumerate().flat_map(|(rule, route)| {
        let matches = route.matches.iter().enumerate();
        matches
            .map(move |(index, condition)| (format!("spec.tls[{rule}].match[{index}]"), &condition.gateways))
    });
    let tcp = service.tcp.iter().enumerate().flat_map(|(rule, route)| {
        let matches = route.matches.iter().enumerate();
        matches
            .map(move |(index, condition)| (format!("spec.tcp[{rule}].match[{index}]"), &condition.gateways))
    });
    for (path, names) in http.chain(tls).chain(tcp) {
        found.extend(
            names.iter().enumerate().map(|(i, name)| (format!("{path}.gateways[{i}]"), name.as_str())),
        );
    }
    found
}

fn report_missing<'a>(
    item: &Item<Config>,
    reference: &str,
    path: &str,
    (namespace, name): &(String, String),
    known: impl Iterator<Item = &'a (String, String)>,
    report: &mut Report,
) {
    let message = format!("there is no Gateway {namespace}/{name}, which {reference:?} stands for");
    let elsewhere = known.into_iter().find(|(_, other)| other == name);
    let help = match elsewhere {
        Some((namespace, name)) => format!("did you mean {namespace}/{name}?"),
        None => "make the Gateway, or name one that is there".to_owned(),
    };
    report.add(&item.source, code::REFERENCED_RESOURCE_NOT_FOUND, path, message, Some(help));
}

fn check_hosts(
    item: &Item<Config>,
    service: &VirtualService,
    (namespace, name): &(String, String),
    gateway: &Gateway,
    report: &mut Report,
) {
    for (index, host) in service.hosts.iter().enumerate() {
        let wanted = Host::new(host);
        let mut served = gateway.servers.iter().flat_map(|server| &server.hosts);
        if !served.any(|server| serves(server, namespace, &wanted, item.namespace())) {
            let message = format!("the Gateway {namespace}/{name} does not serve the host {host:?}");
            let help = "add the host to a server of the Gateway, or take it out here".to_owned();
            report.add(
                &item.source,
                code::HOST_NOT_IN_GATEWAY,
                &format!("spec.hosts[{index}]"),
                message,
                Some(help),
            );
        }
    }
}

/// Whether a host of a Gateway's server lets a VirtualService of a namespace serve a host.
fn serves(server_host: &str, gateway_namespace: &str, wanted: &Host, namespace: &str) -> bool {
    let (scope, host) = server_host.split_once('/').unwrap_or(("*", server_host));
    let in_scope = match scope {
        "*" => true,
        "." => namespace == gateway_namespace,
        scope => scope == namespace,
    };
    in_scope && Host::new(host).overlaps(wanted)
}
