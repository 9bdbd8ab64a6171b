use super::*;

#[test]
fn settings_are_read_for_both_who_use_them() {
    let settings = parse("").unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert_eq!(settings.injection, InjectionSettings::default());
    assert!(settings.mesh.auto_mtls && !settings.mesh.registry_only);
    assert_eq!(settings.mesh.root_namespace, "istio-system");
    let providers: Vec<_> = settings.mesh.providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(providers, ["prometheus", "envoy"]);
    let text = "enablePrometheusMerge: false\ntrustDomain: example.org\ndefaultConfig:\n  concurrency: 2\n";
    let settings = parse(text).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert_eq!(settings.injection.proxy_config["concurrency"], 2);
    assert!(!settings.injection.merge_prometheus);
    assert_eq!(settings.mesh.trust_domain, "example.org");
}

#[test]
fn wrong_types_are_named() {
    let wrong = parse("defaultConfig: 7").err().unwrap_or_default();
    assert_eq!(wrong.first().map(|violation| violation.path.as_str()), Some("defaultConfig"));
}
