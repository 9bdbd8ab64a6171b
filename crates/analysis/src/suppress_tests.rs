use super::*;
use crate::code;

fn diagnostic(kind: &str, namespace: &str, name: &str) -> Diagnostic {
    Diagnostic {
        code: code::NAMESPACE_NOT_INJECTED,
        resource: ResourceName { kind: kind.into(), name: name.into(), namespace: namespace.into() },
        cluster: None,
        place: None,
        path: String::new(),
        message: String::new(),
        help: None,
    }
}

fn silences(suppression: &str, diagnostic: Diagnostic) -> bool {
    let suppression: Suppression = suppression.parse().unwrap_or_else(|error| panic!("{error}"));
    suppress(vec![diagnostic], &[suppression]).is_empty()
}

#[test]
fn codes_and_resources_must_both_match() {
    assert!(silences("IST0102=Namespace default", diagnostic("Namespace", "", "default")));
    assert!(!silences("IST0103=Namespace default", diagnostic("Namespace", "", "default")));
    assert!(!silences("IST0102=Namespace default", diagnostic("Namespace", "", "other")));
    assert!(silences("IST0102=Pod a.team", diagnostic("Pod", "team", "a")));
}

#[test]
fn stars_stand_for_anything() {
    assert!(silences("IST0102=Pod *.team", diagnostic("Pod", "team", "a-1")));
    assert!(!silences("IST0102=Pod *.team", diagnostic("Pod", "other", "a-1")));
    assert!(silences("IST0102=*", diagnostic("Pod", "team", "a")));
    assert!(silences("IST0102=P*d a*1.te*", diagnostic("Pod", "team", "a-1")));
    assert!(!silences("IST0102=Pod a*b*c", diagnostic("Pod", "", "a-c")));
}

#[test]
fn what_is_not_a_suppression_says_so() {
    assert!("IST0102".parse::<Suppression>().is_err());
    assert!("=Pod".parse::<Suppression>().is_err());
    let unknown: Result<Suppression, _> = "IST9999=Pod a".parse();
    assert_eq!(unknown.map(|suppression| suppression.has_known_code()), Ok(false));
}
