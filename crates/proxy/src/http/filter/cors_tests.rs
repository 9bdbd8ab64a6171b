use super::*;
use envoy_types::pb::envoy::r#type::matcher::v3::{
    StringMatcher as StringProto, string_matcher::MatchPattern,
};

fn policy(forward: bool) -> CorsPolicy {
    CorsPolicy::compile(&Message {
        allow_origin_string_match: vec![StringProto {
            ignore_case: false,
            match_pattern: Some(MatchPattern::Exact("https://shop.example".into())),
        }],
        allow_methods: "GET,POST".into(),
        expose_headers: "x-total".into(),
        max_age: "600".into(),
        forward_not_matching_preflights: Some(envoy_types::pb::google::protobuf::BoolValue {
            value: forward,
        }),
        ..Message::default()
    })
    .unwrap()
}

fn decide(policy: &CorsPolicy, method: Method, origin: &'static str, preflight: bool) -> Decision {
    let mut headers = HeaderMap::new();
    headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
    if preflight {
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
    }
    policy.decide(&method, &headers, 1)
}

#[test]
fn a_preflight_of_a_known_origin_is_answered() {
    let Decision::Preflight(headers) = decide(&policy(true), Method::OPTIONS, "https://shop.example", true)
    else {
        panic!("not answered");
    };
    assert_eq!(headers["access-control-allow-methods"], "GET,POST");
    assert_eq!(headers["access-control-max-age"], "600");
    assert_eq!(headers["access-control-allow-origin"], "https://shop.example");
}

#[test]
fn a_request_of_a_known_origin_is_marked() {
    let Decision::Mark(headers) = decide(&policy(true), Method::GET, "https://shop.example", false) else {
        panic!("not marked");
    };
    assert_eq!(headers["access-control-expose-headers"], "x-total");
    assert!(!headers.contains_key("access-control-allow-credentials"));
}

#[test]
fn other_origins_are_forwarded_or_answered_without_leave() {
    assert_eq!(decide(&policy(true), Method::OPTIONS, "https://evil.example", true), Decision::Ignore);
    assert_eq!(
        decide(&policy(false), Method::OPTIONS, "https://evil.example", true),
        Decision::Preflight(HeaderMap::new())
    );
    assert_eq!(decide(&policy(true), Method::GET, "https://evil.example", false), Decision::Ignore);
}
