use proptest::prelude::*;
use serde_json::json;

use super::apply::{Applier, apply};
use super::ownership::{managers, record_update};
use super::shape::Shapes;
use super::*;

fn deployment() -> Value {
    json!({
        "kind": "Deployment",
        "metadata": {"name": "shop", "labels": {"app": "shop", "tier": "web"}, "finalizers": ["a", "b"]},
        "spec": {
            "replicas": 2,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {"spec": {
                "containers": [
                    {"name": "app", "image": "app:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                     "ports": [{"containerPort": 80, "protocol": "TCP"}], "args": ["x"]},
                    {"name": "helper", "image": "helper:1"},
                ],
                "tolerations": [{"key": "k"}],
            }},
        },
    })
}

fn containers(object: &Value) -> &Vec<Value> {
    object["spec"]["template"]["spec"]["containers"].as_array().unwrap()
}

#[test]
fn strategic_merge_merges_lists_by_key_and_replaces_the_others() {
    let patch = json!({"spec": {"template": {"spec": {
        "containers": [{"name": "app", "image": "app:2", "env": [{"name": "C", "value": "3"}], "args": ["y"]}],
        "tolerations": [{"key": "other"}],
    }}}});
    let merged = strategic::merge(&deployment(), &patch).unwrap();
    assert_eq!(containers(&merged).len(), 2);
    let app = &containers(&merged)[0];
    assert_eq!(app["image"], "app:2");
    assert_eq!(app["env"].as_array().unwrap().len(), 3);
    assert_eq!(app["args"], json!(["y"]));
    assert_eq!(merged["spec"]["template"]["spec"]["tolerations"], json!([{"key": "other"}]));
    assert_eq!(merged["spec"]["replicas"], 2);
}

#[test]
fn strategic_directives_delete_replace_retain_and_order() {
    let merged = strategic::merge(
        &deployment(),
        &json!({
            "metadata": {"labels": {"tier": null}, "$deleteFromPrimitiveList/finalizers": ["a"]},
            "spec": {
                "strategy": {"$retainKeys": ["type"], "type": "Recreate"},
                "template": {"spec": {
                    "$setElementOrder/containers": [{"name": "new"}, {"name": "app"}],
                    "containers": [
                        {"name": "helper", "$patch": "delete"},
                        {"name": "new", "image": "new:1"},
                        {"name": "app", "ports": [{"$patch": "replace"}, {"containerPort": 81}]},
                    ],
                }},
            },
        }),
    )
    .unwrap();
    assert_eq!(merged["metadata"]["labels"], json!({"app": "shop"}));
    assert_eq!(merged["metadata"]["finalizers"], json!(["b"]));
    assert_eq!(merged["spec"]["strategy"], json!({"type": "Recreate"}));
    let names: Vec<&str> = containers(&merged).iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["new", "app"]);
    assert_eq!(containers(&merged)[1]["ports"], json!([{"containerPort": 81}]));
}

#[test]
fn a_strategic_patch_without_its_merge_key_is_refused() {
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}});
    let error = strategic::merge(&deployment(), &patch).unwrap_err();
    assert!(error.message.contains("does not contain declared merge key: name"), "{}", error.message);
}

#[test]
fn json_and_merge_patches_follow_their_rfcs() {
    let patched =
        json_patch(&deployment(), &json!([{"op": "replace", "path": "/spec/replicas", "value": 5}])).unwrap();
    assert_eq!(patched["spec"]["replicas"], 5);
    let failed = json_patch(&deployment(), &json!([{"op": "remove", "path": "/spec/none"}])).unwrap_err();
    assert_eq!(failed.code, 422);
    let merged = merge_patch(&deployment(), &json!({"metadata": {"labels": {"tier": null}}})).unwrap();
    assert_eq!(merged["metadata"]["labels"], json!({"app": "shop"}));
}

fn applier<'a>(manager: &'a str, force: bool) -> Applier<'a> {
    Applier { manager, subresource: "", api_version: "apps/v1", force }
}

#[test]
fn apply_owns_what_it_set_and_takes_out_what_it_no_longer_wants() {
    let first = json!({"metadata": {"name": "x", "labels": {"a": "1", "b": "2"}},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "1"}, {"name": "side", "image": "1"}]}}}});
    let created = apply(&Value::Null, &first, Shapes::BuiltIn, &applier("me", false)).unwrap();
    let second = json!({"metadata": {"name": "x", "labels": {"a": "1"}},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "2"}]}}}});
    let updated = apply(&created, &second, Shapes::BuiltIn, &applier("me", false)).unwrap();
    assert_eq!(updated["metadata"]["labels"], json!({"a": "1"}));
    assert_eq!(*containers(&updated), [json!({"name": "app", "image": "2"})]);
    assert_eq!(managers(&updated).len(), 1);
}

#[test]
fn what_another_manager_changed_is_a_conflict_unless_forced() {
    let mine = json!({"metadata": {"name": "x"}, "spec": {"replicas": 1}});
    let created = apply(&Value::Null, &mine, Shapes::BuiltIn, &applier("me", false)).unwrap();
    let mut scaled = created.clone();
    crate::object::set(&mut scaled, &["spec", "replicas"], 5);
    record_update(Some(&created), &mut scaled, "scaler", "", "apps/v1", Shapes::BuiltIn);

    let same = json!({"metadata": {"name": "x"}, "spec": {"replicas": 5}});
    assert!(apply(&scaled, &same, Shapes::BuiltIn, &applier("me", false)).is_ok(), "agreeing is no conflict");

    let error = apply(&scaled, &mine, Shapes::BuiltIn, &applier("me", false)).unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"scaler\" using apps/v1: .spec.replicas"
    );
    let forced = apply(&scaled, &mine, Shapes::BuiltIn, &applier("me", true)).unwrap();
    assert_eq!(forced["spec"]["replicas"], 1);
    assert_eq!(managers(&forced).iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["me"]);
}

#[test]
fn items_that_cannot_be_told_apart_are_refused() {
    for containers in [json!([{"image": "x"}]), json!([{"name": "a"}, {"name": "a"}])] {
        let wanted = json!({"metadata": {"name": "x"}, "spec": {"containers": containers}});
        assert_eq!(
            apply(&Value::Null, &wanted, Shapes::BuiltIn, &applier("me", false)).unwrap_err().code,
            400
        );
    }
}

#[test]
fn what_others_own_stays_when_an_applier_leaves() {
    let base = json!({"metadata": {"name": "x", "labels": {"shared": "1"}}});
    let created = apply(&Value::Null, &base, Shapes::BuiltIn, &applier("one", false)).unwrap();
    let both = apply(&created, &base, Shapes::BuiltIn, &applier("two", false)).unwrap();
    let left =
        apply(&both, &json!({"metadata": {"name": "x"}}), Shapes::BuiltIn, &applier("one", false)).unwrap();
    assert_eq!(left["metadata"]["labels"], json!({"shared": "1"}));
}

#[test]
fn the_record_survives_its_json_form() {
    let created = apply(&Value::Null, &deployment(), Shapes::BuiltIn, &applier("me", false)).unwrap();
    let once = managers(&created);
    let mut again = created.clone();
    ownership::set_managers(&mut again, &once);
    assert_eq!(managers(&again), once);
    assert!(
        created["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
            .get("k:{\"name\":\"app\"}")
            .is_some_and(|item| item.get(".").is_some())
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<i8>().prop_map(Value::from), "[a-z]{0,3}".prop_map(Value::from)];
    leaf.prop_recursive(4, 20, 4, |inner| {
        let names = prop_oneof![
            Just("metadata"),
            Just("spec"),
            Just("containers"),
            Just("name"),
            Just("env"),
            Just("$patch"),
            Just("$setElementOrder/env"),
            Just("finalizers"),
        ];
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
    fn no_patch_panics(current in any_json(), patch in any_json()) {
        let _ = strategic::merge(&current, &patch);
        let _ = merge_patch(&current, &patch);
        let _ = json_patch(&current, &patch);
        let _ = apply(&current, &patch, Shapes::BuiltIn, &applier("me", true));
    }

    #[test]
    fn applying_the_same_twice_changes_nothing(wanted in any_json()) {
        // Lists whose items cannot be told apart are refused.
        let Ok(first) = apply(&Value::Null, &wanted, Shapes::BuiltIn, &applier("me", true)) else { return Ok(()) };
        let second = apply(&first, &wanted, Shapes::BuiltIn, &applier("me", true)).unwrap();
        prop_assert_eq!(first, second);
    }
}
