//! Strategic merge patch: maps merge, lists with a merge key merge item by item, and directives say the rest
//! (apimachinery `strategicpatch`).

use serde_json::{Map, Value};

use super::shape::{ListShape, Shapes};
use crate::error::ApiError;

const ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Applies a patch to an object of a built-in kind.
pub(crate) fn merge(current: &Value, patch: &Value) -> Result<Value, ApiError> {
    let (Value::Object(current), Value::Object(patch)) = (current, patch) else {
        return Err(ApiError::bad_request("error decoding patch: a strategic merge patch must be an object"));
    };
    let mut path = Vec::new();
    Ok(Value::Object(merge_map(current.clone(), patch, &mut path)?))
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad_request(message)
}

fn merge_map<'p>(
    mut current: Map<String, Value>,
    patch: &'p Map<String, Value>,
    path: &mut Vec<&'p str>,
) -> Result<Map<String, Value>, ApiError> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => return Ok(without_directives(patch)),
        Some("delete") => return Ok(Map::new()),
        Some("merge") | None => {}
        Some(other) => return Err(bad(format!("unknown patch type found: {other}"))),
    }
    if let Some(retained) = patch.get("$retainKeys") {
        let Some(retained) = retained.as_array() else {
            return Err(bad("invalid $retainKeys: must be a list"));
        };
        current.retain(|name, _| retained.iter().any(|kept| kept.as_str() == Some(name)));
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE_FROM) {
            let gone = value.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(Value::Array(found)) = current.get_mut(list) {
                found.retain(|item| !gone.contains(item));
            }
        }
    }
    for (name, value) in patch {
        if name.starts_with('$') {
            continue;
        }
        path.push(name);
        match (value, current.get_mut(name)) {
            (Value::Null, _) => {
                current.shift_remove(name);
            }
            (Value::Object(patch), found) => {
                let before = match found.map(Value::take) {
                    Some(Value::Object(before)) => before,
                    _ => Map::new(),
                };
                let is_deletion = patch.get("$patch").and_then(Value::as_str) == Some("delete");
                let merged = merge_map(before, patch, path)?;
                if is_deletion {
                    current.shift_remove(name);
                } else {
                    current.insert(name.clone(), Value::Object(merged));
                }
            }
            (Value::Array(patch), found) => {
                let before = match found.map(Value::take) {
                    Some(Value::Array(before)) => before,
                    _ => Vec::new(),
                };
                let merged = merge_list(before, patch, path)?;
                current.insert(name.clone(), Value::Array(merged));
            }
            (value, _) => {
                current.insert(name.clone(), value.clone());
            }
        }
        path.pop();
    }
    for (name, order) in patch {
        if let Some(list) = name.strip_prefix(ORDER)
            && let (Some(Value::Array(found)), Some(order)) = (current.get_mut(list), order.as_array())
        {
            path.push(list);
            set_order(found, order, &merge_key(path));
            path.pop();
        }
    }
    Ok(current)
}

/// The field a list of maps is merged by: the first of its keys.
enum MergeKey {
    Field(String),
    Plain,
    None,
}

fn merge_key(path: &[&str]) -> MergeKey {
    match Shapes::BuiltIn.list(path) {
        ListShape::Map(keys) => keys.into_iter().next().map_or(MergeKey::None, MergeKey::Field),
        ListShape::Set => MergeKey::Plain,
        ListShape::Atomic => MergeKey::None,
    }
}

fn merge_list<'p>(
    mut current: Vec<Value>,
    patch: &'p [Value],
    path: &mut Vec<&'p str>,
) -> Result<Vec<Value>, ApiError> {
    let directive = |item: &Value| item.get("$patch").and_then(Value::as_str).map(str::to_owned);
    if patch.iter().any(|item| directive(item).as_deref() == Some("replace")) {
        let rest = patch.iter().filter(|item| directive(item).as_deref() != Some("replace"));
        return Ok(rest.map(clean).collect());
    }
    let key = match merge_key(path) {
        MergeKey::None => return Ok(patch.iter().map(clean).collect()),
        MergeKey::Plain => {
            for item in patch {
                if !current.contains(item) {
                    current.push(item.clone());
                }
            }
            return Ok(current);
        }
        MergeKey::Field(key) => key,
    };
    for item in patch {
        let Some(map) = item.as_object() else {
            return Err(bad(format!("the list {} has items that are not objects", path.join("."))));
        };
        let Some(value) = map.get(&key) else {
            return Err(bad(format!("map: {item} does not contain declared merge key: {key}")));
        };
        match directive(item).as_deref() {
            Some("delete") => current.retain(|found| found.get(&key) != Some(value)),
            Some("merge") | None => match current.iter_mut().find(|found| found.get(&key) == Some(value)) {
                Some(found) => {
                    let before = match found.take() {
                        Value::Object(before) => before,
                        _ => Map::new(),
                    };
                    *found = Value::Object(merge_map(before, map, path)?);
                }
                None => current.push(clean(item)),
            },
            Some(other) => return Err(bad(format!("unknown patch type found: {other}"))),
        }
    }
    Ok(current)
}

/// Puts the items into the wanted order; those the order does not know keep their place after the one they followed.
fn set_order(list: &mut Vec<Value>, order: &[Value], key: &MergeKey) {
    let rank = |item: &Value| {
        order.iter().position(|wanted| match key {
            MergeKey::Field(key) => wanted.get(key).is_some() && wanted.get(key) == item.get(key),
            _ => wanted == item,
        })
    };
    let mut ranked: Vec<(usize, Value)> = Vec::with_capacity(list.len());
    let mut last = 0;
    for item in list.drain(..) {
        last = rank(&item).map_or(last, |rank| rank + 1);
        ranked.push((last, item));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    list.extend(ranked.into_iter().map(|(_, item)| item));
}

fn without_directives(map: &Map<String, Value>) -> Map<String, Value> {
    let kept = map.iter().filter(|(name, value)| !name.starts_with('$') && !value.is_null());
    kept.map(|(name, value)| (name.clone(), clean(value))).collect()
}

/// A value that is put in as it is, without directives and nulls.
fn clean(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(without_directives(map)),
        Value::Array(list) => Value::Array(list.iter().map(clean).collect()),
        other => other.clone(),
    }
}
