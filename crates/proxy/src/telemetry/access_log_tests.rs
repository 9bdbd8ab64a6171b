use super::*;
use envoy_types::pb::google::protobuf::Value as ProtoValue;

#[test]
fn operators_are_parsed_with_arguments_and_lengths() {
    let format = Format::text("a%REQ(X-A?:PATH):10%%%b%DURATION%").unwrap();
    let Shape::Text(pieces) = &format.shape else { panic!("not text") };
    let name = |name: &'static str| HeaderKey::Name(HeaderName::from_static(name));
    assert_eq!(
        pieces,
        &[
            Piece::Literal("a".into()),
            Piece::Operator(Operator {
                field: Field::RequestHeader(name("x-a"), Some(HeaderKey::Path)),
                length: Some(10)
            }),
            Piece::Literal("%b".into()),
            Piece::Operator(Operator { field: Field::Plain(Plain::Duration), length: None }),
        ]
    );
    assert_eq!(format.request_headers(), [HeaderName::from_static("x-a")]);
}

#[test]
fn istios_and_envoys_formats_are_known() {
    assert!(Format::text(DEFAULT_FORMAT).is_ok());
    let istio = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
\"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% \
%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";
    assert!(Format::text(istio).is_ok());
}

#[test]
fn mistakes_are_named() {
    for (format, part) in [
        ("%NOPE%", "'%NOPE%' is not an operator"),
        ("%REQ(X", "closing ')'"),
        ("%DURATION", "closing '%'"),
        ("%REQ(a b)%", "not a header name"),
        ("%DURATION:x%", "length"),
    ] {
        let error = Format::text(format).unwrap_err();
        assert!(error.contains(part), "{format}: {error}");
    }
}

#[test]
fn clients_cannot_forge_lines() {
    let mut out = String::new();
    push_text(&mut out, "a\"b\nc\x1b[0m");
    assert_eq!(out, "a\\\"b\\x0ac\\x1b[0m");
    let mut json = String::new();
    push_json(&mut json, "a\"\\\n\x01");
    assert_eq!(json, "a\\\"\\\\\\n\\u0001");
}

#[test]
fn json_keys_are_sorted_and_single_operators_keep_their_type() {
    let text = |text: &str| ProtoValue { kind: Some(Kind::StringValue(text.into())) };
    let format = Struct {
        fields: [("b".to_owned(), text("%RESPONSE_CODE%")), ("a".to_owned(), text("x %DURATION%"))].into(),
    };
    let Shape::Json(members) = Format::json(&format).unwrap().shape else { panic!("not JSON") };
    let keys: Vec<_> = members.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(matches!(members[0].1, Json::Text(_)) && matches!(members[1].1, Json::Typed(_)));
}

#[test]
fn lengths_cut_at_letters() {
    assert_eq!(cut("aäb", Some(2)), "a");
    assert_eq!(cut("abc", Some(2)), "ab");
    assert_eq!(cut("abc", None), "abc");
}
