//! Reading and writing the parts that every Kubernetes object has.
//!
//! Objects are JSON values: a server that stores types it learns at run time has no better form. Nothing here panics on a
//! value of the wrong shape; reading gives nothing, writing makes the maps it needs.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// The value at a path of field names.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// The text at a path of field names.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path).and_then(Value::as_str)
}

/// The text at a path, empty if there is none.
pub(crate) fn text_or_empty<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    text(value, path).unwrap_or_default()
}

/// The whole number at a path.
pub(crate) fn integer(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

/// The list at a path, empty if there is none.
pub(crate) fn items<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The map at a path.
pub(crate) fn map<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Map<String, Value>> {
    at(value, path).and_then(Value::as_object)
}

/// The value as a map, made one if it is not.
pub(crate) fn as_map_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made a map just above"),
    }
}

/// The map at a path, made if absent or not a map.
pub(crate) fn map_mut<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let mut current = value;
    for name in path {
        current = as_map_mut(current).entry((*name).to_owned()).or_insert(Value::Null);
    }
    as_map_mut(current)
}

/// Puts a value at a path, making the maps on the way.
pub(crate) fn set(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    if let Some((last, parents)) = path.split_last() {
        map_mut(value, parents).insert((*last).to_owned(), new.into());
    }
}

/// Removes the value at a path; maps on the way stay.
pub(crate) fn remove(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut current = value;
    for name in parents {
        current = current.get_mut(*name)?;
    }
    current.as_object_mut()?.shift_remove(*last)
}

/// Puts a value at a path if nothing, or null, is there.
pub(crate) fn set_default(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    if at(value, path).is_none_or(Value::is_null) {
        set(value, path, new);
    }
}

/// `metadata.name`, empty if absent.
pub(crate) fn name(object: &Value) -> &str {
    text_or_empty(object, &["metadata", "name"])
}

/// `metadata.namespace`, empty if absent.
pub(crate) fn namespace(object: &Value) -> &str {
    text_or_empty(object, &["metadata", "namespace"])
}

/// `metadata.uid`, empty if absent.
pub(crate) fn uid(object: &Value) -> &str {
    text_or_empty(object, &["metadata", "uid"])
}

/// `metadata.resourceVersion`, empty if absent.
pub(crate) fn resource_version(object: &Value) -> &str {
    text_or_empty(object, &["metadata", "resourceVersion"])
}

/// `kind`, empty if absent.
pub(crate) fn kind(object: &Value) -> &str {
    text_or_empty(object, &["kind"])
}

/// A label's value.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    text(object, &["metadata", "labels", key])
}

/// Whether deletion has begun.
pub(crate) fn is_terminating(object: &Value) -> bool {
    text(object, &["metadata", "deletionTimestamp"]).is_some()
}

/// `metadata.finalizers`.
pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    items(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str)
}

/// Whether a finalizer is there.
pub(crate) fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    finalizers(object).any(|found| found == finalizer)
}

/// Adds a finalizer if it is not there.
pub(crate) fn add_finalizer(object: &mut Value, finalizer: &str) {
    if !has_finalizer(object, finalizer) {
        let list =
            map_mut(object, &["metadata"]).entry("finalizers").or_insert_with(|| Value::Array(Vec::new()));
        match list {
            Value::Array(list) => list.push(finalizer.into()),
            other => *other = Value::Array(vec![finalizer.into()]),
        }
    }
}

/// Removes a finalizer, and the list when it was the last one.
pub(crate) fn remove_finalizer(object: &mut Value, finalizer: &str) {
    let rest: Vec<Value> = finalizers(object).filter(|found| *found != finalizer).map(Value::from).collect();
    if rest.is_empty() {
        remove(object, &["metadata", "finalizers"]);
    } else {
        set(object, &["metadata", "finalizers"], rest);
    }
}

/// The uids of the object's owners.
pub(crate) fn owner_uids(object: &Value) -> impl Iterator<Item = &str> {
    items(object, &["metadata", "ownerReferences"]).iter().filter_map(|owner| text(owner, &["uid"]))
}

/// A time as `metav1.Time` prints it: RFC 3339, whole seconds, UTC.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Now, as `metav1.Time` prints it.
pub(crate) fn now() -> String {
    time(Timestamp::now())
}

/// Some seconds from now, as `metav1.Time` prints it.
pub(crate) fn seconds_from_now(seconds: i64) -> String {
    let now = Timestamp::now();
    time(now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now))
}

/// How long ago a time was, as kubectl prints ages; `<unknown>` if the text is no time.
pub(crate) fn age(since: Option<&str>) -> String {
    match since.and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(then) => human_duration(Timestamp::now().as_second() - then.as_second()),
        None => "<unknown>".to_owned(),
    }
}

/// A duration in seconds as kubectl prints it (`duration.HumanDuration` in apimachinery).
pub(crate) fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let with_rest = |big: i64, unit: &str, rest: i64, rest_unit: &str| match rest {
        0 => format!("{big}{unit}"),
        rest => format!("{big}{unit}{rest}{rest_unit}"),
    };
    match seconds {
        i64::MIN..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => with_rest(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => with_rest(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => with_rest(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => with_rest(seconds / YEAR, "y", seconds % YEAR / DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
