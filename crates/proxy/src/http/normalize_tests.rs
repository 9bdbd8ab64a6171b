use super::*;
use proptest::prelude::*;

const ALL: PathRules =
    PathRules { normalize: true, merge_slashes: true, escaped_slashes: EscapedSlashes::Decode };

fn normal(text: &str) -> String {
    path(text, ALL).map(|path| path.text.into_owned()).unwrap_or_else(|error| error.to_string())
}

#[test]
fn what_reaches_one_resource_is_one_path() {
    for same in [
        "/admin",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/%61dmin",
        "/%2fadmin",
        "/x/%2e%2e/admin",
        "\\admin",
    ] {
        if same.starts_with('/') {
            assert_eq!(normal(same), "/admin", "{same}");
        }
    }
    assert_eq!(normal("/a\\b"), "/a/b");
    assert_eq!(normal("/a/.."), "/");
    assert_eq!(normal("/a/b/."), "/a/b/");
    assert_eq!(normal("/%e4%bd"), "/%E4%BD");
}

#[test]
fn ambiguous_paths_are_refused() {
    for bad in ["/..", "/a/../../b", "/%", "/%zz", "/a%2", "/%00", "/..;/admin", "/a/.;x/b"] {
        assert!(path(bad, ALL).is_err(), "{bad}");
    }
}

#[test]
fn nothing_is_changed_unless_asked() {
    for text in ["//a/../b", "/%2F", "/a%zz"] {
        assert_eq!(path(text, PathRules::default()).unwrap().text, text);
    }
}

#[test]
fn escaped_slashes_go_as_configured() {
    let rules = |escaped_slashes| PathRules { escaped_slashes, ..PathRules::default() };
    assert!(path("/a%2Fb", rules(EscapedSlashes::Reject)).is_err());
    assert_eq!(path("/a%2Fb", rules(EscapedSlashes::Decode)).unwrap().text, "/a/b");
    let redirected = path("/a%5cb", rules(EscapedSlashes::Redirect)).unwrap();
    assert_eq!((redirected.text.as_ref(), redirected.redirect), ("/a\\b", true));
}

#[test]
fn hosts_lose_case_and_port() {
    assert_eq!(host("Shop.Example.COM:443", true), "shop.example.com");
    assert_eq!(host("shop:8080", false), "shop:8080");
    assert_eq!(host("[::1]:80", true), "[::1]");
    assert_eq!(host("::1", true), "::1");
    assert_eq!((port("a:80"), port("a"), port("[::1]:81"), port("[::1]")), (Some(80), None, Some(81), None));
    assert!(is_host("a.b:80") && !is_host("a@b") && !is_host("a/b") && !is_host("a b") && !is_host(""));
}

proptest! {
    #[test]
    fn normalising_twice_is_normalising_once(text in "/[a-zA-Z0-9%./;\\\\~-]{0,40}") {
        if let Ok(once) = path(&text, ALL) {
            prop_assert_eq!(path(&once.text, ALL).unwrap().text, once.text.clone());
        }
    }

    #[test]
    fn no_dots_slashes_or_backslashes_are_left(text in "/[a-z%2eEfF5cC./\\\\]{0,40}") {
        if let Ok(normal) = path(&text, ALL) {
            prop_assert!(!normal.text.contains("//") && !normal.text.contains('\\'));
            prop_assert!(!normal.text.split('/').any(|segment| segment == "." || segment == ".."));
        }
    }
}
