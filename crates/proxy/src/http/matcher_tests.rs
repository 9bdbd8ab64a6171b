use super::*;

fn header(
    name: &str,
    specifier: header_matcher::HeaderMatchSpecifier,
    invert: bool,
    empty: bool,
) -> HeaderMatcher {
    HeaderMatcher::compile(&HeaderProto {
        name: name.to_owned(),
        invert_match: invert,
        treat_missing_header_as_empty: empty,
        header_match_specifier: Some(specifier),
    })
    .unwrap()
}

fn exact(text: &str) -> header_matcher::HeaderMatchSpecifier {
    header_matcher::HeaderMatchSpecifier::StringMatch(StringProto {
        ignore_case: false,
        match_pattern: Some(MatchPattern::Exact(text.to_owned())),
    })
}

fn matches(matcher: &HeaderMatcher, values: &[&'static str], reading: Reading) -> bool {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("x-user", HeaderValue::from_static(value));
    }
    let view = HeaderView { method: "GET", path: "/", authority: "a", scheme: "http", headers: &headers };
    matcher.matches(&view, reading)
}

#[test]
fn a_missing_header_matches_only_absence() {
    use header_matcher::HeaderMatchSpecifier::PresentMatch;
    for (specifier, invert, empty, wanted) in [
        (exact("a"), false, false, false),
        (exact("a"), true, false, false),
        (exact("a"), true, true, true),
        (PresentMatch(true), false, false, false),
        (PresentMatch(true), true, false, true),
        (PresentMatch(false), false, false, true),
    ] {
        let matcher = header("x-user", specifier.clone(), invert, empty);
        assert_eq!(matches(&matcher, &[], Reading::Each), wanted, "{specifier:?} {invert} {empty}");
    }
}

#[test]
fn a_repeated_header_is_read_against_the_client() {
    let matcher = header("x-user", exact("admin"), false, false);
    let values = ["guest", "admin"];
    assert!(matches(&matcher, &values, Reading::Each));
    assert!(matches(&matcher, &values, Reading::Any));
    assert!(!matches(&matcher, &values, Reading::Every));
    let not_admin = header("x-user", exact("admin"), true, false);
    assert!(
        !matches(&not_admin, &values, Reading::Every),
        "an allowing rule is not fooled by one good value"
    );
}

#[test]
fn regular_expressions_match_whole_values_of_any_bytes() {
    let regex = full_regex(&RegexMatcher { regex: "a.*c".into(), engine_type: None }).unwrap();
    assert!(regex.is_match(b"abc") && regex.is_match(b"a\xff\xfec") && !regex.is_match(b"xabc"));
    let greek = full_regex(&RegexMatcher { regex: "\\p{Greek}+".into(), engine_type: None }).unwrap();
    assert!(greek.is_match("αβγ".as_bytes()));
    assert!(full_regex(&RegexMatcher { regex: "(".into(), engine_type: None }).is_err());
}

#[test]
fn case_is_ignored_where_asked() {
    for (pattern, text) in [
        (MatchPattern::Exact("AbC".into()), "aBc"),
        (MatchPattern::Prefix("AbC".into()), "aBcd"),
        (MatchPattern::Suffix("AbC".into()), "xaBc"),
        (MatchPattern::Contains("AbC".into()), "xaBcx"),
    ] {
        let matcher = |ignore_case| {
            StringMatcher::compile(&StringProto { ignore_case, match_pattern: Some(pattern.clone()) })
                .unwrap()
        };
        assert!(matcher(true).matches(text.as_bytes()) && !matcher(false).matches(text.as_bytes()));
    }
}

#[test]
fn substitutions_know_groups() {
    let message = RegexMatchAndSubstitute {
        pattern: Some(RegexMatcher { regex: "^/service/([^/]+)(/.*)$".into(), engine_type: None }),
        substitution: "\\2/instance/\\1".into(),
    };
    assert_eq!(Substitution::compile(&message).unwrap().apply("/service/foo/v1/api"), "/v1/api/instance/foo");
}

#[test]
fn query_parameters_are_found_by_name() {
    assert_eq!(parameter("a=1&b=&c", "a"), Some("1"));
    assert_eq!(parameter("a=1&b=&c", "c"), Some(""));
    assert_eq!(parameter("aa=1", "a"), None);
}

#[test]
fn chances_are_kept_over_many_requests() {
    let fraction = Fraction::percent(10.0);
    let hits = (0..100_000u64)
        .filter(|random| fraction.happens(random.wrapping_mul(0x9E37_79B9_7F4A_7C15), 7))
        .count();
    // Five standard deviations around 10,000.
    assert!((9_525..=10_475).contains(&hits), "{hits}");
    assert!(Fraction::ALWAYS.happens(0, 0) && !Fraction::NEVER.happens(0, 0));
}
