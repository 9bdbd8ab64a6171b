use super::*;

#[test]
fn documents_are_read_with_their_lines() {
    let text =
        "# a comment\n---\n# more\nkind: A\nmetadata: {name: a}\n---\n---\n\nkind: B\nmetadata:\n  name: b\n";
    let manifests = parse("shop.yaml", text).expect("manifests");
    let origins: Vec<(&str, String)> =
        manifests.iter().map(|manifest| (manifest.origin.as_str(), described(&manifest.object))).collect();
    assert_eq!(origins, [("shop.yaml:4", "A a".to_owned()), ("shop.yaml:9", "B b".to_owned())]);
}

#[test]
fn json_and_lists_are_taken_apart() {
    let list = r#"{"kind": "List", "items": [{"kind": "A", "metadata": {"name": "a", "namespace": "n"}}, {"kind": "B"}]}"#;
    let manifests = parse("list.json", list).expect("manifests");
    let names: Vec<String> = manifests.iter().map(|manifest| described(&manifest.object)).collect();
    assert_eq!(names, ["A n/a", "B without a name"]);
}

#[test]
fn mistakes_are_named_with_file_and_line() {
    let error = parse("bad.yaml", "kind: A\n---\nkind: [\n").expect_err("broken").to_string();
    assert!(error.starts_with("bad.yaml:3") || error.starts_with("bad.yaml:4"), "{error}");
    let error = parse("bad.yaml", "just text\n").expect_err("no object").to_string();
    assert_eq!(error, "bad.yaml:1: this is not a Kubernetes object");
}

#[test]
fn folders_are_read_in_order_and_must_hold_manifests() {
    let folder = tempfile::tempdir().expect("folder");
    let error = read(folder.path()).expect_err("empty").to_string();
    assert!(error.contains("holds no .yaml"), "{error}");
    for (name, kind) in [("2.yaml", "B"), ("1.yml", "A"), ("readme.txt", "X")] {
        std::fs::write(folder.path().join(name), format!("kind: {kind}\n")).expect("file");
    }
    let kinds: Vec<String> = read(folder.path())
        .expect("manifests")
        .iter()
        .map(|manifest| manifest.object["kind"].as_str().expect("kind").to_owned())
        .collect();
    assert_eq!(kinds, ["A", "B"]);
}
