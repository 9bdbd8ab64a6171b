use serde_json::json;

use super::*;

#[test]
fn versions_are_preferred_as_kubernetes_prefers_them() {
    let mut versions = ["v1alpha3", "v1", "foo", "v1beta1", "v2", "v1beta2"];
    versions.sort_by_key(|version| std::cmp::Reverse(version_order(version)));
    assert_eq!(versions, ["v2", "v1", "v1beta2", "v1beta1", "v1alpha3", "foo"]);
}

#[test]
fn a_definition_adds_its_served_versions_over_one_collection() {
    let definition = json!({
        "metadata": {"name": "gateways.example.org", "uid": "u", "generation": 1},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": "gateways", "singular": "gateway", "kind": "Gateway", "shortNames": ["gw"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
                {"name": "v1alpha3", "served": true, "storage": false, "subresources": {"status": {}}},
                {"name": "v0", "served": false, "storage": false},
            ],
        },
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    });
    let catalogue = Catalogue::new(&[definition], None);
    let newest = catalogue.find("example.org", "v1", "gateways").unwrap();
    let oldest = catalogue.find("example.org", "v1alpha3", "gateways").unwrap();
    assert_eq!(newest.collection, oldest.collection);
    assert!(!newest.has_status() && oldest.has_status());
    assert!(catalogue.find("example.org", "v0", "gateways").is_none());
    assert_eq!(catalogue.group("example.org").unwrap().versions[0].name, "v1");
    assert_eq!(catalogue.find("apps", "v1", "deployments").unwrap().kind, "Deployment");
}
