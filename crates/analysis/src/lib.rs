//! What is wrong with the configuration of a mesh, seen as a whole: objects go in, diagnostics come out,
//! with Istio's codes and, for objects read from files, line and column. No input or output.
//!
//! [`World`] holds the objects, [`analyze`] runs one [`Analyzer`] after the other over it, [`suppress`] drops
//! what its reader does not want to know, [`mod@format`] writes the rest.

mod analyzers;
pub mod code;
pub mod diagnostic;
pub mod format;
pub mod manifest;
mod registry;
mod report;
mod routes;
pub mod suppress;
pub mod world;

pub use analyzers::{ALL as ANALYZERS, Analyzer};
pub use code::Code;
pub use diagnostic::{Diagnostic, Level, Origin, Place, ResourceName};
pub use manifest::Manifest;
pub use suppress::Suppression;
pub use world::{Settings, World};

use registry::Registry;
use report::Report;

/// Everything worth saying about the objects, sorted by severity, code and resource, each thing once.
/// What an object's annotation `galley.istio.io/analyze-suppress` names is left out.
pub fn analyze(world: &World) -> Vec<Diagnostic> {
    analyze_with(world, ANALYZERS)
}

/// As [`analyze`], with some of the analyzers only.
pub fn analyze_with<'a>(world: &World, analyzers: impl IntoIterator<Item = &'a Analyzer>) -> Vec<Diagnostic> {
    let registry = Registry::of(world);
    let mut report = Report::default();
    for analyzer in analyzers {
        (analyzer.run)(world, &registry, &mut report);
    }
    report.into_diagnostics()
}

#[cfg(test)]
#[path = "lib_tests.rs"]
mod tests;
