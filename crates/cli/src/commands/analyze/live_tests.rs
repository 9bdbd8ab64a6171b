use super::*;
use serde_json::json;

#[test]
fn a_revision_takes_its_own_and_what_names_none() {
    let object = |revision: &str| json!({ "metadata": { "labels": { "istio.io/rev": revision } } });
    assert!(is_of_revision(&object("canary"), Some("canary")));
    assert!(!is_of_revision(&object("stable"), Some("canary")));
    assert!(is_of_revision(&json!({ "metadata": {} }), Some("canary")));
    assert!(is_of_revision(&object("stable"), None));
}
