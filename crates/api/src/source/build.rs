//! Builds values from the events of the YAML parser.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{Document, Field, Place, SyntaxError, scalar};

/// The deepest nesting, which keeps recursion over values within a small stack.
const DEEPEST: usize = 128;
/// The most values a text may come to, aliases expanded.
const MOST_VALUES: usize = 1_000_000;

pub(super) fn documents(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax_error(&error))?;
        builder.take(event, &span)?;
    }
    Ok(builder.documents)
}

fn syntax_error(error: &ScanError) -> SyntaxError {
    failure(error.marker(), error.info())
}

fn failure(marker: &Marker, reason: impl Into<String>) -> SyntaxError {
    SyntaxError { line: marker.line(), column: marker.col() + 1, reason: reason.into() }
}

fn place(span: &Span) -> Place {
    Place {
        line: span.start.line(),
        column: span.start.col() + 1,
        bytes: span.byte_range().unwrap_or_default(),
    }
}

/// A list or an object whose end has not come yet.
enum Open {
    List { items: Vec<Value>, start: Place, anchor: usize },
    Object { fields: Map<String, Value>, merged: Vec<Value>, key: Option<Key>, start: Place, anchor: usize },
}

/// A key whose value has not come yet.
struct Key {
    name: String,
    place: Place,
    is_merge: bool,
}

/// A value that aliases refer to, and how many values it is made of.
struct Anchored {
    value: Value,
    size: usize,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Document>,
    open: Vec<Open>,
    path: Vec<String>,
    fields: BTreeMap<Vec<String>, Field>,
    anchors: BTreeMap<usize, Anchored>,
    values: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                if self.expects_key() {
                    let is_merge = is_plain && text == "<<";
                    return self.key(Key { name: text.into_owned(), place: place(span), is_merge }, span);
                }
                let value = scalar_value(&text, is_plain, tag.as_deref());
                self.finish(value, place(span), anchor, true, span)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.nest(span)?;
                self.open.push(Open::List { items: Vec::new(), start: place(span), anchor });
                self.path.push("0".to_owned());
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                self.nest(span)?;
                let (fields, merged, key) = (Map::new(), Vec::new(), None);
                self.open.push(Open::Object { fields, merged, key, start: place(span), anchor });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(anchor) => {
                let Some(anchored) = self.anchors.get(&anchor) else {
                    return Err(failure(&span.start, "the alias refers to something that is not complete"));
                };
                let (value, size) = (anchored.value.clone(), anchored.size);
                self.count(size, span)?;
                self.finish(value, place(span), 0, true, span)
            }
            _ => Ok(()),
        }
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Object { key: None, .. }))
    }

    fn nest(&mut self, span: &Span) -> Result<(), SyntaxError> {
        if self.expects_key() {
            return Err(failure(&span.start, "a key must be a single text, not a list or an object"));
        }
        if self.open.len() >= DEEPEST {
            return Err(failure(&span.start, format!("nested deeper than {DEEPEST} levels")));
        }
        Ok(())
    }

    fn count(&mut self, values: usize, span: &Span) -> Result<(), SyntaxError> {
        self.values = self.values.saturating_add(values);
        if self.values > MOST_VALUES {
            return Err(failure(&span.start, format!("the text comes to more than {MOST_VALUES} values")));
        }
        Ok(())
    }

    fn key(&mut self, new: Key, span: &Span) -> Result<(), SyntaxError> {
        let Some(Open::Object { fields, key, .. }) = self.open.last_mut() else { return Ok(()) };
        if fields.contains_key(&new.name) {
            return Err(failure(&span.start, format!("the key {:?} is already set above", new.name)));
        }
        self.path.push(new.name.clone());
        *key = Some(new);
        Ok(())
    }

    fn close(&mut self, span: &Span) -> Result<(), SyntaxError> {
        match self.open.pop() {
            Some(Open::List { items, start, anchor }) => {
                self.path.pop();
                self.finish(Value::Array(items), start, anchor, false, span)
            }
            Some(Open::Object { mut fields, merged, start, anchor, .. }) => {
                for source in merged {
                    merge(&mut fields, source, span)?;
                }
                self.finish(Value::Object(fields), start, anchor, false, span)
            }
            None => Ok(()),
        }
    }

    /// Puts a finished value where it belongs.
    fn finish(
        &mut self,
        value: Value,
        at: Place,
        anchor: usize,
        is_scalar: bool,
        span: &Span,
    ) -> Result<(), SyntaxError> {
        self.count(1, span)?;
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored { size: size(&value), value: value.clone() });
        }
        match self.open.last_mut() {
            None => {
                if !value.is_null() {
                    let fields = std::mem::take(&mut self.fields);
                    self.documents.push(Document { value, start: at, fields });
                }
                self.fields.clear();
                self.anchors.clear();
            }
            Some(Open::List { items, .. }) => {
                self.fields.insert(self.path.clone(), Field { name: None, value: at, is_scalar });
                items.push(value);
                if let Some(index) = self.path.last_mut() {
                    *index = items.len().to_string();
                }
            }
            Some(Open::Object { fields, merged, key, .. }) => {
                if let Some(Key { name, place, is_merge }) = key.take() {
                    let field = Field { name: Some(place), value: at, is_scalar };
                    self.fields.insert(self.path.clone(), field);
                    if is_merge {
                        merged.push(value);
                    } else {
                        fields.insert(name, value);
                    }
                }
                self.path.pop();
            }
        }
        Ok(())
    }
}

fn scalar_value(text: &str, is_plain: bool, tag: Option<&Tag>) -> Value {
    match tag.and_then(Tag::core_suffix) {
        Some("str") => Value::String(text.to_owned()),
        Some(_) => scalar::plain(text),
        None if is_plain => scalar::plain(text),
        None => Value::String(text.to_owned()),
    }
}

/// Adds the fields of what follows a merge key (`<<`) that are not there already.
fn merge(fields: &mut Map<String, Value>, source: Value, span: &Span) -> Result<(), SyntaxError> {
    match source {
        Value::Object(source) => {
            for (name, value) in source {
                fields.entry(name).or_insert(value);
            }
            Ok(())
        }
        Value::Array(sources) => sources.into_iter().try_for_each(|source| match source {
            Value::Array(_) => Err(failure(&span.start, "\"<<\" takes an object or a list of objects")),
            other => merge(fields, other, span),
        }),
        _ => Err(failure(&span.start, "\"<<\" takes an object or a list of objects")),
    }
}

/// How many values a value is made of.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(size).sum::<usize>(),
        _ => 1,
    }
}
