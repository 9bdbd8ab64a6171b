//! Server-side apply: the caller says what it wants of an object, the server merges that in, takes out what the caller no
//! longer wants, and refuses to change what others own unless forced.

use serde_json::{Map, Value, json};

use super::ownership::{self, Fields, Manager, Path, item_step, leaves, managers, printed, set_managers};
use super::shape::{ListShape, Shapes};
use crate::error::ApiError;
use crate::object;

/// Who applies and how.
pub(crate) struct Applier<'a> {
    pub manager: &'a str,
    pub subresource: &'a str,
    pub api_version: &'a str,
    pub force: bool,
}

/// The object after applying `wanted` to `current` (null if there is none), its managers brought up to date.
pub(crate) fn apply(
    current: &Value,
    wanted: &Value,
    shapes: Shapes<'_>,
    applier: &Applier<'_>,
) -> Result<Value, ApiError> {
    check_lists(wanted, shapes, &mut Vec::new())?;
    let wanted_leaves = leaves(wanted, shapes);
    let wanted_fields: Fields = wanted_leaves.keys().cloned().collect();
    let current_leaves = leaves(current, shapes);
    let mut all = managers(current);
    let mine = |entry: &Manager| entry.is_same(applier.manager, "Apply", applier.subresource);
    let previous = all.iter().find(|entry| mine(entry)).map(|entry| entry.fields.clone()).unwrap_or_default();

    let taken = |path: &Path| {
        !ownership::is_item(path) && current_leaves.get(path).copied() != wanted_leaves.get(path).copied()
    };
    let mut conflicts: Vec<(String, Path)> = Vec::new();
    for entry in all.iter().filter(|entry| !mine(entry)) {
        for path in entry.fields.iter().filter(|path| wanted_fields.contains(*path) && taken(path)) {
            conflicts.push((conflict_source(entry), path.clone()));
        }
    }
    if !conflicts.is_empty() && !applier.force {
        return Err(conflict_error(&conflicts));
    }

    let mut names = Vec::new();
    let mut merged = merge(current, wanted, shapes, &mut names);
    for entry in all.iter_mut().filter(|entry| !mine(entry)) {
        entry.fields.retain(|path| !(wanted_fields.contains(path) && taken(path)));
    }
    let others: Fields =
        all.iter().filter(|entry| !mine(entry)).flat_map(|entry| entry.fields.clone()).collect();
    // An item comes before what is in it, so that it goes as a whole where nobody else wants it.
    for path in &previous {
        let is_wanted = wanted_fields.range(path.clone()..).next().is_some_and(|next| next.starts_with(path));
        let is_others = others.range(path.clone()..).next().is_some_and(|next| next.starts_with(path));
        if !is_wanted && !is_others {
            remove(&mut merged, path, shapes, &mut Vec::new());
        }
    }

    match all.iter_mut().find(|entry| mine(entry)) {
        Some(entry) if entry.fields == wanted_fields => {}
        Some(entry) => {
            entry.fields = wanted_fields;
            entry.time = object::now();
            entry.api_version = applier.api_version.to_owned();
        }
        None => all.push(Manager {
            name: applier.manager.to_owned(),
            operation: "Apply".to_owned(),
            api_version: applier.api_version.to_owned(),
            subresource: applier.subresource.to_owned(),
            time: object::now(),
            fields: wanted_fields,
        }),
    }
    set_managers(&mut merged, &all);
    Ok(merged)
}

/// Items of keyed lists need their keys, and each its own.
fn check_lists<'w>(value: &'w Value, shapes: Shapes<'_>, names: &mut Vec<&'w str>) -> Result<(), ApiError> {
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                names.push(name);
                check_lists(child, shapes.field(name), names)?;
                names.pop();
            }
        }
        Value::Array(list) => {
            let ListShape::Map(keys) = shapes.list(names) else { return Ok(()) };
            let mut seen = std::collections::BTreeSet::new();
            for (index, item) in list.iter().enumerate() {
                let wrong = |why: String| {
                    let path = names.join(".");
                    ApiError::bad_request(format!(
                        "failed to create typed patch object: .{path}: element {index}: {why}"
                    ))
                };
                if !keys.iter().any(|key| item.get(key).is_some_and(|value| !value.is_null())) {
                    let keys = keys.join(", ");
                    return Err(wrong(format!(
                        "associative list with keys has an element that omits key field {keys:?}"
                    )));
                }
                let step = item_step(item, &keys);
                if !seen.insert(step.clone()) {
                    return Err(wrong(format!(
                        "duplicate entries for key {}",
                        step.trim_start_matches("k:")
                    )));
                }
                check_lists(item, shapes.item(), names)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn conflict_source(entry: &Manager) -> String {
    let mut source = format!("{:?}", entry.name);
    if !entry.subresource.is_empty() {
        source.push_str(&format!(" with subresource {:?}", entry.subresource));
    }
    if entry.operation == "Update" {
        source.push_str(&format!(" using {}", entry.api_version));
    }
    source
}

fn conflict_error(conflicts: &[(String, Path)]) -> ApiError {
    let mut by_source: Vec<(&str, Vec<String>)> = Vec::new();
    for (source, path) in conflicts {
        match by_source.iter_mut().find(|(found, _)| found == source) {
            Some((_, paths)) => paths.push(printed(path)),
            None => by_source.push((source, vec![printed(path)])),
        }
    }
    let lines: Vec<String> = by_source
        .iter()
        .map(|(source, paths)| match paths.as_slice() {
            [one] => format!("conflict with {source}: {one}"),
            many => format!("conflicts with {source}:\n- {}", many.join("\n- ")),
        })
        .collect();
    let plural = if conflicts.len() == 1 { "conflict" } else { "conflicts" };
    let message = format!("Apply failed with {} {plural}: {}", conflicts.len(), lines.join("\n"));
    let causes = conflicts
        .iter()
        .map(|(source, path)| {
            json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {source}"),
                "field": printed(path),
            })
        })
        .collect();
    ApiError::apply_conflict(message, causes)
}

fn merge<'w>(current: &Value, wanted: &'w Value, shapes: Shapes<'_>, names: &mut Vec<&'w str>) -> Value {
    match (current, wanted) {
        (Value::Object(current), Value::Object(wanted)) if !shapes.is_atomic_map(names) => {
            let mut merged = current.clone();
            for (name, value) in wanted {
                names.push(name);
                let before = merged.get(name).unwrap_or(&Value::Null);
                let value = merge(before, value, shapes.field(name), names);
                merged.insert(name.clone(), value);
                names.pop();
            }
            Value::Object(merged)
        }
        (Value::Array(current), Value::Array(wanted)) => match shapes.list(names) {
            ListShape::Map(keys) => Value::Array(merge_items(current, wanted, shapes, &keys, names)),
            ListShape::Set => {
                let mut merged = current.clone();
                merged.extend(wanted.iter().filter(|item| !current.contains(item)).cloned());
                Value::Array(merged)
            }
            ListShape::Atomic => Value::Array(wanted.clone()),
        },
        _ => wanted.clone(),
    }
}

fn merge_items<'w>(
    current: &[Value],
    wanted: &'w [Value],
    shapes: Shapes<'_>,
    keys: &[String],
    names: &mut Vec<&'w str>,
) -> Vec<Value> {
    let mut merged = current.to_vec();
    for item in wanted {
        let step = item_step(item, keys);
        match merged.iter_mut().find(|found| item_step(found, keys) == step) {
            Some(found) => *found = merge(&found.clone(), item, shapes.item(), names),
            None => merged.push(item.clone()),
        }
    }
    merged
}

/// Takes out what is at a path, if it is still there.
fn remove<'p>(value: &mut Value, path: &'p [String], shapes: Shapes<'_>, names: &mut Vec<&'p str>) {
    let Some((step, rest)) = path.split_first() else { return };
    if let Some(name) = step.strip_prefix("f:") {
        names.push(name);
        if let Value::Object(map) = value {
            remove_field(map, name, rest, shapes, names);
        }
        names.pop();
    } else if let Value::Array(list) = value {
        let ListShape::Map(keys) = shapes.list(names) else {
            list.retain(|item| format!("v:{item}") != *step);
            return;
        };
        // An item that stays, because others want it, keeps the fields that say which item it is.
        let is_key = |step: &String| keys.iter().any(|key| step.strip_prefix("f:") == Some(key));
        let is_identity = matches!(rest, [only] if is_key(only));
        if rest.is_empty() {
            list.retain(|item| item_step(item, &keys) != *step);
        } else if !is_identity
            && let Some(item) = list.iter_mut().find(|item| item_step(item, &keys) == *step)
        {
            remove(item, rest, shapes.item(), names);
        }
    }
}

fn remove_field<'p>(
    map: &mut Map<String, Value>,
    name: &str,
    rest: &'p [String],
    shapes: Shapes<'_>,
    names: &mut Vec<&'p str>,
) {
    if rest.is_empty() {
        map.shift_remove(name);
        return;
    }
    let Some(child) = map.get_mut(name) else { return };
    remove(child, rest, shapes.field(name), names);
    let is_empty = match child {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    if is_empty {
        map.shift_remove(name);
    }
}
