use super::*;
use proptest::prelude::*;

#[test]
fn http_is_recognised_by_its_first_word() {
    assert_eq!(recognise(b"GET / HTTP/1.1\r\n"), Some(Speech::Http));
    assert_eq!(recognise(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Some(Speech::Http));
    assert_eq!(recognise(b"hello\n"), Some(Speech::Other));
    assert_eq!(recognise(b"GETTING\n"), Some(Speech::Other));
    assert_eq!(recognise(b"PO"), None);
    assert_eq!(recognise(b"PRI * HTTP/2"), None);
    assert_eq!(recognise(b""), None);
}

proptest! {
    #[test]
    fn more_bytes_never_change_a_decision(bytes in proptest::collection::vec(any::<u8>(), 0..64), at in 0..64_usize) {
        let some = &bytes[..at.min(bytes.len())];
        if let Some(decided) = recognise(some) {
            prop_assert_eq!(recognise(&bytes), Some(decided));
        }
    }
}
