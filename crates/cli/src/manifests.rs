//! Files of manifests named on the command line: files, folders and standard input.

use crate::exit::ExitError;
use anyhow::Context as _;
use mizzen_analysis::{Manifest, manifest};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The code for files that cannot be read. Source: `sysexits.h`, EX_DATAERR.
pub const BAD_DATA: u8 = 65;

/// The extensions of manifests.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// The files that the arguments name, in order; a folder stands for the manifests in it. Files with other
/// extensions are skipped, which is said on standard error.
pub fn files(arguments: &[PathBuf], recursive: bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for argument in arguments {
        if argument.is_dir() {
            folder(argument, recursive, &mut files)?;
        } else if argument.as_os_str() == "-" || is_manifest(argument) {
            files.push(argument.clone());
        } else {
            eprintln!(
                "Skipping file {}, recognized file extensions are: [.json .yaml .yml]",
                argument.display()
            );
        }
    }
    Ok(files)
}

fn folder(path: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let cannot = || format!("cannot read the folder {}", path.display());
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).with_context(cannot)? {
        entries.push(entry.with_context(cannot)?.path());
    }
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            if recursive {
                folder(&entry, recursive, files)?;
            }
        } else if is_manifest(&entry) {
            files.push(entry);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.contains(&extension))
}

/// The objects of a file; `-` is standard input.
pub fn read(path: &Path) -> anyhow::Result<Vec<Manifest>> {
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        text
    } else {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    parse(&path.to_string_lossy(), &text)
}

/// The objects of a text. `name` is what it is called where something in it is wrong.
pub fn parse(name: &str, text: &str) -> anyhow::Result<Vec<Manifest>> {
    manifest::read(name, text).map_err(|error| {
        let message = format!("{name}:{}:{}: {}", error.line, error.column, error.reason);
        ExitError { code: BAD_DATA, message }.into()
    })
}

#[cfg(test)]
#[path = "manifests_tests.rs"]
mod tests;
