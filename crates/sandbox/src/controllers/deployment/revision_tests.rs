use super::*;
use serde_json::json;

fn deployment(image: &str) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "payments", "namespace": "default", "annotations": {
            "kubernetes.io/change-cause": "new price list",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        }},
        "spec": {
            "replicas": 3, "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {"app": "payments"}},
            "template": {"metadata": {"labels": {"app": "payments"}},
                "spec": {"containers": [{"name": "app", "image": image}]}},
        },
    }))
    .expect("a deployment")
}

fn owner() -> OwnerReference {
    OwnerReference {
        name: "payments".into(),
        uid: "1".into(),
        controller: Some(true),
        ..OwnerReference::default()
    }
}

fn ended(revision: i64) -> Arc<ReplicaSet> {
    let mut set = new_replica_set(&deployment(&format!("app:v{revision}")), owner(), 0, 4, revision);
    set.metadata.uid = Some(revision.to_string());
    Arc::new(set)
}

#[test]
fn a_new_set_carries_the_hash_wherever_pods_are_told_apart_by_it() {
    let set = new_replica_set(&deployment("app:v1"), owner(), 2, 4, 1);
    let hash =
        set.metadata.labels.as_ref().and_then(|labels| labels.get(TEMPLATE_HASH)).expect("label").clone();
    assert_eq!(set.metadata.name.as_deref(), Some(format!("payments-{hash}").as_str()));
    let spec = set.spec.expect("a spec");
    assert_eq!(spec.selector.match_labels.expect("labels").get(TEMPLATE_HASH), Some(&hash));
    let template = spec.template.and_then(|template| template.metadata).expect("metadata");
    assert_eq!(template.labels.expect("labels").get(TEMPLATE_HASH), Some(&hash));
    let annotations = set.metadata.annotations.expect("annotations");
    assert_eq!(annotations.get(REVISION).map(String::as_str), Some("1"));
    assert_eq!(annotations.get("kubernetes.io/change-cause").map(String::as_str), Some("new price list"));
    assert!(!annotations.contains_key(LAST_APPLIED));
}

#[test]
fn a_set_is_recognised_by_its_template() {
    let sets = [ended(1), ended(2)];
    let found = find_new(&deployment("app:v2"), &sets).expect("found");
    assert_eq!(found.metadata.uid.as_deref(), Some("2"));
    assert!(find_new(&deployment("app:v3"), &sets).is_none());
}

#[test]
fn rolling_back_gives_the_old_set_a_new_revision_and_remembers_the_old_one() {
    let sets = [ended(1), ended(2)];
    let back = deployment("app:v1");
    let new = find_new(&back, &sets).expect("found");
    let revision = next_revision(Some(&new), &sets);
    assert_eq!(revision, 3);
    let annotations = set_annotations(&back, Some(&new), revision);
    assert_eq!(annotations.get(REVISION).map(String::as_str), Some("3"));
    assert_eq!(annotations.get(REVISION_HISTORY).map(String::as_str), Some("1"));
}

#[test]
fn history_keeps_the_latest_revisions() {
    let surplus = beyond_history(&deployment("app:v4"), &[ended(3), ended(1), ended(2)]);
    let revisions: Vec<_> = surplus.iter().map(|set| revision_of(&set.metadata)).collect();
    assert_eq!(revisions, [1, 2]);
}

#[test]
fn a_collision_changes_the_hash() {
    let template = deployment("app:v1").spec.expect("a spec").template;
    assert_ne!(template_hash(&template, None), template_hash(&template, Some(1)));
}
