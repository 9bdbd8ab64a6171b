use super::*;

#[test]
fn only_bundles_that_differ_are_patched() {
    let root = "root";
    assert_eq!(bundle_patch(&[Some(b"root".to_vec())], root), None);
    assert_eq!(bundle_patch(&[], root), None);
    let patch = bundle_patch(&[Some(b"root".to_vec()), None, Some(b"old".to_vec())], root).expect("a patch");
    assert_eq!(
        patch,
        json!([
            {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "cm9vdA=="},
            {"op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": "cm9vdA=="}
        ])
    );
}
