use std::sync::Arc;

use super::*;
use crate::{
    code,
    diagnostic::{Origin, ResourceName},
};

fn diagnostics() -> Vec<Diagnostic> {
    let text = "kind: VirtualService\nspec:\n  hosts:\n  - catr\n";
    let document = mizzen_api::source::read(text).unwrap_or_default().remove(0);
    let origin = Origin { file: "a.yaml".into(), text: text.into(), document: Arc::new(document) };
    let name = |kind: &str, namespace: &str, name: &str| ResourceName {
        kind: kind.into(),
        name: name.into(),
        namespace: namespace.into(),
    };
    vec![
        Diagnostic {
            code: code::REFERENCED_RESOURCE_NOT_FOUND,
            resource: name("VirtualService", "shop", "cart"),
            cluster: None,
            place: Some(origin.place("spec.hosts[0]")),
            path: "spec.hosts[0]".to_owned(),
            message: "the host \"catr\" is not known".to_owned(),
            help: Some("did you mean cart?".to_owned()),
        },
        Diagnostic {
            code: code::NAMESPACE_NOT_INJECTED,
            resource: name("Namespace", "", "default"),
            cluster: None,
            place: None,
            path: "metadata".to_owned(),
            message: "the namespace is not enabled".to_owned(),
            help: None,
        },
    ]
}

#[test]
fn log_is_a_line_each() {
    assert_eq!(
        log(&diagnostics(), false),
        "Error [IST0101] (VirtualService shop/cart a.yaml:4) the host \"catr\" is not known; did you mean cart?\n\
         Info [IST0102] (Namespace default) the namespace is not enabled\n"
    );
    assert!(log(&diagnostics(), true).starts_with("\x1b[1;31mError\x1b[0m [IST0101]"));
}

#[test]
fn json_and_yaml_have_istios_fields() {
    let json = json(&diagnostics()).unwrap_or_default();
    assert!(json.starts_with("[\n\t{\n\t\t\"code\": \"IST0101\",\n\t\t\"documentationUrl\": "), "{json}");
    let read: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
    assert_eq!(read[0]["reference"], "a.yaml:4");
    assert_eq!(read[0]["origin"], "VirtualService shop/cart");
    assert_eq!(read[1]["level"], "Info");
    assert!(read[1].get("reference").is_none());
    let yaml = yaml(&diagnostics()).unwrap_or_default();
    let documents = mizzen_api::source::read(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    assert_eq!(documents.into_iter().next().map(|document| document.value), Some(read));
    assert_eq!(super::yaml(&[]).unwrap_or_default(), "[]\n");
    assert_eq!(super::json(&[]).unwrap_or_default(), "[]\n");
}

#[test]
fn pretty_shows_the_line() {
    let text = pretty(&diagnostics(), false);
    for part in [
        "error[IST0101]: the host",
        "--> a.yaml:4:5",
        "4 |   - catr",
        "^^^^",
        "did you mean cart?",
        "info[IST0102]",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn the_cluster_is_named_where_there_are_several() {
    let mut diagnostics = diagnostics();
    diagnostics[1].cluster = Some("east".to_owned());
    assert!(log(&diagnostics, false).contains("Info [IST0102] [east] (Namespace default) the"));
    assert!(json(&diagnostics).unwrap_or_default().contains("\"cluster\": \"east\""));
    assert!(pretty(&diagnostics, false).contains("[east] Namespace default, metadata"));
}
