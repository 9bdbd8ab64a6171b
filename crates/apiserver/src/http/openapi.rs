//! OpenAPI v3: the index and a document for each group and version. `kubectl` asks it whether the server validates fields
//! and what `explain` should print.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::object;
use crate::resources::builtin::{SCHEMA_PREFIX, schema_name, schemas};
use crate::resources::{Catalogue, GroupVersion, Resource};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// `/openapi/v3`.
pub(crate) fn index(catalogue: &Catalogue) -> Value {
    let mut paths = Map::new();
    for group in &catalogue.groups {
        for version in &group.versions {
            let path = match group.name.as_str() {
                "" => format!("api/{}", version.name),
                name => format!("apis/{name}/{}", version.name),
            };
            let address = format!("/openapi/v3/{path}?hash={}", catalogue.edition);
            paths.insert(path, json!({"serverRelativeURL": address}));
        }
    }
    json!({"paths": paths})
}

/// `/openapi/v3/apis/GROUP/VERSION`.
pub(crate) fn document(version: &GroupVersion) -> Value {
    let mut paths = Map::new();
    let mut components = Map::new();
    for resource in &version.resources {
        let name = match &resource.custom {
            Some(_) => custom_name(resource),
            None => match schema_name(&resource.group, &resource.version, &resource.kind) {
                Some(name) => name.to_owned(),
                None => continue,
            },
        };
        if resource.custom.is_some() {
            components.insert(name.clone(), custom_schema(resource));
        } else {
            include(&name, &mut components);
        }
        add_paths(resource, &name, &mut paths);
    }
    include(META, &mut components);
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.33.0"},
        "paths": paths,
        "components": {"schemas": components},
    })
}

fn custom_name(resource: &Resource) -> String {
    let reversed: Vec<&str> = resource.group.split('.').rev().collect();
    format!("{}.{}.{}", reversed.join("."), resource.version, resource.kind)
}

/// A custom kind's schema with what every object has.
fn custom_schema(resource: &Resource) -> Value {
    let mut schema = resource.custom.as_ref().map(|custom| custom.schema.clone()).unwrap_or_default();
    let text = |description: &str| json!({"type": "string", "description": description});
    let properties = object::map_mut(&mut schema, &["properties"]);
    properties.insert(
        "apiVersion".to_owned(),
        text("APIVersion defines the versioned schema of this representation of an object."),
    );
    properties.insert(
        "kind".to_owned(),
        text("Kind is a string value representing the REST resource this object represents."),
    );
    properties.insert(
        "metadata".to_owned(),
        json!({"description": "Standard object's metadata.", "allOf": [{"$ref": format!("{SCHEMA_PREFIX}{META}")}]}),
    );
    let marker = json!([{"group": resource.group, "version": resource.version, "kind": resource.kind}]);
    object::set(&mut schema, &["x-kubernetes-group-version-kind"], marker);
    schema
}

/// Adds a built-in schema and everything it refers to.
fn include(name: &str, components: &mut Map<String, Value>) {
    let mut wanted = BTreeSet::from([name.to_owned()]);
    while let Some(name) = wanted.pop_first() {
        if components.contains_key(&name) {
            continue;
        }
        if let Some(schema) = schemas().get(&name) {
            references(schema, &mut wanted);
            components.insert(name, schema.clone());
        }
    }
}

fn references(schema: &Value, wanted: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(name) =
                map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(SCHEMA_PREFIX))
            {
                wanted.insert(name.to_owned());
            }
            map.values().for_each(|value| references(value, wanted));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, wanted)),
        _ => {}
    }
}

fn add_paths(resource: &Resource, schema: &str, paths: &mut Map<String, Value>) {
    let base = match resource.group.as_str() {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let collection = if resource.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("{base}/{}", resource.plural)
    };
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let query =
        |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let content = json!({"application/json": {"schema": {"$ref": format!("{SCHEMA_PREFIX}{schema}")}}});
    let operation = |action: &str, writes: bool| {
        let mut operation = json!({
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
            "responses": {"200": {"description": "OK", "content": content}},
        });
        if writes {
            object::set(
                &mut operation,
                &["parameters"],
                vec![query("dryRun"), query("fieldManager"), query("fieldValidation")],
            );
            object::set(&mut operation, &["requestBody"], json!({"content": content}));
        }
        operation
    };
    let reads = resource.verbs.contains(&"get");
    let mut on_collection = Map::new();
    on_collection.insert("post".to_owned(), operation("post", true));
    if reads {
        on_collection.insert("get".to_owned(), operation("list", false));
        let on_object = json!({
            "get": operation("get", false),
            "put": operation("put", true),
            "patch": operation("patch", true),
            "delete": operation("delete", false),
        });
        paths.insert(format!("{collection}/{{name}}"), on_object);
    }
    paths.insert(collection, Value::Object(on_collection));
}
