//! What every object carries besides its spec.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::violation::Violation;

/// Names, labels and bookkeeping of an object: the part of Kubernetes' ObjectMeta that a mesh reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The namespace; empty where a file leaves it to the command line.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The identity of this very object; empty until the API has stored it.
    pub uid: String,
    /// Counts changes of the spec; 0 until the API has stored the object.
    pub generation: i64,
    /// When the object was made; the epoch until the API has stored it. Older objects take precedence.
    pub creation: Timestamp,
    /// When deletion was asked for.
    pub deletion: Option<Timestamp>,
    /// Changes with every write; empty until the API has stored the object.
    pub resource_version: String,
}

impl Meta {
    /// A new object's: only names.
    pub fn named(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), ..Self::default() }
    }

    /// Reads `metadata`. Fields a mesh does not use are left alone; those it does must have the right type.
    ///
    /// # Errors
    /// One violation for each field of a wrong type.
    pub fn from_value(metadata: Option<&Value>) -> Result<Self, Vec<Violation>> {
        let fields = match metadata {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(vec![Violation::error("metadata", "must be an object")]),
        };
        let mut reader = Reader { fields, violations: Vec::new() };
        let meta = Self {
            namespace: reader.text("namespace"),
            name: reader.text("name"),
            labels: reader.texts("labels"),
            annotations: reader.texts("annotations"),
            uid: reader.text("uid"),
            generation: reader.generation(),
            creation: reader.timestamp("creationTimestamp").unwrap_or_default(),
            deletion: reader.timestamp("deletionTimestamp"),
            resource_version: reader.text("resourceVersion"),
        };
        if reader.violations.is_empty() { Ok(meta) } else { Err(reader.violations) }
    }

    /// Writes `metadata`, leaving out what is not known.
    pub fn to_value(&self) -> Value {
        let mut fields = Map::new();
        let mut text = |name: &str, value: &str| {
            if !value.is_empty() {
                fields.insert(name.to_owned(), json!(value));
            }
        };
        text("name", &self.name);
        text("namespace", &self.namespace);
        text("uid", &self.uid);
        text("resourceVersion", &self.resource_version);
        if self.generation != 0 {
            fields.insert("generation".to_owned(), json!(self.generation));
        }
        if self.creation != Timestamp::UNIX_EPOCH {
            fields.insert("creationTimestamp".to_owned(), json!(self.creation.to_string()));
        }
        if let Some(deletion) = self.deletion {
            fields.insert("deletionTimestamp".to_owned(), json!(deletion.to_string()));
        }
        for (name, texts) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !texts.is_empty() {
                fields.insert(name.to_owned(), json!(texts));
            }
        }
        Value::Object(fields)
    }
}

/// Reads fields of `metadata` and collects what is wrong with them.
struct Reader<'a> {
    fields: &'a Map<String, Value>,
    violations: Vec<Violation>,
}

impl Reader<'_> {
    fn wrong(&mut self, field: &str, message: &str) {
        self.violations.push(Violation::error(format!("metadata.{field}"), message));
    }

    fn text(&mut self, field: &str) -> String {
        match self.fields.get(field) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => {
                self.wrong(field, "must be a text");
                String::new()
            }
        }
    }

    fn texts(&mut self, field: &str) -> BTreeMap<String, String> {
        let entries = match self.fields.get(field) {
            None | Some(Value::Null) => return BTreeMap::new(),
            Some(Value::Object(entries)) => entries,
            Some(_) => {
                self.wrong(field, "must be an object of texts");
                return BTreeMap::new();
            }
        };
        let mut texts = BTreeMap::new();
        for (key, value) in entries {
            match value {
                Value::String(text) => {
                    texts.insert(key.clone(), text.clone());
                }
                _ => self.wrong(&format!("{field}[{key}]"), "must be a text; put quotes around it"),
            }
        }
        texts
    }

    fn generation(&mut self) -> i64 {
        match self.fields.get("generation") {
            None | Some(Value::Null) => 0,
            Some(value) => value.as_i64().unwrap_or_else(|| {
                self.wrong("generation", "must be a whole number");
                0
            }),
        }
    }

    fn timestamp(&mut self, field: &str) -> Option<Timestamp> {
        let text = self.text(field);
        if text.is_empty() {
            return None;
        }
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.wrong(field, "must be a time such as 2030-01-31T12:00:00Z");
        }
        parsed
    }
}
