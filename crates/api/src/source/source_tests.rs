use proptest::prelude::*;
use serde_json::json;

use super::*;

fn values(text: &str) -> Vec<Value> {
    match read(text) {
        Ok(documents) => documents.into_iter().map(|document| document.value).collect(),
        Err(error) => panic!("{error}"),
    }
}

fn line_and_column(text: &str, path: &str) -> (usize, usize) {
    let documents = read(text).unwrap_or_default();
    let place = documents[0].locate(path);
    (place.line, place.column)
}

#[test]
fn documents_are_read_one_by_one() {
    let text = "# first\na: 1\n---\n---\nb: [x, 'y', \"z\"]\n---\n# nothing\n---\n{\"c\": {\"d\": null}}\n";
    assert_eq!(
        values(text),
        [json!({ "a": 1 }), json!({ "b": ["x", "y", "z"] }), json!({ "c": { "d": null } })]
    );
    assert_eq!(values(""), Vec::<Value>::new());
}

#[test]
fn scalars_mean_what_kubectl_says() {
    for (text, value) in [
        ("on", json!(true)),
        ("No", json!(false)),
        ("'no'", json!("no")),
        ("!!str 5", json!("5")),
        ("~", json!(null)),
        ("0x1F", json!(31)),
        ("0644", json!(420)),
        ("089", json!(89.0)),
        ("-5", json!(-5)),
        ("1.50", json!(1.5)),
        ("1e3", json!(1000.0)),
        ("v1", json!("v1")),
        ("1.2.3", json!("1.2.3")),
        ("10.0.0.0/8", json!("10.0.0.0/8")),
        ("5s", json!("5s")),
        (".inf", json!(".inf")),
        ("2030-01-01", json!("2030-01-01")),
        ("18446744073709551615", json!(u64::MAX)),
    ] {
        assert_eq!(values(&format!("a: {text}")).first(), Some(&json!({ "a": value })), "{text}");
    }
    assert_eq!(values("a:\n- \n"), [json!({ "a": [null] })]);
}

#[test]
fn fields_have_places() {
    let text = "spec:\n  hosts:\n  - a\n  - \"b\"\n  http:\n    - match:\n        - headers: { x.y: { exact: z } }\n";
    assert_eq!(line_and_column(text, "spec"), (1, 1));
    assert_eq!(line_and_column(text, "spec.hosts"), (2, 3));
    assert_eq!(line_and_column(text, "spec.hosts[1]"), (4, 5));
    assert_eq!(line_and_column(text, "spec.http[0].match[0].headers[x.y].exact"), (7, 36));
    assert_eq!(line_and_column(text, "spec.http[0].match[0].headers[x.y]"), (7, 22));
}

#[test]
fn what_is_missing_stands_where_its_parent_does() {
    let text = "a:\n  b:\n    c: 1\n";
    assert_eq!(line_and_column(text, "a.b.missing[3].deep"), (2, 3));
    assert_eq!(line_and_column(text, "nothing"), (1, 1));
}

#[test]
fn places_are_of_the_file_not_of_the_document() {
    let documents = read("a: 1\n---\nb: 2\n").unwrap_or_default();
    let place = documents[1].locate("b");
    assert_eq!((place.line, place.column, place.bytes), (3, 4, 12..13));
}

#[test]
fn anchors_and_merges() {
    assert_eq!(
        values("base: &base\n  x: 1\n  y: 2\nmore:\n  <<: *base\n  y: 3\nlist: [*base]\n"),
        [json!({ "base": { "x": 1, "y": 2 }, "more": { "y": 3, "x": 1 }, "list": [{ "x": 1, "y": 2 }] })]
    );
}

#[test]
fn what_is_wrong_has_a_place_and_a_reason() {
    let error = |text: &str| read(text).err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(error("a: 1\nb: 2\na: 3\n"), "line 3, column 1: the key \"a\" is already set above");
    assert!(error("a: [1, 2\nb: 3\n").starts_with("line "), "{}", error("a: [1, 2\nb: 3\n"));
    assert!(error("a: *nothing\n").starts_with("line 1, column "), "{}", error("a: *nothing\n"));
    assert_eq!(
        error("? [a]\n: b\n"),
        "line 1, column 3: a key must be a single text, not a list or an object"
    );
    assert!(error("a:\n\tb: 1\n").starts_with("line 2"), "{}", error("a:\n\tb: 1\n"));
}

#[test]
fn bombs_are_refused() {
    let deep = "[".repeat(500);
    assert!(read(&deep).is_err());
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = level - 1;
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(", ")));
    }
    let error = read(&laughs).err().map(|error| error.reason);
    assert_eq!(error.as_deref(), Some("the text comes to more than 1000000 values"));
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a-z0-9:\\-\\[\\]{}&*!'\"#|> \n\t,?%@.<]{0,80}") {
        if let Ok(documents) = read(&text) {
            for document in documents {
                let _ = document.locate("a.b[0]");
            }
        }
    }

    #[test]
    fn what_json_writes_is_read_back(name in "[a-z]{1,6}", number in any::<i64>(), text in "[ -~]{0,12}", flag in any::<bool>()) {
        let value = json!({ name: { "number": number, "text": text, "flag": flag, "list": [null, 1.5] } });
        prop_assert_eq!(values(&value.to_string()), vec![value.clone()]);
        prop_assert_eq!(values(&serde_json::to_string_pretty(&value).unwrap_or_default()), vec![value]);
    }
}
