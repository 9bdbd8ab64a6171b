//! Namespaces and pods without sidecars (IST0102, IST0103) and namespaces that ask for them twice (IST0123).

use std::collections::BTreeMap;

use mizzen_api::annotations::label::{DATAPLANE_MODE, INJECTION, REVISION};

use crate::{
    code,
    registry::Registry,
    report::Report,
    world::{Item, Texts, Workload, World},
};

/// Namespaces that are never part of the mesh.
const SYSTEM: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    let mut injected = BTreeMap::new();
    for namespace in world.namespaces() {
        injected.insert(namespace.name(), asks_for_injection(&namespace.value));
        if !SYSTEM.contains(&namespace.name()) && namespace.name() != world.settings.root_namespace {
            check_namespace(namespace, report);
        }
    }
    for pod in world.pods() {
        if injected.get(pod.namespace()).copied().unwrap_or_default() {
            check_pod(pod, report);
        }
    }
}

fn asks_for_injection(labels: &Texts) -> bool {
    match labels.get(INJECTION) {
        Some(value) => value == "enabled",
        None => labels.contains_key(REVISION),
    }
}

fn check_namespace(namespace: &Item<Texts>, report: &mut Report) {
    let labels = &namespace.value;
    let name = namespace.name();
    if labels.contains_key(INJECTION) && labels.contains_key(REVISION) {
        let message =
            format!("the namespace has the labels {INJECTION} and {REVISION}; {INJECTION} takes precedence");
        let help = format!("remove one of them, as with `kubectl label namespace {name} {REVISION}-`");
        report.add(
            &namespace.source,
            code::MULTIPLE_INJECTION_LABELS,
            "metadata.labels",
            message,
            Some(help),
        );
    }
    let has_decided = [INJECTION, REVISION, DATAPLANE_MODE].iter().any(|label| labels.contains_key(*label));
    if !has_decided {
        let message =
            "the namespace is not enabled for injection, so its pods are not part of the mesh".to_owned();
        let help = format!(
            "enable it with `kubectl label namespace {name} {INJECTION}=enabled`, or say that this is meant with \
             `{INJECTION}=disabled`"
        );
        report.add(&namespace.source, code::NAMESPACE_NOT_INJECTED, "metadata", message, Some(help));
    }
}

fn check_pod(pod: &Item<Workload>, report: &mut Report) {
    let workload = &pod.value;
    let has_ended = workload.phase.as_deref().is_some_and(|phase| ["Succeeded", "Failed"].contains(&phase));
    let opted_out = workload.injection() == Some("false") || workload.spec.host_network == Some(true);
    if !has_ended && !opted_out && !workload.has_proxy() {
        let message = "the pod has no sidecar, though its namespace is enabled for injection".to_owned();
        let help = "it was probably made before the namespace was enabled; restart it, as with `kubectl rollout restart`";
        report.add(&pod.source, code::POD_MISSING_PROXY, "metadata", message, Some(help.to_owned()));
    }
}
