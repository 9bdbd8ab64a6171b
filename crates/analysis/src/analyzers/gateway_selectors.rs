//! Selectors of Gateways that select no proxy (IST0101).

use mizzen_api::Spec;

use crate::{
    code,
    registry::Registry,
    report::Report,
    world::{World, selects},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    if !world.settings.is_live {
        return;
    }
    for item in world.configs() {
        let Spec::Gateway(gateway) = &item.value.spec else { continue };
        if !world.workloads().any(|workload| selects(&gateway.selector, &workload.value.labels)) {
            let wanted: Vec<_> =
                gateway.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let message =
                format!("no gateway proxy has the labels {}, so no port is opened", wanted.join(","));
            let help = "the built-in gateway has istio=ingressgateway".to_owned();
            report.add(
                &item.source,
                code::REFERENCED_RESOURCE_NOT_FOUND,
                "spec.selector",
                message,
                Some(help),
            );
        }
    }
}
