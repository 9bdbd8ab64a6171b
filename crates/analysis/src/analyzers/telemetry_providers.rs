//! Telemetry that names a provider the mesh does not have, or none where there is no default (IST0157).

use mizzen_api::{
    Config, Spec,
    mesh::MeshConfig,
    telemetry::{ProviderReference, Telemetry},
};

use crate::{
    code,
    registry::Registry,
    report::Report,
    world::{Item, World},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    let Some(mesh) = &world.settings.mesh else { return };
    let telemetries: Vec<(&Item<Config>, &Telemetry)> = world
        .configs()
        .filter_map(|item| match &item.value.spec {
            Spec::Telemetry(telemetry) => Some((item, &**telemetry)),
            _ => None,
        })
        .collect();
    for (item, telemetry) in &telemetries {
        // What a Telemetry leaves out comes from that of its namespace, then from that of the mesh.
        let wider = telemetries.iter().filter(|(other, scope)| {
            other.source.name != item.source.name
                && (other.namespace() == world.settings.root_namespace
                    || (other.namespace() == item.namespace() && scope.selector.is_none()))
        });
        let wider: Vec<_> = wider.flat_map(|(_, telemetry)| sections(telemetry)).collect();
        for section in sections(telemetry) {
            check_names(item, &section, mesh, report);
            let is_named =
                |other: &Section<'_>| other.signal == section.signal && !other.providers.is_empty();
            if section.is_on && section.providers.is_empty() && !wider.iter().any(is_named) {
                check_default(item, &section, mesh, report);
            }
        }
    }
}

/// What goes to a provider.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signal {
    AccessLogging,
    Tracing,
    Metrics,
}

/// One entry of a Telemetry, as far as providers go.
struct Section<'a> {
    signal: Signal,
    path: String,
    providers: &'a [ProviderReference],
    is_on: bool,
}

fn sections(telemetry: &Telemetry) -> Vec<Section<'_>> {
    let logging = telemetry.access_logging.iter().enumerate().map(|(index, entry)| Section {
        signal: Signal::AccessLogging,
        path: format!("spec.accessLogging[{index}]"),
        providers: &entry.providers,
        is_on: entry.disabled != Some(true),
    });
    let tracing = telemetry.tracing.iter().enumerate().map(|(index, entry)| Section {
        signal: Signal::Tracing,
        path: format!("spec.tracing[{index}]"),
        providers: &entry.providers,
        is_on: entry.disable_span_reporting != Some(true),
    });
    let metrics = telemetry.metrics.iter().enumerate().map(|(index, entry)| Section {
        signal: Signal::Metrics,
        path: format!("spec.metrics[{index}]"),
        providers: &entry.providers,
        is_on: true,
    });
    logging.chain(tracing).chain(metrics).collect()
}

fn check_names(item: &Item<Config>, section: &Section<'_>, mesh: &MeshConfig, report: &mut Report) {
    let known: Vec<_> = mesh.extension_providers.iter().map(|provider| provider.name.as_str()).collect();
    for (index, provider) in section.providers.iter().enumerate() {
        if known.contains(&provider.name.as_str()) {
            continue;
        }
        let message = format!("the mesh has no provider {:?}, so nothing is sent to it", provider.name);
        let help = format!("it has {}; others are set in its extensionProviders", known.join(", "));
        let path = format!("{}.providers[{index}].name", section.path);
        report.add(&item.source, code::INVALID_TELEMETRY_PROVIDER, &path, message, Some(help));
    }
}

fn check_default(item: &Item<Config>, section: &Section<'_>, mesh: &MeshConfig, report: &mut Report) {
    let defaults = &mesh.default_providers;
    let (default, message, help) = match section.signal {
        Signal::AccessLogging => (
            &defaults.access_logging,
            "no provider is named and the mesh has no default, so `envoy` is taken; Istio would log nothing",
            "name it, or set defaultProviders.accessLogging in the mesh's configuration",
        ),
        Signal::Tracing => (
            &defaults.tracing,
            "no provider is named and the mesh has no default, so no spans are sent",
            "name one of the mesh's extensionProviders, or set its defaultProviders.tracing",
        ),
        // Every proxy has its metrics for Prometheus.
        Signal::Metrics => return,
    };
    if default.is_empty() {
        let (message, help) = (message.to_owned(), help.to_owned());
        report.add(&item.source, code::INVALID_TELEMETRY_PROVIDER, &section.path, message, Some(help));
    }
}
