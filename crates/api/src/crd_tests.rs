use std::collections::BTreeSet;

use super::*;

fn definition(kind: Kind) -> Value {
    custom_resource_definition(kind)
}

fn spec_schema(kind: Kind) -> Value {
    definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Calls `visit` with the path and value of each schema in a schema.
fn each_schema(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Map<String, Value>)) {
    let fields = schema.as_object().unwrap_or_else(|| panic!("{path} is not an object: {schema}"));
    visit(path, fields);
    for inner in ["items", "additionalProperties"] {
        if let Some(inner_schema) = fields.get(inner) {
            each_schema(&format!("{path}.{inner}"), inner_schema, visit);
        }
    }
    if let Some(Value::Object(properties)) = fields.get("properties") {
        for (name, schema) in properties {
            each_schema(&format!("{path}.{name}"), schema, visit);
        }
    }
}

#[test]
fn schemas_are_structural() {
    const ALLOWED: [&str; 21] = [
        "type",
        "description",
        "properties",
        "items",
        "additionalProperties",
        "required",
        "enum",
        "format",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "x-kubernetes-validations",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-preserve-unknown-fields",
    ];
    let allowed = BTreeSet::from(ALLOWED);
    for kind in Kind::ALL {
        each_schema(kind.name(), &spec_schema(kind), &mut |path, fields| {
            assert!(
                fields.contains_key("type") || fields.contains_key("x-kubernetes-preserve-unknown-fields"),
                "{path} has no type"
            );
            for (name, value) in fields {
                assert!(allowed.contains(name.as_str()), "{path} has {name}: {value}");
            }
            if let Some(format) = fields.get("format") {
                assert!(
                    ["int32", "double"].contains(&format.as_str().unwrap_or_default()),
                    "{path} has format {format}"
                );
            }
            for name in fields.get("required").and_then(Value::as_array).into_iter().flatten() {
                let name = name.as_str().unwrap_or_default();
                assert!(fields["properties"].get(name).is_some(), "{path} requires {name}, which it has not");
            }
        });
    }
}

#[test]
fn every_field_is_described() {
    for kind in Kind::ALL {
        each_schema(kind.name(), &spec_schema(kind), &mut |path, fields| {
            for (name, schema) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
                assert!(schema.get("description").is_some(), "{path}.{name} has no description");
            }
        });
    }
}

#[test]
fn rules_are_valid_cel() {
    let mut count = 0;
    for kind in Kind::ALL {
        each_schema(kind.name(), &spec_schema(kind), &mut |path, fields| {
            for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
            {
                let text = rule["rule"].as_str().unwrap_or_default();
                assert!(cel::Program::compile(text).is_ok(), "{path}: {text}");
                assert!(rule["message"].is_string(), "{path}: {text} has no message");
                count += 1;
            }
        });
    }
    assert!(count > 50, "only {count} rules");
}

#[test]
fn names_and_versions_are_istios() {
    let gateway = definition(Kind::Gateway);
    assert_eq!(gateway["metadata"]["name"], "gateways.networking.istio.io");
    assert_eq!(gateway["spec"]["names"]["shortNames"], json!(["gw"]));
    assert_eq!(gateway["spec"]["names"]["categories"], json!(["istio-io", "networking-istio-io"]));
    let telemetry = definition(Kind::Telemetry);
    let stored: Vec<_> = telemetry["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    assert_eq!(stored, ["v1alpha1"]);
    let entry = definition(Kind::ServiceEntry);
    let columns: Vec<_> = entry["spec"]["versions"][0]["additionalPrinterColumns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| column["name"].clone())
        .collect();
    assert_eq!(columns, ["Hosts", "Location", "Resolution", "Age"]);
    assert_eq!(entry["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["required"], json!(["spec"]));
}

#[test]
fn types_show_in_the_schema() {
    let service = spec_schema(Kind::VirtualService);
    let route = &service["properties"]["http"]["items"]["properties"];
    assert_eq!(route["timeout"]["type"], "string");
    assert_eq!(route["timeout"]["x-kubernetes-validations"][0]["rule"], "duration(self) >= duration('1ms')");
    assert_eq!(route["match"]["items"]["properties"]["uri"]["properties"]["prefix"]["type"], "string");
    assert_eq!(route["mirror_percent"]["type"], "integer");
    assert_eq!(route["route"]["items"]["required"], json!(["destination"]));
    assert_eq!(
        route["redirect"]["properties"]["derivePort"]["enum"],
        json!(["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"])
    );
    let gateway = spec_schema(Kind::Gateway);
    let tls = &gateway["properties"]["servers"]["items"]["properties"]["tls"]["properties"];
    assert_eq!(
        tls["mode"]["enum"],
        json!(["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"])
    );
    assert_eq!(tls["credentialNames"]["maxItems"], 2);
    let peer = spec_schema(Kind::PeerAuthentication);
    assert_eq!(peer["properties"]["portLevelMtls"]["additionalProperties"]["type"], "object");
    let plugin = spec_schema(Kind::WasmPlugin);
    assert_eq!(plugin["properties"]["pluginConfig"]["x-kubernetes-preserve-unknown-fields"], true);
    assert_eq!(plugin["properties"]["sha256"]["pattern"], "^$|^[a-f0-9]{64}$");
}
