//! `validate`: whether the objects of files are valid by themselves, without a mesh.

use crate::exit::ExitError;
use crate::manifests;
use mizzen_analysis::{Manifest, manifest};
use mizzen_api::Severity;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen validate -f shop.yaml\n  \
    kustomize build . | mizzen validate -f -")]
pub struct Arguments {
    /// Files or folders to validate; `-` is standard input
    #[arg(short = 'f', long = "filename", required = true)]
    files: Vec<PathBuf>,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut errors = Vec::new();
    for file in manifests::files(&arguments.files, true)? {
        let before = errors.len();
        for manifest in manifests::read(&file)? {
            let (wrong, doubtful) = findings(&manifest);
            errors.extend(wrong);
            doubtful.iter().for_each(|warning| eprintln!("Warning: {warning}"));
        }
        if errors.len() == before {
            println!("{:?} is valid", file.display().to_string());
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ExitError { code: 1, message: summary(&errors) }.into()) }
}

/// What is wrong and what is doubtful about an object, a line each with its place.
fn findings(manifest: &Manifest) -> (Vec<String>, Vec<String>) {
    let text = |pointer: &str| manifest.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let object = format!("{}/{}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
    let (mut wrong, mut doubtful) = (Vec::new(), Vec::new());
    for violation in manifest::check(&manifest.value) {
        let place = manifest.origin.place(&violation.path);
        let line = format!("{object} ({}:{}:{}): {violation}", place.file, place.line, place.column);
        match violation.severity {
            Severity::Error => wrong.push(line),
            Severity::Warning => doubtful.push(line),
        }
    }
    (wrong, doubtful)
}

fn summary(errors: &[String]) -> String {
    let count = if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors", errors.len()) };
    errors.iter().fold(format!("{count} occurred:"), |mut text, error| {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n\t* {error}");
        text
    })
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
