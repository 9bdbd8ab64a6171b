use super::*;

#[test]
fn moments_are_iso_8601() {
    for (seconds, millis, text) in [
        (0, 0, "1970-01-01T00:00:00.000Z"),
        (951_827_696, 42, "2000-02-29T12:34:56.042Z"),
        (1_795_473_057, 999, "2026-11-23T22:30:57.999Z"),
        (4_102_444_799, 1, "2099-12-31T23:59:59.001Z"),
    ] {
        let moment = UNIX_EPOCH + Duration::new(seconds, millis * 1_000_000);
        let expected = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap().to_string();
        let shown = Shown::Moment(moment).to_string();
        assert_eq!(&shown[..19], &expected[..19]);
        assert_eq!(shown, text, "{expected}");
    }
}

#[test]
fn trace_ids_keep_their_zeros() {
    assert_eq!(Shown::Hex(0xab, 16).to_string(), "00000000000000ab");
}
