use super::*;

#[test]
fn proxies_are_named_by_pod_or_by_node_id() {
    assert_eq!(pod_of("payments-v1.default"), Some(("payments-v1", "default")));
    assert_eq!(pod_of("sidecar~1.2.3.4~a.b.default~default.svc.cluster.local"), Some(("a.b", "default")));
    for wrong in ["", "payments", ".default", "a.", "a~b"] {
        assert_eq!(pod_of(wrong), None, "{wrong}");
    }
}
