use super::*;
use mizzen_api::{Config, Violation};
use mizzen_model::{Change, Object, Store};

/// A mesh with one good and one bad PeerAuthentication.
fn snapshot() -> Arc<Snapshot> {
    let validate = |config: &Config| match config.meta.name.as_str() {
        "bad" => vec![Violation::error("spec.mtls.mode", "must be one of a kind")],
        _ => Vec::new(),
    };
    let mut store = Store::with_validation("cluster.local", validate);
    let changes = ["bad", "good"].map(|name| {
        let object = json!({
            "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
            "metadata": {"name": name, "namespace": "default", "generation": 3}
        });
        Change::Upsert(Object::Config(Box::new(mizzen_api::parse(object).expect("an object"))))
    });
    store.apply(changes.to_vec()).snapshot
}

fn key(name: &str) -> Key {
    (Kind::PeerAuthentication, "default".to_owned(), name.to_owned())
}

#[test]
fn a_quarantined_object_says_why_and_the_others_where_they_are_live() {
    let due: BTreeMap<Key, Verdict> = due(&snapshot(), (2, 3), &HashMap::new()).into_iter().collect();
    assert_eq!(due.len(), 2);
    let bad = &due[&key("bad")];
    assert_eq!(bad.refusal.as_deref(), Some("spec.mtls.mode: must be one of a kind"));
    assert_eq!((bad.generation, bad.live), (3, None));
    assert_eq!(due[&key("good")].live, Some((2, 3)));

    let conditions = status(bad, Timestamp::UNIX_EPOCH);
    let conditions = &conditions["status"]["conditions"];
    assert_eq!((&conditions[0]["type"], &conditions[0]["status"]), (&json!("Accepted"), &json!("False")));
    assert_eq!(conditions[0]["observedGeneration"], "3");
    let live = status(&due[&key("good")], Timestamp::UNIX_EPOCH);
    assert_eq!(live["status"]["conditions"][1]["message"], "live on 2/3 proxies");
}

#[test]
fn a_count_is_written_until_it_is_complete_and_not_again_when_proxies_come_and_go() {
    let snapshot = snapshot();
    let mut written: HashMap<Key, Verdict> = HashMap::new();
    let mut write = |live| {
        let due = due(&snapshot, live, &written);
        let count = due.len();
        written.extend(due);
        count
    };
    assert_eq!(write((1, 3)), 2);
    assert_eq!(write((1, 3)), 0, "nothing new to say");
    assert_eq!(write((3, 3)), 1);
    assert_eq!(write((4, 5)), 0);
    assert_eq!(write((9, 9)), 0);
}

#[test]
fn what_was_written_is_read_again() {
    let verdict =
        |refusal: Option<&str>, live| Verdict { generation: 7, refusal: refusal.map(str::to_owned), live };
    for verdict in [
        verdict(None, Some((3, 4))),
        verdict(None, None),
        verdict(Some("spec.hosts: must not be empty"), None),
    ] {
        let written = status(&verdict, Timestamp::UNIX_EPOCH);
        assert_eq!(verdict_of(&written["status"]), Some(verdict));
    }
    assert_eq!(verdict_of(&json!({"conditions": [{"type": "Ready", "status": "True"}]})), None);
}
