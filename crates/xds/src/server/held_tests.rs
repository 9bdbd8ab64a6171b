use super::*;
use proptest::prelude::*;

fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}

#[test]
fn the_version_given_last_wins() {
    let mut held = Held::default();
    held.extend([(name("a"), Version::UNKNOWN), (name("b"), Version::of(7)), (name("a"), Version::of(5))]);
    assert_eq!(held.get("a"), Some(Version::of(5)));
    held.extend([(name("b"), Version::ABSENT)]);
    assert_eq!(held.get("b"), Some(Version::ABSENT));
    assert_eq!((held.len(), held.existing()), (2, 1));
}

#[test]
fn versions_survive_the_wire_and_foreign_ones_are_unknown() {
    assert_eq!(Version::from_wire(&Version::of(u64::MAX).to_wire()), Version::of(u64::MAX));
    assert_eq!(Version::from_wire("2026-11-23T20:00:00Z/17"), Version::UNKNOWN);
    assert_eq!(Version::from_wire(""), Version::UNKNOWN);
}

#[test]
fn clients_that_hold_the_same_hold_it_once() {
    let lists = Arc::default();
    let entries = |version| (0..100).map(move |number| (name(&number.to_string()), Version::of(version)));
    let [mut one, mut other] = [Held::new(&lists), Held::new(&lists)];
    one.extend(entries(2));
    other.extend(entries(2));
    assert!(Arc::ptr_eq(&one.shared, &other.shared));
    // Both are told of the same changes, in another order.
    for number in 0..100 {
        one.set(&name(&number.to_string()), Version::of(3));
        other.set(&name(&(99 - number).to_string()), Version::of(3));
    }
    assert_eq!(one.summary(), other.summary());
    assert!(Arc::ptr_eq(&one.shared, &other.shared));
}

proptest! {
    #[test]
    fn behaves_as_a_map(operations in prop::collection::vec(("[a-z]{1,2}", 0u64..5, prop::bool::weighted(0.3)), 0..300)) {
        let mut held = Held::default();
        let mut model = std::collections::BTreeMap::new();
        for (text, version, remove) in operations {
            if remove {
                held.remove(&text);
                model.remove(&text);
            } else {
                held.set(&name(&text), Version::of(version));
                model.insert(text, Version::of(version));
            }
        }
        prop_assert_eq!(held.len(), model.len());
        prop_assert_eq!(held.names().collect::<std::collections::BTreeSet<_>>().len(), model.len());
        held.summary();
        prop_assert_eq!(held.len(), model.len());
        for (text, version) in model {
            prop_assert_eq!(held.get(&text), Some(version));
        }
    }

    #[test]
    fn the_summary_does_not_depend_on_the_order(mut entries in prop::collection::btree_map("[a-z]{1,5}", 2u64..99, 0..20)) {
        let build = |entries: Vec<(String, u64)>| {
            let mut held = Held::default();
            held.extend(entries.into_iter().map(|(text, version)| (name(&text), Version::of(version))));
            held.summary()
        };
        let forwards: Vec<_> = entries.clone().into_iter().collect();
        let backwards: Vec<_> = forwards.iter().rev().cloned().collect();
        prop_assert_eq!(build(forwards.clone()), build(backwards));
        if let Some((key, _)) = entries.pop_first() {
            prop_assert_ne!(build(forwards), build(entries.into_iter().collect()), "without {}", key);
        }
    }
}
