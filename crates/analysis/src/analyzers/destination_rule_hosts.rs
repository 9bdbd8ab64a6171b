//! DestinationRules for hosts that are not there (IST0174) and subsets without pods (IST0173).

use mizzen_api::{Config, Spec, networking::DestinationRule};

use crate::{
    code,
    registry::{Known, Registry},
    report::Report,
    world::{Item, Texts, World, selects},
};

pub(super) fn analyze(world: &World, registry: &Registry<'_>, report: &mut Report) {
    for item in world.configs() {
        let Spec::DestinationRule(rule) = &item.value.spec else { continue };
        let host = registry.resolve(&rule.host, item.namespace());
        let known = registry.find(&host, item.namespace());
        match known {
            Some(Known::Kubernetes(service)) => {
                let selector = service.value.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
                    check_subsets(world, item, rule, service.namespace(), selector, report);
                }
            }
            Some(Known::Entry(_)) => {}
            None if host.is_wildcard() && registry.covers_any(&host) => {}
            None => {
                let message = format!(
                    "the host {:?} is not a service the mesh knows, so the rule has no effect",
                    rule.host
                );
                let help = registry
                    .suggestion(&rule.host)
                    .unwrap_or_else(|| format!("make a Service or a ServiceEntry for {host}"));
                report.add(&item.source, code::UNKNOWN_RULE_HOST, "spec.host", message, Some(help));
            }
        }
    }
}

fn check_subsets(
    world: &World,
    item: &Item<Config>,
    rule: &DestinationRule,
    namespace: &str,
    selector: &Texts,
    report: &mut Report,
) {
    let behind: Vec<_> = world
        .workloads()
        .filter(|workload| workload.namespace() == namespace && selects(selector, &workload.value.labels))
        .collect();
    if behind.is_empty() && !world.settings.is_live {
        return;
    }
    for (index, subset) in rule.subsets.iter().enumerate() {
        if behind.iter().any(|workload| selects(&subset.labels, &workload.value.labels)) {
            continue;
        }
        let wanted: Vec<_> = subset.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let message = format!(
            "no pod of {} has {}, so the subset {:?} is empty",
            rule.host,
            wanted.join(","),
            subset.name
        );
        let help = "put the labels on the pods, or change those of the subset".to_owned();
        report.add(
            &item.source,
            code::SUBSET_SELECTS_NOTHING,
            &format!("spec.subsets[{index}]"),
            message,
            Some(help),
        );
    }
}
