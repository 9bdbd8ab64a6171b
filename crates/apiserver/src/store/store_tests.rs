use serde_json::json;

use super::*;

fn thing(namespace: &str, name: &str, uid: &str) -> Value {
    json!({"kind": "Thing", "metadata": {"namespace": namespace, "name": name, "uid": uid}})
}

fn collection() -> Collection {
    Arc::from("example.org/things")
}

fn at(name: &str) -> Location {
    Location { collection: collection(), namespace: "default".to_owned(), name: name.to_owned() }
}

#[tokio::test]
async fn what_is_written_is_there_after_a_restart_and_revisions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _trail) = Store::open(folder.path(), ["/events".to_owned()]).unwrap();
    let kept = store.create(&collection(), thing("default", "a", "1"), |_| true).unwrap();
    let gone = store.create(&collection(), thing("default", "b", "2"), |_| true).unwrap();
    store.remove(&at("b"), gone.revision, gone.object.clone()).unwrap();
    store.create(&Arc::from("/events"), thing("default", "e", "3"), |_| true).unwrap();
    let before = store.revision();
    store.flush().await;
    drop(store);

    let (store, _trail) = Store::open(folder.path(), ["/events".to_owned()]).unwrap();
    let (objects, _) = store.list("example.org/things", None);
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0].object, kept.object);
    assert_eq!(objects[0].revision, kept.revision);
    assert!(store.list("/events", None).0.is_empty(), "volatile objects are forgotten");
    assert!(store.revision() > before);
    assert_eq!(store.events_after("example.org/things", before).unwrap_err().oldest, store.revision());
}

#[test]
fn a_torn_last_line_is_dropped_and_a_damaged_middle_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let good = r#"{"revision":1,"collection":"/configmaps","namespace":"d","name":"a","object":{"metadata":{"name":"a"}}}"#;
    std::fs::write(folder.path().join("objects.journal"), format!("{good}\n{{\"revision\":2,\"coll"))
        .unwrap();
    let (store, _trail) = Store::open(folder.path(), []).unwrap();
    assert!(store.get("/configmaps", "d", "a").is_some());
    drop(store);

    std::fs::write(folder.path().join("objects.journal"), format!("{{\"torn\n{good}\n")).unwrap();
    assert!(matches!(Store::open(folder.path(), []), Err(JournalError::Damaged { .. })));
}

#[test]
fn a_write_against_an_older_revision_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _trail) = Store::open(folder.path(), []).unwrap();
    let first = store.create(&collection(), thing("default", "a", "1"), |_| true).unwrap();
    assert_eq!(
        store.create(&collection(), thing("default", "a", "9"), |_| true).unwrap_err(),
        WriteError::Exists
    );
    store.replace(&at("a"), first.revision, thing("default", "a", "1")).unwrap();
    assert_eq!(
        store.replace(&at("a"), first.revision, thing("default", "a", "1")).unwrap_err(),
        WriteError::Changed
    );
}

#[test]
fn watchers_read_the_past_in_order_until_it_is_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _trail) = Store::open(folder.path(), []).unwrap();
    let start = store.revision();
    let mut stored = store.create(&collection(), thing("default", "a", "1"), |_| true).unwrap();
    for _ in 0..3 {
        stored = store.replace(&at("a"), stored.revision, thing("default", "a", "1")).unwrap();
    }
    let (events, up_to) = store.events_after("example.org/things", start + 1).unwrap();
    assert_eq!(
        events.iter().map(|event| event.revision).collect::<Vec<_>>(),
        [start + 2, start + 3, start + 4]
    );
    assert_eq!(up_to, start + 4);

    for _ in 0..HISTORY {
        stored = store.replace(&at("a"), stored.revision, thing("default", "a", "1")).unwrap();
    }
    assert!(store.events_after("example.org/things", start).is_err());
    assert!(store.events_after("example.org/things", stored.revision).unwrap().0.is_empty());
}

#[test]
fn owners_know_their_dependents() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut trail) = Store::open(folder.path(), []).unwrap();
    store.create(&collection(), thing("default", "owner", "o"), |_| true).unwrap();
    let mut child = thing("default", "child", "c");
    object::set(&mut child, &["metadata", "ownerReferences"], json!([{"uid": "o"}]));
    let child = store.create(&collection(), child, |_| true).unwrap();
    assert_eq!(store.dependents("o"), [at("child")]);
    assert!(trail.try_recv().is_err());
    store.remove(&at("child"), child.revision, child.object.clone()).unwrap();
    assert!(store.dependents("o").is_empty());
    assert!(matches!(trail.try_recv(), Ok(Trail::Removed(..))));
}
