//! Resources of which a workload takes one: several for a whole namespace (IST0111, IST0160) or for the
//! same workload (IST0110, IST0159).

use std::collections::BTreeMap;

use mizzen_api::{Config, Spec};

use crate::{
    Code, code,
    registry::Registry,
    report::Report,
    world::{Item, Texts, Workload, World, selects},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    let sidecars = world.configs().filter_map(|item| match &item.value.spec {
        Spec::Sidecar(sidecar) => {
            Some((item, sidecar.workload_selector.as_ref().map(|selector| &selector.labels)))
        }
        _ => None,
    });
    check(world, sidecars, (code::MULTIPLE_SIDECARS, code::CONFLICTING_SIDECARS), report);
    let telemetries = world.configs().filter_map(|item| match &item.value.spec {
        Spec::Telemetry(telemetry) if telemetry.target_ref.is_none() && telemetry.target_refs.is_empty() => {
            Some((item, telemetry.selector.as_ref().map(|selector| &selector.match_labels)))
        }
        _ => None,
    });
    check(world, telemetries, (code::MULTIPLE_TELEMETRIES, code::CONFLICTING_TELEMETRIES), report);
}

type Selecting<'a> = (&'a Item<Config>, Option<&'a Texts>);

fn check<'a>(
    world: &World,
    items: impl Iterator<Item = Selecting<'a>>,
    (several, conflicting): (Code, Code),
    report: &mut Report,
) {
    let mut by_namespace: BTreeMap<&str, Vec<Selecting<'_>>> = BTreeMap::new();
    for item in items {
        by_namespace.entry(item.0.namespace()).or_default().push(item);
    }
    for (namespace, items) in by_namespace {
        let (selecting, general): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|(_, labels)| labels.is_some_and(|labels| !labels.is_empty()));
        check_general(&general, several, report);
        for workload in world.workloads().filter(|workload| workload.namespace() == namespace) {
            check_workload(workload, &selecting, conflicting, report);
        }
    }
}

fn check_general(items: &[Selecting<'_>], code: Code, report: &mut Report) {
    if items.len() < 2 {
        return;
    }
    for (item, _) in items {
        let message = format!("{} are for the whole namespace; only the oldest is used", names(items));
        let help = "keep one, or give the others a selector".to_owned();
        report.add(&item.source, code, "metadata.name", message, Some(help));
    }
}

fn check_workload(workload: &Item<Workload>, items: &[Selecting<'_>], code: Code, report: &mut Report) {
    let selecting: Vec<_> = items
        .iter()
        .copied()
        .filter(|(_, labels)| labels.is_some_and(|labels| selects(labels, &workload.value.labels)))
        .collect();
    if selecting.len() < 2 {
        return;
    }
    for (item, _) in &selecting {
        let message =
            format!("{} select {}; only the oldest is used", names(&selecting), workload.source.name);
        let help = "change the selectors so that each workload has one".to_owned();
        report.add(&item.source, code, "spec", message, Some(help));
    }
}

fn names(items: &[Selecting<'_>]) -> String {
    let kind = items.first().map_or("", |(item, _)| item.source.name.kind.as_str());
    format!("{kind} {}", items.iter().map(|(item, _)| item.name()).collect::<Vec<_>>().join(", "))
}
