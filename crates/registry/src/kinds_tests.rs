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
