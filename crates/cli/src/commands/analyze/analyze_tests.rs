use super::*;
use mizzen_analysis::ResourceName;

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

#[test]
fn one_namespace_or_all() {
    let one = Scope { namespace: Some("shop".into()), files: Vec::new() };
    assert!(one.includes(&diagnostic("VirtualService", "shop", "a")));
    assert!(one.includes(&diagnostic("Namespace", "", "shop")));
    assert!(!one.includes(&diagnostic("VirtualService", "other", "a")));
    assert!(!one.includes(&diagnostic("Namespace", "", "other")));
    let all = Scope { namespace: None, files: Vec::new() };
    assert!(all.includes(&diagnostic("VirtualService", "other", "a")));
}

#[test]
fn what_is_analyzed_has_a_name() {
    let name = |namespace: Option<&str>, files: &[&str]| {
        Scope { namespace: namespace.map(str::to_owned), files: files.iter().map(PathBuf::from).collect() }
            .name()
    };
    assert_eq!(name(Some("default"), &[]), "namespace: default.");
    assert_eq!(name(None, &[]), "all namespaces.");
    assert_eq!(name(None, &["a.yaml"]), "a.yaml.");
    assert_eq!(name(Some("default"), &["a.yaml", "b.yaml"]), "these files:\n- a.yaml\n- b.yaml");
}
