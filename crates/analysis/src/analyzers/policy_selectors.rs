//! Selectors of policies that select no workload (IST0127).

use mizzen_api::Spec;

use crate::{
    code,
    registry::Registry,
    report::Report,
    world::{Texts, World, selects},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    if !world.knows_workloads() {
        return;
    }
    for item in world.configs() {
        let Some((path, labels)) = selector(&item.value.spec) else { continue };
        let everywhere = item.namespace() == world.settings.root_namespace;
        let mut workloads =
            world.workloads().filter(|workload| everywhere || workload.namespace() == item.namespace());
        if !workloads.any(|workload| selects(labels, &workload.value.labels)) {
            let wanted: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let message =
                format!("the selector {} selects no workload, so this has no effect", wanted.join(","));
            let help = "selectors look at the labels of pods, in the namespace of this object".to_owned();
            report.add(&item.source, code::NO_MATCHING_WORKLOADS, path, message, Some(help));
        }
    }
}

/// The selector of a resource, where it has one that does not select everything.
fn selector(spec: &Spec) -> Option<(&'static str, &Texts)> {
    let (path, labels) = match spec {
        Spec::AuthorizationPolicy(spec) => {
            ("spec.selector.matchLabels", spec.selector.as_ref().map(|selector| &selector.match_labels))
        }
        Spec::PeerAuthentication(spec) => {
            ("spec.selector.matchLabels", spec.selector.as_ref().map(|selector| &selector.match_labels))
        }
        Spec::RequestAuthentication(spec) => {
            ("spec.selector.matchLabels", spec.selector.as_ref().map(|selector| &selector.match_labels))
        }
        Spec::Telemetry(spec) => {
            ("spec.selector.matchLabels", spec.selector.as_ref().map(|selector| &selector.match_labels))
        }
        Spec::Sidecar(spec) => {
            ("spec.workloadSelector.labels", spec.workload_selector.as_ref().map(|selector| &selector.labels))
        }
        _ => return None,
    };
    labels.filter(|labels| !labels.is_empty()).map(|labels| (path, labels))
}
