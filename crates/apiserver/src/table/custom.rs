//! The columns a definition asks for (`additionalPrinterColumns`), by the JSONPath subset that Kubernetes allows there:
//! fields, indices, wildcards, and filters on equality.

use serde_json::Value;

use super::{Column, Layout};
use crate::object::{age, name};
use crate::resources::custom::PrinterColumn;

pub(super) fn layout(columns: &[PrinterColumn]) -> Layout {
    let mut all = vec![Column::new("Name", "string", 0)];
    all.extend(columns.iter().map(|column| Column {
        name: column.name.clone(),
        kind: column.kind.clone(),
        format: column.format.clone(),
        description: column.description.clone(),
        priority: column.priority,
    }));
    let columns: Vec<PrinterColumn> = columns.to_vec();
    Layout {
        columns: all,
        cells: Box::new(move |object| {
            let cells = columns.iter().map(|column| cell(object, column));
            std::iter::once(Value::from(name(object))).chain(cells).collect()
        }),
    }
}

fn cell(object: &Value, column: &PrinterColumn) -> Value {
    let found = find(object, &column.json_path);
    match column.kind.as_str() {
        "date" => match found.first().and_then(|value| value.as_str()) {
            Some(time) => age(Some(time)).into(),
            None => Value::Null,
        },
        "integer" | "number" | "boolean" => found.first().map_or(Value::Null, |value| (*value).clone()),
        _ => match found.as_slice() {
            [] => Value::Null,
            [Value::String(text)] => text.as_str().into(),
            [one] => one.to_string().into(),
            many => {
                let texts =
                    many.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                texts.collect::<Vec<_>>().join(" ").into()
            }
        },
    }
}

/// One step of a path.
#[derive(Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    /// Items whose field (a dotted path) equals a text.
    Where(String, String),
}

/// The values a path leads to; none for a path that is not understood.
pub(crate) fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let Some(steps) = parse(path) else { return Vec::new() };
    let mut current = vec![object];
    for step in &steps {
        current = current.into_iter().flat_map(|value| take(value, step)).collect();
    }
    current
}

fn take<'a>(value: &'a Value, step: &Step) -> Vec<&'a Value> {
    match (step, value) {
        (Step::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
        (Step::Index(index), Value::Array(list)) => {
            let position = if *index < 0 { list.len() as i64 + index } else { *index };
            usize::try_from(position).ok().and_then(|position| list.get(position)).into_iter().collect()
        }
        (Step::All, Value::Array(list)) => list.iter().collect(),
        (Step::All, Value::Object(map)) => map.values().collect(),
        (Step::Where(field, wanted), Value::Array(list)) => list
            .iter()
            .filter(|item| {
                let found = field.split('.').try_fold(*item, |value, name| value.get(name));
                match found {
                    Some(Value::String(text)) => text == wanted,
                    Some(other) => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == *other),
                    None => false,
                }
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (inner, next) = bracket(after)?;
            steps.push(bracket_step(inner)?);
            rest = next;
            continue;
        }
        let after = rest.strip_prefix('.')?;
        let mut name = String::new();
        let mut characters = after.char_indices();
        let mut end = after.len();
        while let Some((index, character)) = characters.next() {
            match character {
                '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
                '.' | '[' => {
                    end = index;
                    break;
                }
                other => name.push(other),
            }
        }
        rest = after.get(end..)?;
        match name.as_str() {
            "" if rest.starts_with('[') => {}
            "" => return None,
            "*" => steps.push(Step::All),
            _ => steps.push(Step::Field(name)),
        }
    }
    Some(steps)
}

/// What is in the brackets, and what comes after; quotes may hold brackets.
fn bracket(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None, ']') => return Some((text.get(..index)?, text.get(index + 1..)?)),
            _ => {}
        }
    }
    None
}

fn bracket_step(inner: &str) -> Option<Step> {
    let unquoted = |text: &str| text.trim().trim_matches(['\'', '"']).to_owned();
    if inner == "*" {
        return Some(Step::All);
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|filter| filter.strip_suffix(')')) {
        let (field, wanted) = filter.split_once("==")?;
        return Some(Step::Where(field.trim().strip_prefix("@.")?.to_owned(), unquoted(wanted)));
    }
    if inner.starts_with(['\'', '"']) {
        return Some(Step::Field(unquoted(inner)));
    }
    inner.parse().ok().map(Step::Index)
}
