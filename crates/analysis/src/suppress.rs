//! What the reader of diagnostics does not want to know: `-S IST0102=Namespace default`.

use std::str::FromStr;

use crate::{
    code,
    diagnostic::{Diagnostic, ResourceName},
};

/// A code and the resources it is not reported for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// The code.
    pub code: String,
    /// `KIND NAME` or `KIND NAME.NAMESPACE`; `*` stands for any number of characters.
    pub resources: String,
}

/// A text that is not a suppression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} does not say what to suppress; write CODE=RESOURCE, such as \"IST0102=Namespace default\" or \"IST0103=Pod *.test\""
)]
pub struct MalformedSuppression(String);

impl FromStr for Suppression {
    type Err = MalformedSuppression;

    fn from_str(text: &str) -> Result<Self, MalformedSuppression> {
        match text.split_once('=') {
            Some((code, resources)) if !code.is_empty() && !resources.is_empty() => {
                Ok(Self { code: code.to_owned(), resources: resources.to_owned() })
            }
            _ => Err(MalformedSuppression(text.to_owned())),
        }
    }
}

impl Suppression {
    /// Whether the code is one that is reported at all.
    pub fn has_known_code(&self) -> bool {
        code::ALL.iter().any(|code| code.id == self.code)
    }

    fn covers(&self, diagnostic: &Diagnostic) -> bool {
        self.code == diagnostic.code.id && matches(&self.resources, &written(&diagnostic.resource))
    }
}

/// The diagnostics that no suppression covers.
pub fn suppress(diagnostics: Vec<Diagnostic>, suppressions: &[Suppression]) -> Vec<Diagnostic> {
    let wanted =
        |diagnostic: &Diagnostic| !suppressions.iter().any(|suppression| suppression.covers(diagnostic));
    diagnostics.into_iter().filter(wanted).collect()
}

/// A resource as suppressions name it: the namespace comes last, as in the names of pods.
fn written(resource: &ResourceName) -> String {
    let ResourceName { kind, name, namespace } = resource;
    if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {name}.{namespace}") }
}

/// Whether a text matches a pattern in which `*` stands for any number of characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut open_end = false;
    let parts: Vec<_> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        if index + 1 == parts.len() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(found) => rest = rest.get(found + part.len()..).unwrap_or_default(),
            None => return false,
        }
        open_end = true;
    }
    open_end || rest.is_empty()
}

#[cfg(test)]
#[path = "suppress_tests.rs"]
mod tests;
