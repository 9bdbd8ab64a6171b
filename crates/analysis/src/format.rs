//! How diagnostics are written: Istio's line a diagnostic, JSON, YAML, or with the lines of the file.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Renderer, Snippet};
use serde::Serialize;

use crate::diagnostic::{Diagnostic, Level};

const RESET: &str = "\x1b[0m";
const BOLD_RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";

/// One line each: `Error [IST0101] (VirtualService shop/cart cart.yaml:12) message`.
pub fn log(diagnostics: &[Diagnostic], color: bool) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let level = match (color, diagnostic.code.level) {
            (true, Level::Error) => format!("{BOLD_RED}Error{RESET}"),
            (true, Level::Warning) => format!("{YELLOW}Warning{RESET}"),
            (_, level) => level.to_string(),
        };
        let cluster = diagnostic.cluster.as_ref().map_or_else(String::new, |cluster| format!(" [{cluster}]"));
        let place = reference(diagnostic).map_or_else(String::new, |place| format!(" {place}"));
        let Diagnostic { code, resource, message, .. } = diagnostic;
        let help = diagnostic.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{level} [{}]{cluster} ({resource}{place}) {message}{help}", code.id);
    }
    text
}

/// The `FILE:LINE` of a diagnostic of a file.
fn reference(diagnostic: &Diagnostic) -> Option<String> {
    diagnostic.place.as_ref().map(|place| format!("{}:{}", place.file, place.line))
}

/// A diagnostic as data. The fields are Istio's, then ours.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    code: &'a str,
    documentation_url: String,
    level: String,
    message: &'a str,
    origin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

fn records(diagnostics: &[Diagnostic]) -> Vec<Record<'_>> {
    let record =
        |diagnostic: &'_ Diagnostic| (diagnostic.code.id.to_lowercase(), diagnostic.code.level.to_string());
    diagnostics
        .iter()
        .map(|diagnostic| {
            let (page, level) = record(diagnostic);
            Record {
                code: diagnostic.code.id,
                documentation_url: format!(
                    "https://istio.io/latest/docs/reference/config/analysis/{page}/?ref=istioctl-analyze"
                ),
                level,
                message: &diagnostic.message,
                origin: diagnostic.resource.to_string(),
                cluster: diagnostic.cluster.as_deref(),
                reference: reference(diagnostic),
                path: &diagnostic.path,
                column: diagnostic.place.as_ref().map(|place| place.column),
                help: diagnostic.help.as_deref(),
            }
        })
        .collect()
}

/// A JSON list, indented with tabs as Istio's is.
///
/// # Errors
/// None that the serializer of plain texts and numbers has.
pub fn json(diagnostics: &[Diagnostic]) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    records(diagnostics).serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    bytes.push(b'\n');
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A YAML list.
///
/// # Errors
/// None that the serializer of plain texts and numbers has.
pub fn yaml(diagnostics: &[Diagnostic]) -> Result<String, serde_saphyr::SerializeError> {
    if diagnostics.is_empty() {
        return Ok("[]\n".to_owned());
    }
    serde_saphyr::to_string(&records(diagnostics))
}

/// With the lines of the file that are meant, as compilers show them.
pub fn pretty(diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in diagnostics {
        let level = match diagnostic.code.level {
            Level::Error => annotate_snippets::Level::ERROR,
            Level::Warning => annotate_snippets::Level::WARNING,
            Level::Info => annotate_snippets::Level::INFO,
        };
        let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.id);
        let mut group = match &diagnostic.place {
            Some(place) => {
                let annotation =
                    AnnotationKind::Primary.span(place.bytes.clone()).label(diagnostic.resource.to_string());
                let snippet = Snippet::source(&*place.text).path(&*place.file).annotation(annotation);
                title.element(snippet)
            }
            None => {
                Group::with_title(title).element(annotate_snippets::Level::NOTE.message(origin(diagnostic)))
            }
        };
        if let Some(help) = &diagnostic.help {
            group = group.element(annotate_snippets::Level::HELP.message(help.as_str()));
        }
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    text
}

/// The object and field of a diagnostic that has no file.
fn origin(diagnostic: &Diagnostic) -> String {
    let cluster = diagnostic.cluster.as_ref().map_or_else(String::new, |cluster| format!("[{cluster}] "));
    let field = if diagnostic.path.is_empty() { "" } else { ", " };
    format!("{cluster}{}{field}{}", diagnostic.resource, diagnostic.path)
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
