use proptest::prelude::*;

use super::*;

#[test]
fn gos_notation_is_read() {
    for (text, nanoseconds) in [
        ("0", 0),
        ("5s", 5_000_000_000),
        ("1.5s", 1_500_000_000),
        ("250ms", 250_000_000),
        ("1h30m", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("3us", 3_000),
        ("3µs", 3_000),
        ("+2ns", 2),
        ("1.0000000019s", 1_000_000_001),
    ] {
        assert_eq!(text.parse::<Duration>().map(|d| d.as_std().as_nanos()), Ok(nanoseconds), "{text}");
    }
}

#[test]
fn what_is_not_a_duration_is_refused() {
    for text in ["", "5", "s", "5 s", "5d", ".s", "1.2.3s", "5sx", "٣s"] {
        assert_eq!(text.parse::<Duration>(), Err(DurationError::Malformed(text.to_owned())), "{text}");
    }
    assert_eq!("-1s".parse::<Duration>(), Err(DurationError::Negative("-1s".to_owned())));
    assert_eq!("3000000h".parse::<Duration>(), Err(DurationError::TooLong("3000000h".to_owned())));
}

#[test]
fn durations_are_written_plainly() {
    for (text, written) in
        [("90s", "90s"), ("0.25s", "250ms"), ("1500ms", "1.5s"), ("0s", "0s"), ("3us", "0.000003s")]
    {
        assert_eq!(text.parse::<Duration>().map(|d| d.to_string()), Ok(written.to_owned()));
    }
}

proptest! {
    #[test]
    fn writing_and_reading_agree(nanoseconds in 0..i64::MAX as u64) {
        let length = Duration::from(std::time::Duration::from_nanos(nanoseconds));
        prop_assert_eq!(length.to_string().parse::<Duration>(), Ok(length));
    }

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = text.parse::<Duration>();
    }
}
