use super::*;
use serde_json::json;

fn pod() -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": "p", "labels": {"app": "web"}}, "spec": {"containers": []}}),
    )
    .expect("pod")
}

fn sources() -> VolumeSources {
    let map = json!({"data": {"a.conf": "one", "b.conf": "two"}, "binaryData": {"c.bin": "AAE="}});
    let secret = json!({"data": {"tls.key": "a2V5"}});
    VolumeSources {
        config_maps: [("settings".to_owned(), serde_json::from_value(map).expect("map"))].into(),
        secrets: [("cert".to_owned(), serde_json::from_value(secret).expect("secret"))].into(),
        tokens: [("istio-ca".to_owned(), "token".to_owned())].into(),
    }
}

fn listed(volume: serde_json::Value) -> Result<Vec<(String, String, u32)>, VolumeError> {
    let volume: Volume = serde_json::from_value(volume).expect("volume");
    let files = files(&pod(), &Placed::default(), &volume, &sources())?;
    Ok(files
        .into_iter()
        .map(|file| {
            let content = String::from_utf8_lossy(&file.content).into_owned();
            (file.path.display().to_string(), content, file.mode)
        })
        .collect())
}

fn entry(path: &str, content: &str, mode: u32) -> (String, String, u32) {
    (path.to_owned(), content.to_owned(), mode)
}

#[test]
fn a_config_map_gives_its_keys_or_the_items_asked_for() {
    let all = listed(json!({"name": "v", "configMap": {"name": "settings"}})).expect("files");
    let expected =
        [entry("a.conf", "one", 0o644), entry("b.conf", "two", 0o644), entry("c.bin", "\0\u{1}", 0o644)];
    assert_eq!(all, expected);
    let items = json!([{"key": "a.conf", "path": "etc/main.conf", "mode": 0o600}]);
    let chosen =
        listed(json!({"name": "v", "configMap": {"name": "settings", "items": items, "defaultMode": 0o400}}));
    assert_eq!(chosen.expect("files"), [entry("etc/main.conf", "one", 0o600)]);
}

#[test]
fn a_projected_volume_joins_its_sources() {
    let volume = json!({"name": "v", "projected": {"defaultMode": 0o640, "sources": [
        {"serviceAccountToken": {"path": "istio-token", "audience": "istio-ca", "expirationSeconds": 43200}},
        {"secret": {"name": "cert"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"configMap": {"name": "none", "optional": true}}
    ]}});
    let parsed: Volume = serde_json::from_value(volume.clone()).expect("volume");
    let request = TokenRequest { audience: "istio-ca".to_owned(), seconds: 43200 };
    assert_eq!(token_requests(std::slice::from_ref(&parsed)), [request]);
    assert_eq!(references(&parsed), (vec!["none".to_owned()], vec!["cert".to_owned()]));
    let expected = [
        entry("istio-token", "token", 0o640),
        entry("tls.key", "key", 0o640),
        entry("labels", "app=\"web\"", 0o640),
    ];
    assert_eq!(listed(volume).expect("files"), expected);
}

#[test]
fn what_is_missing_or_leads_out_is_named() {
    let error = |volume| listed(volume).expect_err("refused").to_string();
    assert_eq!(error(json!({"name": "v", "secret": {"secretName": "no"}})), "secret \"no\" not found");
    let item = |key: &str, path: &str| json!({"name": "v", "configMap": {"name": "settings", "items": [{"key": key, "path": path}]}});
    assert_eq!(error(item("z", "z")), "configmap \"settings\" has no key \"z\"");
    for path in ["../up", "/abs", "a/../../b", "", "..data"] {
        assert!(error(item("a.conf", path)).contains("leads out"), "{path}");
    }
    assert!(error(json!({"name": "v", "nfs": {"server": "s", "path": "/"}})).contains("\"v\" is of a kind"));
}

#[test]
fn a_volume_is_replaced_in_one_step() {
    let folder = tempfile::tempdir().expect("folder");
    let root = folder.path();
    let file = |path: &str, content: &str| file(path, content.as_bytes().to_vec(), 0o644).expect("file");
    write(root, &[file("one", "1"), file("deep/two", "2")]).expect("first");
    let first = fs::read_link(root.join("..data")).expect("link");
    assert_eq!(fs::read_to_string(root.join("deep/two")).expect("two"), "2");
    write(root, &[file("one", "1"), file("deep/two", "2")]).expect("same");
    assert_eq!(fs::read_link(root.join("..data")).expect("link"), first, "nothing to do");
    write(root, &[file("one", "new")]).expect("second");
    assert_eq!(fs::read_to_string(root.join("one")).expect("one"), "new");
    assert!(!root.join("deep").exists() && !root.join(first).exists());
    write(root, &[]).expect("empty");
    assert!(!root.join("one").exists());
}

#[test]
fn host_paths_are_checked() {
    let folder = tempfile::tempdir().expect("folder");
    let source = |path: &Path, kind: &str| HostPathVolumeSource {
        path: path.display().to_string(),
        type_: Some(kind.to_owned()),
    };
    let made = folder.path().join("made/here");
    host_path(&source(&made, "DirectoryOrCreate")).expect("made");
    assert!(made.is_dir());
    host_path(&source(&made.join("file"), "FileOrCreate")).expect("made");
    let error = host_path(&source(&made, "File")).expect_err("a folder").to_string();
    assert!(error.ends_with("is not a File"), "{error}");
}
