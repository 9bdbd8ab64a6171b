use super::*;

fn review(resource: &str, object: Value) -> Review {
    let group = if resource == "pods" { "" } else { "networking.istio.io" };
    Review::of(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u", "namespace": "default",
            "resource": {"group": group, "version": "v1", "resource": resource},
            "object": object
        }
    }))
}

fn virtual_service(spec: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "payments", "namespace": "default"}, "spec": spec
    })
}

#[test]
fn all_reasons_are_given_with_their_fields() {
    let errors = judge(virtual_service(json!({"hosts": 7, "http": [{"retries": "many"}]})));
    let message = refusal(&errors);
    assert!(message.contains("spec.hosts") && message.contains("spec.http[0].retries"), "{message}");
    let one = judge(virtual_service(json!({"hosts": ["a"], "nonsense": 1})));
    assert!(refusal(&one).starts_with("configuration is invalid: spec.nonsense"), "{}", refusal(&one));
}

#[test]
fn an_answer_carries_the_uid_and_version_of_its_review() {
    let review = review("pods", json!({"metadata": {"generateName": "payments-"}}));
    assert_eq!(review.name, "payments-");
    let allowed = review.answered(Answer::allow());
    assert_eq!(
        allowed,
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": "u", "allowed": true}
        })
    );
    let denied = review.answered(Answer { warnings: vec!["w".to_owned()], ..Answer::deny("no".to_owned()) });
    assert_eq!(denied["response"]["status"]["message"], "no");
    assert_eq!(denied["response"]["warnings"], json!(["w"]));
}

#[test]
fn a_patch_leaves_alone_what_our_types_do_not_know() {
    let before = json!({"metadata": {"name": "a"}, "spec": {"containers": [], "fromTheFuture": 1}});
    let pod: Pod = serde_json::from_value(before).expect("a pod");
    let mut after = pod.clone();
    after.metadata.labels = Some([("x".to_owned(), "y".to_owned())].into());
    let patch = patch_between(&pod, &after).expect("a patch");
    assert_eq!(patch, json!([{"op": "add", "path": "/metadata/labels", "value": {"x": "y"}}]));
}

#[test]
fn garbage_is_a_review_without_an_object() {
    for garbage in [json!(null), json!([]), json!({"request": 7}), json!("x")] {
        let review = Review::of(garbage);
        assert!(review.object.is_null());
        assert_eq!(review.answered(Answer::allow())["response"]["allowed"], true);
    }
}
