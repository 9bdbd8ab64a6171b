//! The two views of an event: `v1` as stored, and `events.k8s.io/v1`, which names some fields differently.

use serde_json::Value;

use crate::object;

/// Stored name and the newer one.
const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("source", "deprecatedSource"),
];

/// A stored event as `events.k8s.io/v1` shows it.
pub(crate) fn to_new(event: &Value) -> Value {
    renamed(event, "events.k8s.io/v1", |name| {
        RENAMED.iter().find(|(old, _)| *old == name).map(|(_, new)| *new)
    })
}

/// An event of `events.k8s.io/v1` as it is stored.
pub(crate) fn to_stored(event: &Value) -> Value {
    renamed(event, "v1", |name| RENAMED.iter().find(|(_, new)| *new == name).map(|(old, _)| *old))
}

fn renamed(event: &Value, api_version: &str, rename: impl Fn(&str) -> Option<&'static str>) -> Value {
    let fields = event.as_object().into_iter().flatten();
    let mut shown: Value = Value::Object(
        fields.map(|(name, value)| (rename(name).unwrap_or(name).to_owned(), value.clone())).collect(),
    );
    object::set(&mut shown, &["apiVersion"], api_version);
    object::set(&mut shown, &["kind"], "Event");
    shown
}
