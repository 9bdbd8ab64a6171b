use super::*;

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

const PARENT: TraceContext = TraceContext {
    trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
    span: 0x00f0_67aa_0ba9_02b7,
    sampled: Some(true),
};

#[test]
fn every_form_is_read() {
    for headers in [
        map(&[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]),
        map(&[("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1")]),
        map(&[
            ("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("x-b3-spanid", "00f067aa0ba902b7"),
            ("x-b3-sampled", "1"),
        ]),
    ] {
        assert_eq!(TraceContext::extract(&headers), Some(PARENT), "{headers:?}");
    }
}

#[test]
fn broken_contexts_are_no_contexts() {
    for bad in [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        "",
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(bad).unwrap());
        assert_eq!(TraceContext::extract(&headers), None, "{bad}");
    }
    assert_eq!(TraceContext::decision(&map(&[("b3", "0")])), Some(false));
}

#[test]
fn what_is_written_can_be_read_in_every_form_that_came_in() {
    let mut headers = map(&[("b3", "0"), ("x-b3-sampled", "0")]);
    PARENT.inject(Some(7), &mut headers);
    assert_eq!(headers["traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_eq!(headers["b3"], "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-0000000000000007");
    assert_eq!(headers["x-b3-parentspanid"], "0000000000000007");
    let mut plain = HeaderMap::new();
    PARENT.inject(None, &mut plain);
    assert_eq!(plain.len(), 1, "only traceparent where no B3 came in");
}
