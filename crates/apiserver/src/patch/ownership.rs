//! Who owns which field: `metadata.managedFields` in the `FieldsV1` form.
//!
//! A path is a list of steps in `FieldsV1`'s own spelling: `f:NAME`, `k:{"name":"x"}` for an item of a keyed list,
//! `v:"x"` for a value of a set.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::shape::{ListShape, Shapes};
use crate::object::{self, items, text_or_empty};

pub(crate) type Path = Vec<String>;
pub(crate) type Fields = BTreeSet<Path>;

/// One entry of `managedFields`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manager {
    pub name: String,
    /// `Apply` or `Update`.
    pub operation: String,
    pub api_version: String,
    pub subresource: String,
    pub time: String,
    pub fields: Fields,
}

impl Manager {
    pub fn is_same(&self, name: &str, operation: &str, subresource: &str) -> bool {
        self.name == name && self.operation == operation && self.subresource == subresource
    }

    fn from_json(entry: &Value) -> Manager {
        let mut fields = Fields::new();
        if let Some(Value::Object(tree)) = entry.get("fieldsV1") {
            read_tree(tree, &mut Vec::new(), &mut fields);
        }
        Manager {
            name: text_or_empty(entry, &["manager"]).to_owned(),
            operation: text_or_empty(entry, &["operation"]).to_owned(),
            api_version: text_or_empty(entry, &["apiVersion"]).to_owned(),
            subresource: text_or_empty(entry, &["subresource"]).to_owned(),
            time: text_or_empty(entry, &["time"]).to_owned(),
            fields,
        }
    }

    fn to_json(&self) -> Value {
        let mut entry = json!({
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": write_tree(&self.fields),
        });
        if !self.subresource.is_empty() {
            object::set(&mut entry, &["subresource"], self.subresource.as_str());
        }
        entry
    }
}

/// The managers of an object.
pub(crate) fn managers(object: &Value) -> Vec<Manager> {
    items(object, &["metadata", "managedFields"])
        .iter()
        .map(Manager::from_json)
        .filter(|manager| !manager.operation.is_empty())
        .collect()
}

/// Writes the managers that still own something.
pub(crate) fn set_managers(object: &mut Value, managers: &[Manager]) {
    let entries: Vec<Value> =
        managers.iter().filter(|manager| !manager.fields.is_empty()).map(Manager::to_json).collect();
    if entries.is_empty() {
        object::remove(object, &["metadata", "managedFields"]);
    } else {
        object::set(object, &["metadata", "managedFields"], entries);
    }
}

fn read_tree(tree: &Map<String, Value>, path: &mut Path, fields: &mut Fields) {
    for (step, below) in tree {
        if step == "." {
            fields.insert(path.clone());
            continue;
        }
        path.push(step.clone());
        match below {
            Value::Object(below) if !below.is_empty() && path.len() < crate::schema::MAX_DEPTH => {
                read_tree(below, path, fields);
            }
            _ => {
                fields.insert(path.clone());
            }
        }
        path.pop();
    }
}

fn write_tree(fields: &Fields) -> Value {
    let mut tree = Value::Object(Map::new());
    for path in fields {
        let mut node = &mut tree;
        for step in path {
            node = object::as_map_mut(node).entry(step.clone()).or_insert_with(|| Value::Object(Map::new()));
        }
    }
    // An owned node with owned children says so with a dot.
    for path in fields {
        let mut node = Some(&mut tree);
        for step in path {
            node = node.and_then(|node| node.get_mut(step));
        }
        if let Some(Value::Object(node)) = node
            && !node.is_empty()
        {
            node.shift_insert(0, ".".to_owned(), json!({}));
        }
    }
    tree
}

/// The owned leaves of an object with their values. What only the server writes is nobody's.
pub(crate) fn leaves<'a>(object: &'a Value, shapes: Shapes<'_>) -> BTreeMap<Path, &'a Value> {
    let mut found = BTreeMap::new();
    let mut walk = Walk { path: Vec::new(), names: Vec::new(), found: &mut found };
    walk.value(object, shapes);
    found
}

struct Walk<'a, 'f> {
    path: Path,
    names: Vec<&'a str>,
    found: &'f mut BTreeMap<Path, &'a Value>,
}

impl<'a> Walk<'a, '_> {
    fn value(&mut self, value: &'a Value, shapes: Shapes<'_>) {
        match value {
            Value::Object(map) if !map.is_empty() && !shapes.is_atomic_map(&self.names) => {
                for (name, child) in map {
                    if self.is_servers(name) {
                        continue;
                    }
                    self.names.push(name);
                    self.path.push(format!("f:{name}"));
                    self.value(child, shapes.field(name));
                    self.path.pop();
                    self.names.pop();
                }
            }
            Value::Array(list) => match shapes.list(&self.names) {
                ListShape::Map(keys) if !list.is_empty() => {
                    for item in list {
                        self.path.push(item_step(item, &keys));
                        self.found.insert(self.path.clone(), &Value::Null);
                        self.value(item, shapes.item());
                        self.path.pop();
                    }
                }
                ListShape::Set if !list.is_empty() => {
                    for item in list {
                        self.path.push(format!("v:{item}"));
                        self.found.insert(self.path.clone(), item);
                        self.path.pop();
                    }
                }
                _ => self.leaf(value),
            },
            _ => self.leaf(value),
        }
    }

    fn leaf(&mut self, value: &'a Value) {
        if !self.path.is_empty() {
            self.found.insert(self.path.clone(), value);
        }
    }

    fn is_servers(&self, name: &str) -> bool {
        match self.names.as_slice() {
            [] => matches!(name, "apiVersion" | "kind"),
            ["metadata"] => matches!(
                name,
                "name"
                    | "namespace"
                    | "generateName"
                    | "uid"
                    | "resourceVersion"
                    | "generation"
                    | "selfLink"
                    | "creationTimestamp"
                    | "deletionTimestamp"
                    | "deletionGracePeriodSeconds"
                    | "managedFields"
            ),
            _ => false,
        }
    }
}

/// The step to an item of a keyed list. An absent protocol is TCP, as it will be defaulted to.
pub(crate) fn item_step(item: &Value, keys: &[String]) -> String {
    let mut identity: BTreeMap<&str, Value> = BTreeMap::new();
    for key in keys {
        match item.get(key) {
            Some(value) => {
                identity.insert(key, value.clone());
            }
            None if key == "protocol" => {
                identity.insert(key, "TCP".into());
            }
            None => {}
        }
    }
    format!("k:{}", json!(identity))
}

/// Records a create, update or patch: what changed is the manager's now, what went is nobody's.
pub(crate) fn record_update(
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
    subresource: &str,
    api_version: &str,
    shapes: Shapes<'_>,
) {
    let empty = Value::Null;
    let before = leaves(old.unwrap_or(&empty), shapes);
    let (changed, gone): (Fields, Fields) = {
        let after = leaves(new, shapes);
        let changed = after.iter().filter(|(path, value)| before.get(*path) != Some(value));
        let gone = before.keys().filter(|path| !after.contains_key(*path));
        (changed.map(|(path, _)| path.clone()).collect(), gone.cloned().collect())
    };
    // A client may rewrite the record itself (kubectl moves ownership when it goes over to server-side apply).
    let source = if new.get("metadata").is_some_and(|metadata| metadata.get("managedFields").is_some()) {
        managers(new)
    } else {
        old.map(managers).unwrap_or_default()
    };
    let mut all = source;
    for entry in &mut all {
        entry.fields.retain(|path| !gone.contains(path));
        if !entry.is_same(manager, "Update", subresource) {
            entry.fields.retain(|path| !changed.contains(path) || is_item(path));
        }
    }
    if !changed.is_empty() {
        match all.iter_mut().find(|entry| entry.is_same(manager, "Update", subresource)) {
            Some(entry) => {
                entry.fields.extend(changed);
                entry.time = object::now();
                entry.api_version = api_version.to_owned();
            }
            None => all.push(Manager {
                name: manager.to_owned(),
                operation: "Update".to_owned(),
                api_version: api_version.to_owned(),
                subresource: subresource.to_owned(),
                time: object::now(),
                fields: changed,
            }),
        }
    }
    set_managers(new, &all);
}

/// Whether a path is that of a list item itself, which several managers can own.
pub(crate) fn is_item(path: &Path) -> bool {
    path.last().is_some_and(|step| step.starts_with("k:") || step.starts_with("v:"))
}

/// A path as messages print it: `.spec.containers[name="app"].image`.
pub(crate) fn printed(path: &Path) -> String {
    let mut text = String::new();
    for step in path {
        if let Some(name) = step.strip_prefix("f:") {
            text.push('.');
            text.push_str(name);
        } else if let Some(keys) = step.strip_prefix("k:") {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            text.push_str(&format!("[{}]", keys.join(",")));
        } else if let Some(value) = step.strip_prefix("v:") {
            text.push_str(&format!("[={value}]"));
        }
    }
    text
}
