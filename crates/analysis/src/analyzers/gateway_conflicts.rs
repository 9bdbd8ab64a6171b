//! Several Gateways for one host and port of the same proxies (IST0145).

use mizzen_api::{Config, Spec, networking::Gateway};

use crate::{
    code,
    registry::Registry,
    report::Report,
    world::{Item, World},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    let gateways: Vec<(&Item<Config>, &Gateway)> = world
        .configs()
        .filter_map(|item| match &item.value.spec {
            Spec::Gateway(gateway) => Some((item, &**gateway)),
            _ => None,
        })
        .collect();
    for (item, gateway) in &gateways {
        let rivals: Vec<_> = gateways
            .iter()
            .filter(|(other, rival)| {
                other.source.name != item.source.name && rival.selector == gateway.selector
            })
            .collect();
        for (index, server) in gateway.servers.iter().enumerate() {
            for (position, host) in server.hosts.iter().enumerate() {
                let claims = |rival: &Gateway| {
                    let same_port = rival
                        .servers
                        .iter()
                        .filter(|other| other.port.number == server.port.number && other.bind == server.bind);
                    same_port.flat_map(|other| &other.hosts).any(|other| bare(other) == bare(host))
                };
                let names: Vec<_> = rivals
                    .iter()
                    .filter(|(_, rival)| claims(rival))
                    .map(|(other, _)| format!("{}/{}", other.namespace(), other.name()))
                    .collect();
                if names.is_empty() {
                    continue;
                }
                let message = format!(
                    "the host {host:?} of port {} is served here and by {}; only the oldest is sure to be used",
                    server.port.number,
                    names.join(", ")
                );
                let help = "serve each host of a port by one Gateway".to_owned();
                let path = format!("spec.servers[{index}].hosts[{position}]");
                report.add(&item.source, code::CONFLICTING_GATEWAYS, &path, message, Some(help));
            }
        }
    }
}

/// A server's host without its namespace.
fn bare(host: &str) -> &str {
    host.split_once('/').map_or(host, |(_, host)| host)
}
