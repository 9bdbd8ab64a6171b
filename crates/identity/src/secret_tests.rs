use super::*;
use crate::test_authority::Authority;

fn credential() -> SecretValue {
    let (chain, key) = Authority::new("root").issue_spiffe("spiffe://td/ns/a/sa/b");
    SecretValue::Certificate(Arc::new(
        Credential::from_pem(chain.as_bytes(), key.as_bytes()).expect("credential"),
    ))
}

#[test]
fn a_slot_waits_for_its_value_and_keeps_the_last_good_one() {
    let store = SecretStore::default();
    let slot = store.slot("default");
    assert_eq!(slot.credential().expect_err("empty").reason, "it has not arrived yet");
    store.set("default", credential(), "1");
    assert!(slot.credential().is_ok());
    store.fail("default", "broken PEM");
    assert!(slot.credential().is_ok());
    assert_eq!(slot.state().error.as_deref(), Some("broken PEM"));
    store.remove("default");
    assert!(slot.credential().is_err());
}

#[test]
fn a_certificate_is_no_trust_bundle() {
    let slot = SecretSlot::fixed("a", credential());
    assert!(slot.trust().is_err());
}

#[test]
fn slots_nobody_holds_are_forgotten() {
    let store = SecretStore::default();
    let kept = store.slot("kept");
    drop(store.slot("dropped"));
    assert_eq!(store.collect(|_| false), [Arc::from("dropped")]);
    assert_eq!(store.slots().len(), 1);
    assert_eq!(&**kept.name(), "kept");
}
