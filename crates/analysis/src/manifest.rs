//! Reads manifests: the objects of a file, each with its origin.

use std::sync::Arc;

use mizzen_api::{
    Kind, Violation, parse,
    source::{self, SyntaxError},
    validate,
};
use serde_json::Value;

use crate::diagnostic::Origin;

/// An object of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// What it says.
    pub value: Value,
    /// Where it says so.
    pub origin: Origin,
}

/// The objects of a file of YAML or JSON. `file` is its name as diagnostics are to show it.
///
/// # Errors
/// The first place at which the text is not well formed.
pub fn read(file: &str, text: &str) -> Result<Vec<Manifest>, SyntaxError> {
    let (file, shared): (Arc<str>, Arc<str>) = (file.into(), text.into());
    let manifest = |document: source::Document| {
        let value = document.value.clone();
        let origin =
            Origin { file: Arc::clone(&file), text: Arc::clone(&shared), document: Arc::new(document) };
        Manifest { value, origin }
    };
    Ok(source::read(text)?.into_iter().map(manifest).collect())
}

/// What is wrong with an object by itself. Of objects that are not the mesh's, nothing is said.
pub fn check(value: &Value) -> Vec<Violation> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split('/').next().unwrap_or_default();
    if !Kind::ALL.iter().any(|kind| kind.group() == group) {
        return Vec::new();
    }
    match parse(value.clone()) {
        Ok(config) => validate(&config),
        Err(violations) => violations,
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
