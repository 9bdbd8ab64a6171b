//! Reads an object of any kind and version, or says of every field what is wrong with it.

use serde_json::{Map, Value};

use crate::{
    config::{Config, Spec},
    kind::Kind,
    meta::Meta,
    schema, shape,
    violation::Violation,
};

/// The fields an object may have besides its spec.
const ENVELOPE: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// Reads an object as the API or a file has it. All served versions of a kind give the same types.
/// A field that is null counts as absent; status is not looked at.
///
/// # Errors
/// Every field that is unknown, has a wrong type or a value out of range, all at once.
pub fn parse(value: Value) -> Result<Config, Vec<Violation>> {
    let Value::Object(mut object) = value else {
        return Err(vec![Violation::error("", "must be an object with apiVersion, kind, metadata and spec")]);
    };
    let kind = kind_of(&object)?;
    let mut violations: Vec<_> = object
        .keys()
        .filter(|name| !ENVELOPE.contains(&name.as_str()))
        .map(|name| {
            Violation::error(name, "unknown field; only metadata and spec stand beside apiVersion and kind")
        })
        .collect();
    let meta = Meta::from_value(object.get("metadata")).unwrap_or_else(|wrong| {
        violations.extend(wrong);
        Meta::default()
    });
    let mut spec =
        object.remove("spec").filter(|spec| !spec.is_null()).unwrap_or_else(|| Value::Object(Map::new()));
    let schema = schema::of_spec(kind);
    shape::drop_nulls(schema, &mut spec);
    violations.extend(shape::check(schema, &spec, "spec"));
    if !violations.is_empty() {
        return Err(violations);
    }
    match Spec::from_value(kind, spec) {
        Ok(spec) => Ok(Config { meta, spec }),
        Err(error) => Err(vec![Violation::error("spec", error.to_string())]),
    }
}

fn kind_of(object: &Map<String, Value>) -> Result<Kind, Vec<Violation>> {
    let text = |name: &str| match object.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(vec![Violation::error(name, "must be a text")]),
        None => Err(vec![Violation::error(name, "is required")]),
    };
    let (api_version, kind) = (text("apiVersion")?, text("kind")?);
    Kind::of(api_version, kind).ok_or_else(|| {
        let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
        vec![match known {
            Some(known) => {
                let served: Vec<_> =
                    known.versions().iter().map(|v| format!("{}/{v}", known.group())).collect();
                Violation::error(
                    "apiVersion",
                    format!("{api_version:?} has no {kind}; use {}", served.join(", ")),
                )
            }
            None => Violation::error("kind", format!("{kind:?} of {api_version:?} is not a kind of Istio's")),
        }]
    })
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
