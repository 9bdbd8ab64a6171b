//! Destinations that are not there: host, port or subset (IST0101), or that do not say which of several
//! ports (IST0112).

use mizzen_api::{
    Config, Spec,
    networking::{Destination, DestinationRule},
};
use mizzen_model::{Host, Visibility};

use crate::{
    code,
    registry::{Known, Registry},
    report::Report,
    routes,
    world::{Item, World},
};

pub(super) fn analyze(world: &World, registry: &Registry<'_>, report: &mut Report) {
    let rules: Vec<_> = world
        .configs()
        .filter_map(|item| match &item.value.spec {
            Spec::DestinationRule(rule) => Some(Rule::of(world, item, rule, registry)),
            _ => None,
        })
        .collect();
    for item in world.configs() {
        let Spec::VirtualService(service) = &item.value.spec else { continue };
        for target in routes::targets(service) {
            check(item, target.destination, &target.path, registry, &rules, report);
        }
    }
}

/// A DestinationRule, with its host in full.
struct Rule<'a> {
    item: &'a Item<Config>,
    rule: &'a DestinationRule,
    host: Host,
    visibility: Visibility,
}

impl<'a> Rule<'a> {
    fn of(world: &World, item: &'a Item<Config>, rule: &'a DestinationRule, registry: &Registry<'_>) -> Self {
        let default = world.settings.destination_rules_export_to();
        let visibility = Visibility::parse(&rule.export_to, item.namespace(), default);
        Self { item, rule, host: registry.resolve(&rule.host, item.namespace()), visibility }
    }
}

fn check(
    item: &Item<Config>,
    destination: &Destination,
    path: &str,
    registry: &Registry<'_>,
    rules: &[Rule<'_>],
    report: &mut Report,
) {
    let host = registry.resolve(&destination.host, item.namespace());
    let Some(service) = registry.find(&host, item.namespace()) else {
        let message = format!("the host {:?} is not a service the mesh knows", destination.host);
        let help = registry
            .suggestion(&destination.host)
            .unwrap_or_else(|| format!("make a Service or a ServiceEntry for {host}"));
        report.add(
            &item.source,
            code::REFERENCED_RESOURCE_NOT_FOUND,
            &format!("{path}.host"),
            message,
            Some(help),
        );
        return;
    };
    check_port(item, destination, &host, &service, path, report);
    check_subset(item, destination, &host, rules, path, report);
}

fn check_port(
    item: &Item<Config>,
    destination: &Destination,
    host: &Host,
    service: &Known<'_>,
    path: &str,
    report: &mut Report,
) {
    let ports = service.ports();
    let listed = ports.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    match &destination.port {
        Some(port) if !ports.contains(&port.number) => {
            let message = format!("the service {host} has no port {}", port.number);
            let help =
                format!("its ports are {listed}; name the port of the Service, not that of the container");
            let path = format!("{path}.port.number");
            report.add(&item.source, code::REFERENCED_RESOURCE_NOT_FOUND, &path, message, Some(help));
        }
        None if ports.len() > 1 => {
            let message =
                format!("the service {host} has several ports ({listed}) and the destination names none");
            let help = "add port.number to the destination".to_owned();
            report.add(&item.source, code::PORT_REQUIRED, path, message, Some(help));
        }
        Some(_) | None => {}
    }
}

fn check_subset(
    item: &Item<Config>,
    destination: &Destination,
    host: &Host,
    rules: &[Rule<'_>],
    path: &str,
    report: &mut Report,
) {
    let Some(subset) = &destination.subset else { return };
    let seen: Vec<_> = rules
        .iter()
        .filter(|rule| rule.host.covers(host) && rule.visibility.includes(item.namespace()))
        .collect();
    if seen.iter().any(|rule| rule.rule.subsets.iter().any(|defined| defined.name == *subset)) {
        return;
    }
    let message =
        format!("no DestinationRule of {host} defines the subset {subset:?}, so requests to it fail");
    let help = match seen.first() {
        Some(rule) => {
            let defined: Vec<_> = rule.rule.subsets.iter().map(|subset| subset.name.as_str()).collect();
            let has = if defined.is_empty() { "no subsets".to_owned() } else { defined.join(", ") };
            format!(
                "add it to DestinationRule {}/{}, which has {has}",
                rule.item.namespace(),
                rule.item.name()
            )
        }
        None => format!("make a DestinationRule for {host} with this subset"),
    };
    report.add(
        &item.source,
        code::REFERENCED_RESOURCE_NOT_FOUND,
        &format!("{path}.subset"),
        message,
        Some(help),
    );
}
