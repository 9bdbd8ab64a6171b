//! What a diagnostic says and of whom.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use mizzen_api::source::Document;

use crate::code::Code;

/// How bad something is; the worst sorts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// It does not work.
    Error,
    /// It probably does not do what was meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Error => "Error",
            Level::Warning => "Warning",
            Level::Info => "Info",
        })
    }
}

/// A text that is not a level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a level; use Error, Warning or Info")]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        [Level::Error, Level::Warning, Level::Info]
            .into_iter()
            .find(|level| level.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// Which object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName {
    /// The kind, such as `VirtualService`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The namespace; empty for objects without one.
    pub namespace: String,
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The file an object was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Its name, as it was given.
    pub file: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
    /// The document of it that the object is.
    pub document: Arc<Document>,
}

impl Origin {
    /// Where a field of the object stands.
    pub fn place(&self, path: &str) -> Place {
        let place = self.document.locate(path);
        Place {
            file: Arc::clone(&self.file),
            text: Arc::clone(&self.text),
            line: place.line,
            column: place.column,
            bytes: place.bytes,
        }
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name, as it was given.
    pub file: Arc<str>,
    /// The file's text.
    pub text: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The bytes of the text that are meant.
    pub bytes: std::ops::Range<usize>,
}

/// One thing worth saying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of thing.
    pub code: Code,
    /// Of which object.
    pub resource: ResourceName,
    /// In which cluster, where several are analyzed.
    pub cluster: Option<String>,
    /// Where in a file, for objects read from one.
    pub place: Option<Place>,
    /// Of which field; empty for the whole object.
    pub path: String,
    /// What is so.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    fn order(&self) -> (Option<&str>, Level, &str, &ResourceName, usize, &str, &str) {
        let line = self.place.as_ref().map_or(0, |place| place.line);
        let cluster = self.cluster.as_deref();
        (cluster, self.code.level, self.code.id, &self.resource, line, &self.path, &self.message)
    }
}

impl PartialOrd for Diagnostic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Diagnostic {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}
