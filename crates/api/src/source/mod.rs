//! Reads YAML (and JSON, which is YAML too) of one or many documents and remembers where every field stands, so that what is wrong
//! with it can be said with line and column.
//!
//! Values are what `kubectl` makes of the same text: YAML 1.1's booleans, no keys twice.

mod build;
mod scalar;

use std::{collections::BTreeMap, ops::Range};

use serde_json::Value;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Where it begins.
    pub start: Place,
    /// Where each field stands, by the segments of its path.
    fields: BTreeMap<Vec<String>, Field>,
}

/// Where something stands in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The bytes of the text it takes up.
    pub bytes: Range<usize>,
}

/// Where the name and value of a field stand.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    /// None for an entry of a list.
    name: Option<Place>,
    value: Place,
    is_scalar: bool,
}

/// Why a text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
}

/// Reads all documents of a text. Documents without content are left out.
///
/// # Errors
/// The first place at which the text is not well-formed YAML, has a key twice, is nested deeper than
/// 128 levels, or grows beyond a million values through aliases.
pub fn read(text: &str) -> Result<Vec<Document>, SyntaxError> {
    build::documents(text)
}

impl Document {
    /// Where a field stands that a [`Violation`](crate::Violation) names: a single value itself, or the
    /// name of a field that holds more. A field that is not there stands where its nearest parent does.
    pub fn locate(&self, path: &str) -> Place {
        let mut segments = segments(path);
        loop {
            if let Some(field) = self.fields.get(&segments) {
                return match &field.name {
                    Some(name) if !field.is_scalar => name.clone(),
                    _ => field.value.clone(),
                };
            }
            if segments.pop().is_none() {
                return self.start.clone();
            }
        }
    }
}

/// The segments of a path: `spec.http[0].headers[x.y]` has `spec`, `http`, `0`, `headers` and `x.y`.
fn segments(path: &str) -> Vec<String> {
    let mut segments = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(bracketed) = rest.strip_prefix('[') {
            let (inner, after) = bracketed.split_once(']').unwrap_or((bracketed, ""));
            segments.push(inner.to_owned());
            rest = after;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if !name.is_empty() {
                segments.push(name.to_owned());
            }
            rest = after;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    segments
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
