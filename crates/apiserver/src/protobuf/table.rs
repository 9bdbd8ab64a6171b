//! The table of messages.

use std::collections::HashMap;
use std::sync::LazyLock;

/// How a field's values come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    List,
    Map,
    /// A message whose fields belong to the parent in JSON.
    Inline,
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub tag: u64,
    pub name: &'static str,
    pub shape: Shape,
    /// A scalar, a well-known type, or a message's name.
    pub kind: &'static str,
}

static MESSAGES: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let mut messages: HashMap<&'static str, Vec<Field>> = HashMap::new();
    let mut current = "";
    for line in include_str!("messages.txt").lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix(' ') {
            None => {
                current = line.trim();
                messages.insert(current, Vec::new());
            }
            Some(field) => {
                if let (Some(field), Some(fields)) = (read(field), messages.get_mut(current)) {
                    fields.push(field);
                }
            }
        }
    }
    messages
});

fn read(line: &'static str) -> Option<Field> {
    let mut words = line.split(' ');
    let tag = words.next()?.parse().ok()?;
    let name = words.next()?;
    let kind = words.next()?;
    let (shape, kind) = if name == "+" {
        (Shape::Inline, kind)
    } else if let Some(kind) = kind.strip_prefix("[]") {
        (Shape::List, kind)
    } else if let Some(kind) = kind.strip_prefix("{}") {
        (Shape::Map, kind)
    } else {
        (Shape::One, kind)
    };
    Some(Field { tag, name, shape, kind })
}

/// The fields of a message.
pub(super) fn message(name: &str) -> Option<&'static [Field]> {
    MESSAGES.get(name).map(Vec::as_slice)
}
