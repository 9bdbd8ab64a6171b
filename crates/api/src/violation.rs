//! What is wrong with an object, said so that its author can find and mend it.

use std::fmt;

/// How serious a [`Violation`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object is accepted and works, but probably not as its author thinks.
    Warning,
    /// The object is refused.
    Error,
}

/// One problem of one object, at the field that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field from the root of the object, such as `spec.http[0].route[1].weight`.
    pub path: String,
    /// What is wrong and what to do about it; a phrase that reads after the path.
    pub message: String,
    /// Whether the object can be used at all.
    pub severity: Severity,
}

impl Violation {
    /// A problem that makes the object unusable.
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), severity: Severity::Error }
    }

    /// A problem the object can be used with.
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), severity: Severity::Warning }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}
