use super::*;

#[test]
fn equal_values_have_one_number_and_a_full_table_says_unknown() {
    let interner = Interner::<String>::new(3);
    let first = interner.id(&"a".to_owned());
    assert_eq!(interner.id(&"a".to_owned()), first);
    let second = interner.id(&"b".to_owned());
    assert_ne!(first, second);
    assert_eq!(interner.id(&"c".to_owned()), Id::UNKNOWN);
    assert_eq!(*interner.value(second), "b");
    assert_eq!(*interner.value(Id(99)), "");
}
