//! Annotations of Istio's that do not exist (IST0108), stand on the wrong kind of object (IST0107), or
//! that something else supersedes (IST0135).

use super::annotation_table::{self, Place};
use crate::{
    code,
    registry::Registry,
    report::Report,
    world::{Source, Texts, World},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    for source in world.sources() {
        check(source, &source.name.kind, &source.annotations, "metadata.annotations", report);
    }
    for controller in world.controllers() {
        let path = "spec.template.metadata.annotations";
        check(&controller.source, "Pod", &controller.value.annotations, path, report);
    }
}

fn check(source: &Source, kind: &str, annotations: &Texts, path: &str, report: &mut Report) {
    for name in annotations.keys().filter(|name| annotation_table::is_istios(name)) {
        let path = format!("{path}[{name}]");
        let Some(known) = annotation_table::find(name) else {
            let message = format!("there is no annotation {name}");
            let help = match annotation_table::nearest(name) {
                Some(near) => format!("did you mean {near}?"),
                None => "check its spelling; if it is a label, put it under labels".to_owned(),
            };
            report.add(source, code::UNKNOWN_ANNOTATION, &path, message, Some(help));
            continue;
        };
        if let Some(place) = misplaced(known.place, kind) {
            let message = format!("the annotation {name} means nothing on a {kind}");
            report.add(
                source,
                code::MISPLACED_ANNOTATION,
                &path,
                message,
                Some(format!("put it on {place}")),
            );
        } else if let Some(instead) = known.superseded_by {
            let message = format!("the annotation {name} is superseded");
            report.add(source, code::DEPRECATED_ANNOTATION, &path, message, Some(format!("use {instead}")));
        }
    }
}

/// Where an annotation belongs, when that is not on this kind.
fn misplaced(place: Place, kind: &str) -> Option<String> {
    match place {
        Place::Any => None,
        Place::Pod => {
            (kind != "Pod").then(|| "the pod, as under spec.template.metadata of a Deployment".to_owned())
        }
        Place::Service => (kind != "Service").then(|| "a Service".to_owned()),
        Place::Kinds(kinds) => (!kinds.contains(&kind)).then(|| format!("a {}", kinds.join(" or "))),
    }
}
