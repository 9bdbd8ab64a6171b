use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::object;

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["hosts"],
                "properties": {
                    "hosts": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
                    "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 2},
                    "mode": {"type": "string", "enum": ["A", "B"]},
                    "port": {"x-kubernetes-int-or-string": true},
                    "when": {"type": "string", "format": "date-time", "nullable": true},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "nested": {
                        "type": "object",
                        "default": {},
                        "properties": {"deep": {"type": "string", "default": "x"}},
                    },
                    "either": {
                        "type": "object",
                        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                    },
                    "timeout": {
                        "type": "string",
                        "x-kubernetes-validations": [
                            {"rule": "duration(self) >= duration('1ms')", "message": "must be a valid duration greater than 1ms"}
                        ],
                    },
                },
            },
        },
    })
}

fn errors(spec: Value) -> Vec<String> {
    let object = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": spec});
    let mut all = validate::violations(&object, &schema());
    all.extend(cel::violations(&object, None, &schema()));
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn violations_read_as_kubernetes_prints_them() {
    for (spec, expected) in [
        (json!({}), "spec.hosts: Required value"),
        (
            json!({"hosts": []}),
            "spec.hosts: Invalid value: 0: spec.hosts in body should have at least 1 items",
        ),
        (
            json!({"hosts": [7]}),
            "spec.hosts[0]: Invalid value: \"integer\": spec.hosts[0] in body must be of type string: \"integer\"",
        ),
        (
            json!({"hosts": ["a"], "mode": "C"}),
            "spec.mode: Unsupported value: \"C\": supported values: \"A\", \"B\"",
        ),
        (
            json!({"hosts": ["a"], "replicas": 0}),
            "spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
        ),
        (
            json!({"hosts": ["a"], "either": {"a": "", "b": ""}}),
            "spec.either: Invalid value: \"\": \"spec.either\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ),
        (
            json!({"hosts": ["a"], "timeout": "0s"}),
            "spec.timeout: Invalid value: \"0s\": must be a valid duration greater than 1ms",
        ),
    ] {
        assert_eq!(errors(spec.clone()), [expected], "{spec}");
    }
}

#[test]
fn what_fits_passes() {
    for spec in [
        json!({"hosts": ["a"], "port": 80, "when": null, "mode": "A", "timeout": "5s"}),
        json!({"hosts": ["a"], "port": "http", "when": "2020-01-01T00:00:00Z", "either": {"a": ""}}),
        json!({"hosts": ["a"], "free": {"any": ["thing", null]}}),
    ] {
        assert!(errors(spec.clone()).is_empty(), "{spec}: {:?}", errors(spec.clone()));
    }
}

#[test]
fn unknown_fields_are_named_and_dropped_and_defaults_filled_in() {
    let mut object = json!({
        "apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "odd": 1},
        "spec": {"hosts": ["a"], "typo": 1, "free": {"kept": true}},
        "other": {},
    });
    let unknown = prune::prune(&mut object, &schema(), prune::Style::Structural);
    assert_eq!(unknown, ["spec.typo", "other"]);
    defaults::apply(&mut object, &schema());
    assert_eq!(
        object["spec"],
        json!({"hosts": ["a"], "free": {"kept": true}, "replicas": 2, "nested": {"deep": "x"}})
    );
    assert_eq!(
        object.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["apiVersion", "kind", "metadata", "spec"]
    );
}

#[test]
fn built_in_kinds_are_checked_by_their_published_schemas() {
    let schema = crate::resources::builtin::schema("apps", "v1", "Deployment").unwrap();
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "n", "lables": {}},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "a", "imagee": "x", "env": null}]}}},
    });
    let unknown = prune::prune(&mut deployment, schema, prune::Style::BuiltIn);
    assert_eq!(unknown, ["metadata.lables", "spec.template.spec.containers[0].imagee"]);
    assert!(validate::type_errors(&deployment, schema).is_empty());
    object::set(&mut deployment, &["spec", "replicas"], "three");
    assert_eq!(validate::type_errors(&deployment, schema)[0].field, "spec.replicas");
}

#[test]
fn rules_have_kubernetes_functions() {
    for (rule, value) in [
        ("url(self).getScheme() in ['http', 'https']", json!("https://a.example:8080/x")),
        (
            "url(self).getHostname() == 'a.example' && url(self).getPort() == '8080'",
            json!("https://a.example:8080/x"),
        ),
        ("isURL(self) && !isURL('not a url')", json!("http://x")),
        ("isIP(self)", json!("fd00::1")),
        ("self.substring(7, 8) == '/' && self.split('/').size() == 4", json!("unix:///a")),
        ("self.all(l1, self.exists_one(l2, l1.number == l2.number))", json!([{"number": 1}, {"number": 2}])),
        ("has(self.a) ? self.a.size() == 1 : true", json!({"a": ["x"]})),
        ("self.all(key, 0 < int(key) && int(key) <= 65535)", json!({"80": true})),
        ("self.find('[0-9]+') == '42'", json!("a42b")),
    ] {
        let outcome = cel::evaluate_bool(rule, &[("self", Some((&value, &Value::Null)))]);
        assert_eq!(outcome, Ok(true), "{rule}");
    }
}

#[test]
fn transition_rules_see_the_old_value_and_broken_rules_refuse() {
    let schema = json!({
        "type": "object",
        "properties": {"a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed"}]}},
    });
    assert!(cel::violations(&json!({"a": 1}), None, &schema).is_empty());
    assert!(cel::violations(&json!({"a": 1}), Some(&json!({"a": 1})), &schema).is_empty());
    assert_eq!(
        cel::violations(&json!({"a": 2}), Some(&json!({"a": 1})), &schema)[0].to_string(),
        "a: Invalid value: 2: fixed"
    );
    let broken = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.("}]});
    assert_eq!(cel::violations(&json!({}), None, &broken).len(), 1);
}

#[test]
fn durations_are_gos() {
    assert_eq!(cel::parse_duration("1h2m3.5s"), Some(3_723_500_000_000));
    assert_eq!(cel::parse_duration("1ms"), Some(1_000_000));
    for text in ["", "1", "s", "1x", "1s!"] {
        assert_eq!(cel::parse_duration(text), None, "{text}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,5}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let names = prop_oneof![Just("spec"), Just("hosts"), Just("replicas"), Just("either"), Just("x")];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..4).prop_map(|entries| Value::Object(
                entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn pruning_twice_changes_nothing_more(mut value in any_json()) {
        prune::prune(&mut value, &schema(), prune::Style::Structural);
        let once = value.clone();
        let unknown = prune::prune(&mut value, &schema(), prune::Style::Structural);
        prop_assert!(unknown.is_empty());
        prop_assert_eq!(once, value);
    }

    #[test]
    fn no_value_panics_validation(value in any_json()) {
        validate::violations(&value, &schema());
        cel::violations(&value, Some(&value), &schema());
    }
}
