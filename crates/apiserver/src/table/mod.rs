//! Tables: what `kubectl get` prints.

mod columns;
mod custom;
mod pods;
mod workloads;

use serde_json::{Value, json};

use crate::object;
use crate::operations::list::{Page, metadata};
use crate::resources::Resource;

/// One column: its heading, its type, and whether it is only shown wide.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub name: String,
    pub kind: String,
    pub format: String,
    pub description: String,
    /// Above 0: only with `-o wide`.
    pub priority: i64,
}

impl Column {
    fn new(name: &str, kind: &str, priority: i64) -> Column {
        Column {
            name: name.to_owned(),
            kind: kind.to_owned(),
            format: if name == "Name" { "name".to_owned() } else { String::new() },
            description: name.to_owned(),
            priority,
        }
    }

    fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }
}

/// Makes the cells of an object's row.
type Row = Box<dyn Fn(&Value) -> Vec<Value>>;

/// How a resource's objects become rows.
struct Layout {
    columns: Vec<Column>,
    cells: Row,
}

fn layout(resource: &Resource) -> Layout {
    match &resource.custom {
        Some(custom) => custom::layout(&custom.columns),
        None => columns::layout(resource),
    }
}

/// Only what every object has, as `PartialObjectMetadata`.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_default(),
    })
}

fn rendered<'a>(
    resource: &Resource,
    objects: impl Iterator<Item = &'a Value>,
    metadata: Value,
    whole_objects: bool,
) -> Value {
    let layout = layout(resource);
    let rows: Vec<Value> = objects
        .map(|object| {
            let shown = if whole_objects { object.clone() } else { partial(object) };
            json!({"cells": (layout.cells)(object), "object": shown})
        })
        .collect();
    let columns: Vec<Value> = layout.columns.iter().map(Column::definition).collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// The table of a page of a list.
pub(crate) fn of_page(resource: &Resource, page: &Page, whole_objects: bool) -> Value {
    let shown: Vec<Value> =
        page.objects.iter().map(|stored| crate::api::presented(resource, &stored.object)).collect();
    rendered(resource, shown.iter(), metadata(page), whole_objects)
}

/// The table of one object.
pub(crate) fn of_one(resource: &Resource, object: &Value, whole_objects: bool) -> Value {
    let metadata = json!({"resourceVersion": object::resource_version(object)});
    rendered(resource, std::iter::once(object), metadata, whole_objects)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
