use super::*;
use proptest::prelude::*;

fn query(query: &str) -> Result<Controls, InvalidControl> {
    parse(Some(query), &HeaderMap::new())
}

#[test]
fn every_control_is_read() {
    let controls =
        query("delay=200ms&status=503&fail=30%25&bytes=10&stream=3&interval=1s&header=x-a:b&close&format=text&other=1")
            .expect("valid");
    assert_eq!(controls.delay, Duration::from_millis(200));
    assert_eq!(controls.status, Some(503));
    assert!((controls.fail - 0.3).abs() < 1e-9);
    assert_eq!((controls.bytes, controls.stream), (Some(10), Some(3)));
    assert_eq!(controls.interval, Duration::from_secs(1));
    assert_eq!(controls.headers, [(HeaderName::from_static("x-a"), HeaderValue::from_static("b"))]);
    assert!(controls.close);
    assert_eq!(controls.format, Format::Text);
}

#[test]
fn a_header_wins_over_the_query() {
    let mut headers = HeaderMap::new();
    headers.insert("x-echo-status", HeaderValue::from_static("404"));
    assert_eq!(parse(Some("status=503"), &headers).expect("valid").status, Some(404));
}

#[test]
fn nonsense_is_named() {
    for (text, name) in
        [("delay=soon", "delay"), ("status=100", "status"), ("fail=200%", "fail"), ("header=x", "header")]
    {
        assert_eq!(query(text).expect_err("refused").name, name);
    }
    assert_eq!(
        query("delay=2h").expect_err("refused").to_string(),
        "'delay=2h': a time such as 200ms or 1.5s, at most 1h"
    );
}

#[test]
fn a_share_fails_below_its_number() {
    let controls = query("fail=30").expect("valid");
    assert!(controls.fails(0.29));
    assert!(!controls.fails(0.31));
    assert!(!Controls::default().fails(0.0));
}

proptest! {
    #[test]
    fn any_query_is_read_or_refused(text in ".*") {
        let _ = query(&text);
    }
}
