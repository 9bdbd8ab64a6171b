use super::*;
use k8s_openapi::api::core::v1::ConfigMap;
use std::sync::atomic::{AtomicUsize, Ordering};

fn config_map(name: &str, uid: &str, version: u64) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            namespace: Some("default".into()),
            name: Some(name.into()),
            uid: Some(uid.into()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

fn version_of(cache: &Cache<ConfigMap>, name: &str) -> Option<String> {
    cache.get(&ObjectKey::new("default", name)).and_then(|object| object.metadata.resource_version.clone())
}

#[test]
fn an_old_watch_event_does_not_undo_a_write() {
    let cache = Cache::default();
    cache.wrote(config_map("a", "1", 7));
    cache.put(config_map("a", "1", 5));
    assert_eq!(version_of(&cache, "a").as_deref(), Some("7"));
}

#[test]
fn an_answer_that_comes_after_the_deletion_brings_nothing_back() {
    let cache = Cache::default();
    cache.remove(&config_map("a", "1", 8));
    cache.wrote(config_map("a", "1", 7));
    assert_eq!(version_of(&cache, "a"), None);
    cache.put(config_map("a", "2", 9));
    assert_eq!(
        version_of(&cache, "a").as_deref(),
        Some("9"),
        "a new object of the same name is not the old one"
    );
}

#[test]
fn a_new_list_keeps_what_was_written_after_it_was_read() {
    let cache = Cache::default();
    cache.put(config_map("gone", "1", 3));
    cache.wrote(config_map("new", "2", 12));
    cache.replace_all(vec![config_map("kept", "3", 4)], 10);
    assert_eq!(version_of(&cache, "gone"), None);
    assert!(version_of(&cache, "new").is_some());
    assert!(version_of(&cache, "kept").is_some());
}

#[test]
fn listeners_hear_each_change_once() {
    let cache = Cache::default();
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = heard.clone();
    cache.on_change(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    cache.wrote(config_map("a", "1", 7));
    cache.put(config_map("a", "1", 7));
    cache.remove(&config_map("a", "1", 8));
    cache.remove(&config_map("a", "1", 8));
    assert_eq!(heard.load(Ordering::Relaxed), 2);
}

#[test]
fn a_namespace_lists_only_its_own() {
    let cache = Cache::default();
    cache.put(config_map("a", "1", 1));
    let mut other = config_map("b", "2", 2);
    other.metadata.namespace = Some("default-2".into());
    cache.put(other);
    assert_eq!(cache.list_namespace("default").len(), 1);
    assert_eq!(cache.list().len(), 2);
}
