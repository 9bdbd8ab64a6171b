use serde_json::json;

use super::*;
use crate::resources::Catalogue;

#[test]
fn fields_select_on_what_kubernetes_supports_and_nothing_else() {
    let catalogue = Catalogue::new(&[], None);
    let pods = catalogue.find("", "v1", "pods").unwrap();
    let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
    for (selector, matches) in [
        ("metadata.name=a", true),
        ("metadata.name==a,spec.nodeName!=n2", true),
        ("status.phase!=Running", false),
        ("spec.nodeName=", false),
    ] {
        assert_eq!(FieldSelector::parse(selector, pods).unwrap().matches(&pod), matches, "{selector}");
    }
    assert_eq!(
        FieldSelector::parse("spec.containers=x", pods).unwrap_err(),
        "field label not supported: spec.containers"
    );
    assert!(FieldSelector::parse("nonsense", pods).is_err());
}

#[test]
fn both_views_of_an_event_name_its_object() {
    let catalogue = Catalogue::new(&[], None);
    let events = catalogue.find("events.k8s.io", "v1", "events").unwrap();
    let event = json!({"involvedObject": {"name": "p"}, "source": {"component": "kubelet"}});
    assert!(FieldSelector::parse("regarding.name=p", events).unwrap().matches(&event));
    assert!(FieldSelector::parse("involvedObject.name=p,source=kubelet", events).unwrap().matches(&event));
}

#[test]
fn a_backslash_keeps_a_comma_in_a_value() {
    assert_eq!(split_unescaped(r"a=x\,y,b=z"), [r"a=x\,y", "b=z"]);
    assert_eq!(unescape(r"x\,y\\"), r"x,y\");
}
