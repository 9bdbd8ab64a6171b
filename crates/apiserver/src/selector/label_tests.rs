use proptest::prelude::*;
use serde_json::json;

use super::*;

fn labelled(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}})
}

#[test]
fn every_operator_of_the_grammar_works() {
    let object = labelled(json!({"app": "shop", "tier": "2", "example.org/canary": ""}));
    for (selector, matches) in [
        ("", true),
        ("app=shop", true),
        ("app==shop,tier=2", true),
        ("app != shop", false),
        ("absent!=x", true),
        ("app in (cart, shop)", true),
        ("app notin (cart,shop)", false),
        ("absent notin (x)", true),
        ("example.org/canary", true),
        ("!example.org/canary", false),
        ("!absent , app", true),
        ("tier>1", true),
        ("tier<2", false),
        ("example.org/canary=", true),
        ("app in (), tier", false),
    ] {
        let parsed = LabelSelector::parse(selector).unwrap();
        assert_eq!(parsed.matches(&object), matches, "{selector}");
    }
}

#[test]
fn nonsense_is_refused() {
    for selector in ["app in", "app in (a", "=x", "a b", "tier>x", "app=a=b", "-bad-=x", "app=sp ace"] {
        assert!(LabelSelector::parse(selector).is_err(), "{selector}");
    }
}

#[test]
fn the_object_form_means_the_same() {
    let selector = json!({
        "matchLabels": {"app": "shop"},
        "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["3"]},
            {"key": "off", "operator": "DoesNotExist"},
        ],
    });
    let selector = LabelSelector::from_object(&selector).unwrap();
    assert!(selector.matches(&labelled(json!({"app": "shop"}))));
    assert!(!selector.matches(&labelled(json!({"app": "shop", "tier": "3"}))));
    assert!(!selector.matches(&labelled(json!({"app": "shop", "off": "yes"}))));
    assert!(
        LabelSelector::from_object(&json!({"matchExpressions": [{"key": "a", "operator": "Is"}]})).is_err()
    );
}

proptest! {
    #[test]
    fn no_text_panics_the_parser(text in ".{0,60}") {
        let _ = LabelSelector::parse(&text);
    }

    #[test]
    fn equality_holds_for_exactly_its_value(key in "[a-z]{1,8}", value in "[a-z0-9]{1,8}", other in "[a-z0-9]{1,8}") {
        let selector = LabelSelector::parse(&format!("{key}={value}")).unwrap();
        let object = labelled(json!({key: other.clone()}));
        prop_assert_eq!(selector.matches(&object), value == other);
    }
}
