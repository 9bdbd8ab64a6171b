//! Objects that are not valid (IST0106) or have something doubtful (IST0133).

use mizzen_api::{Severity, Violation, validate};

use crate::{
    code,
    registry::Registry,
    report::Report,
    world::{Source, World},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    for item in world.invalid() {
        item.value.iter().for_each(|violation| add(&item.source, violation, report));
    }
    for item in world.configs() {
        validate(&item.value).iter().for_each(|violation| add(&item.source, violation, report));
    }
}

fn add(source: &Source, violation: &Violation, report: &mut Report) {
    let code = match violation.severity {
        Severity::Error => code::SCHEMA_VALIDATION_ERROR,
        Severity::Warning => code::SCHEMA_WARNING,
    };
    report.add(source, code, &violation.path, violation.to_string(), None);
}
