use super::*;
use proptest::prelude::*;

#[test]
fn tells_versions_apart() {
    assert_eq!(detect(b"GET / HTTP/1.1\r\nhost: a\r\n"), Detected::Http("http/1.1"));
    assert_eq!(detect(b"\r\nGET /a?b HTTP/1.0\r\n"), Detected::Http("http/1.0"));
    assert_eq!(detect(PREFACE), Detected::Http("h2c"));
}

#[test]
fn other_protocols_are_named_as_soon_as_they_show() {
    for bytes in
        [&b"\x16\x03\x01"[..], b"SSH-2.0-x\r\n", b"GET / HTTP/2.0\r\n", b"GET\x00", b"* OK\r\n", b"\x00"]
    {
        assert_eq!(detect(bytes), Detected::Other, "{bytes:?}");
    }
}

#[test]
fn a_method_without_end_is_bounded() {
    assert_eq!(detect(&[b'A'; LONGEST_METHOD]), Detected::Incomplete);
    assert_eq!(detect(&[b'A'; LONGEST_METHOD + 1]), Detected::Other);
    let mut endless = b"GET ".to_vec();
    endless.resize(LONGEST, b'a');
    assert_eq!(detect(&endless), Detected::Other);
}

proptest! {
    #[test]
    fn every_prefix_of_a_request_is_incomplete(length in 0usize..25) {
        let line = b"DELETE /a/b?c=d HTTP/1.1\r\n";
        prop_assert!(matches!(detect(&line[..length.min(24)]), Detected::Incomplete));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        detect(&bytes);
    }
}
