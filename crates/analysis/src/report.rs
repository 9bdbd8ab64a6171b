//! Collects diagnostics.

use mizzen_api::annotations::object::ANALYZE_SUPPRESS;

use crate::{code::Code, diagnostic::Diagnostic, world::Source};

/// What has been found so far.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Diagnostic>);

impl Report {
    /// Says something of a field of an object, or of all of it where the path is empty. Nothing is said
    /// where the object's annotation asks for silence.
    pub(crate) fn add(
        &mut self,
        source: &Source,
        code: Code,
        path: &str,
        message: String,
        help: Option<String>,
    ) {
        let silenced = source.annotations.get(ANALYZE_SUPPRESS).is_some_and(|codes| {
            codes.split(',').map(str::trim).any(|wanted| wanted == "*" || wanted == code.id)
        });
        if silenced {
            return;
        }
        let place = source.origin.as_ref().map(|origin| origin.place(path));
        let (resource, path) = (source.name.clone(), path.to_owned());
        self.0.push(Diagnostic { code, resource, cluster: None, place, path, message, help });
    }

    /// All that was found, the worst first, each thing once.
    pub(crate) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}
