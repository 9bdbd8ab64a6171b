//! Headers added and removed by configuration.

use crate::compile::CompileError;
use crate::telemetry::access_log::Format;
use crate::telemetry::entry::Entry;
use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use http::{HeaderMap, HeaderName, HeaderValue};

/// What happens when the header is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// A further value.
    Append,
    /// Left as it is.
    AddIfAbsent,
    /// Replaced, or added.
    Overwrite,
    /// Replaced, or left out.
    OverwriteIfExists,
}

/// Compiled `headers_to_add` and `headers_to_remove`. Removals come first.
///
/// Every route and virtual host has two of them, and hardly one changes anything.
#[derive(Clone, Debug, Default)]
pub struct HeaderMutations(Option<Box<Changes>>);

#[derive(Clone, Debug, Default)]
struct Changes {
    remove: Vec<HeaderName>,
    add: Vec<Addition>,
    /// `host` cannot be a header like others: it is the request's authority.
    authority: Option<Template>,
}

#[derive(Clone, Debug)]
struct Addition {
    name: HeaderName,
    value: Template,
    append: Append,
    keep_empty: bool,
}

#[derive(Clone, Debug)]
enum Template {
    Constant(HeaderValue),
    Format(Format),
}

impl Template {
    fn value(&self, entry: impl FnOnce(&Format) -> String) -> Option<HeaderValue> {
        match self {
            Self::Constant(value) => Some(value.clone()),
            Self::Format(format) => HeaderValue::from_str(&entry(format)).ok(),
        }
    }
}

impl HeaderMutations {
    /// Compiles both lists.
    pub fn compile(add: &[HeaderValueOption], remove: &[String]) -> Result<Self, CompileError> {
        if add.is_empty() && remove.is_empty() {
            return Ok(Self::default());
        }
        let mut changes = Changes::default();
        for (index, name) in remove.iter().enumerate() {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                CompileError::invalid(
                    format!("headers_to_remove[{index}]"),
                    format!("'{name}' is not a header name"),
                )
            })?;
            changes.remove.push(name);
        }
        for (index, option) in add.iter().enumerate() {
            changes.push(option).map_err(|error| error.at(format!("headers_to_add[{index}]")))?;
        }
        Ok(Self(Some(Box::new(changes))))
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Changes `headers`; `render` gives the text of a format. Returns a new authority, if any.
    pub fn apply(
        &self,
        headers: &mut HeaderMap,
        render: impl Fn(&HeaderMap, &Format) -> String,
    ) -> Option<HeaderValue> {
        self.0.as_ref()?.apply(headers, render)
    }
}

impl Changes {
    fn push(&mut self, option: &HeaderValueOption) -> Result<(), CompileError> {
        let header = option.header.as_ref().ok_or_else(|| CompileError::missing("header"))?;
        let text = if header.raw_value.is_empty() {
            header.value.clone()
        } else {
            String::from_utf8(header.raw_value.clone())
                .map_err(|_| CompileError::unsupported("header.raw_value", "a value that is not UTF-8"))?
        };
        let value = if text.contains('%') {
            Template::Format(
                Format::text(&text).map_err(|reason| CompileError::invalid("header.value", reason))?,
            )
        } else {
            let value = HeaderValue::from_str(&text).map_err(|_| {
                CompileError::invalid("header.value", "contains a byte headers must not have")
            })?;
            Template::Constant(value)
        };
        // The older field `append` decides where it is set.
        let append = match (&option.append, option.append_action) {
            (Some(append), 0) if append.value => Append::Append,
            (Some(_), 0) => Append::Overwrite,
            (_, 0) => Append::Append,
            (_, 1) => Append::AddIfAbsent,
            (_, 2) => Append::Overwrite,
            (_, 3) => Append::OverwriteIfExists,
            (_, other) => {
                return Err(CompileError::invalid("append_action", format!("{other} is not an action")));
            }
        };
        if header.key.eq_ignore_ascii_case("host") || header.key == ":authority" {
            self.authority = Some(value);
            return Ok(());
        }
        if header.key.starts_with(':') {
            return Err(CompileError::unsupported("header.key", format!("changing '{}'", header.key)));
        }
        let name = HeaderName::from_bytes(header.key.as_bytes()).map_err(|_| {
            CompileError::invalid("header.key", format!("'{}' is not a header name", header.key))
        })?;
        self.add.push(Addition { name, value, append, keep_empty: option.keep_empty_value });
        Ok(())
    }

    fn apply(
        &self,
        headers: &mut HeaderMap,
        render: impl Fn(&HeaderMap, &Format) -> String,
    ) -> Option<HeaderValue> {
        for name in &self.remove {
            headers.remove(name);
        }
        for addition in &self.add {
            let Some(value) = addition.value.value(|format| render(headers, format)) else { continue };
            // A format without a value gives `-` in a log, and nothing in a header.
            let empty = value.is_empty() || (matches!(addition.value, Template::Format(_)) && value == "-");
            if empty && !addition.keep_empty {
                continue;
            }
            let exists = headers.contains_key(&addition.name);
            match addition.append {
                Append::Append => {
                    headers.append(&addition.name, value);
                }
                Append::AddIfAbsent if exists => {}
                Append::OverwriteIfExists if !exists => {}
                Append::AddIfAbsent | Append::Overwrite | Append::OverwriteIfExists => {
                    headers.insert(&addition.name, value);
                }
            }
        }
        self.authority.as_ref().and_then(|template| template.value(|format| render(headers, format)))
    }
}

/// The text of a format for one entry.
pub fn rendered(entry: &Entry<'_>, format: &Format) -> String {
    let mut text = String::new();
    format.render(entry, &mut text);
    text
}
