use super::*;
use serde_json::json;

fn dynamic(value: serde_json::Value) -> DynamicObject {
    serde_json::from_value(value).expect("an object")
}

#[test]
fn an_object_that_cannot_be_read_keeps_its_name_and_its_reasons() {
    let broken = dynamic(json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "payments", "namespace": "default"},
        "spec": {"hosts": 7}
    }));
    match config(Kind::VirtualService, &broken) {
        Object::Unreadable(reference, violations) => {
            assert_eq!(reference, ObjectRef::config(Kind::VirtualService, "default", "payments"));
            assert_eq!(violations[0].path, "spec.hosts");
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn secrets_without_certificates_are_not_kept() {
    let of_type =
        |type_: Option<&str>| core::Secret { type_: type_.map(str::to_owned), ..Default::default() };
    let kept = |type_| matches!(secret(of_type(type_)), Reading::Use(_));
    assert!(kept(Some("kubernetes.io/tls")) && kept(None));
    assert!(!kept(Some("helm.sh/release.v1")) && !kept(Some("kubernetes.io/service-account-token")));
}

#[test]
fn a_status_is_no_news_and_everything_else_is() {
    let rule = |version: &str, timeout: &str, status: &str| {
        without_reports(&dynamic(json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "payments", "namespace": "default", "resourceVersion": version},
            "spec": {"http": [{"timeout": timeout}]}, "status": {"observedGeneration": status}
        })))
    };
    assert_eq!(rule("1", "1s", "1"), rule("2", "1s", "2"));
    assert_ne!(rule("1", "1s", "1"), rule("1", "2s", "1"));
}
