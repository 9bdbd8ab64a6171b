use super::*;

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let base = [("POD_NAME", "payments-v1-x"), ("POD_NAMESPACE", "default"), ("INSTANCE_IP", "10.244.0.9")];
    base.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(pairs: &[(&str, &str)]) -> Result<AgentOptions, OptionsError> {
    AgentOptions::read(Role::Sidecar, None, &variables(pairs), |path| {
        (path == "/etc/istio/pod/labels").then(|| "app=\"payments\"\nversion=\"v1\"\n".to_owned())
    })
}

#[test]
fn the_node_id_has_istios_four_parts() {
    let options = read(&[]).expect("options");
    assert_eq!(options.node_id(), "sidecar~10.244.0.9~payments-v1-x.default~default.svc.cluster.local");
    assert_eq!(options.labels["version"], "v1");
    assert_eq!(options.concurrency, 2);
    assert_eq!(options.drain_deadline, Duration::from_secs(5));
}

#[test]
fn proxy_config_chooses_discovery_address_workers_and_drain() {
    let config = r#"{"discoveryAddress":"istiod-canary.istio-system.svc:15012","concurrency":1,
        "terminationDrainDuration":"1m30s"}"#;
    let options = read(&[("PROXY_CONFIG", config)]).expect("options");
    assert_eq!(options.discovery_address, "istiod-canary.istio-system.svc:15012");
    assert_eq!(options.concurrency, 1);
    assert_eq!(options.envoy, None);
    assert_eq!(options.drain_deadline, Duration::from_secs(90));
}

#[test]
fn a_binary_path_puts_envoy_in_place_of_the_built_in_proxy() {
    let options = read(&[("PROXY_CONFIG", r#"{"binaryPath":"/usr/local/bin/envoy"}"#)]).expect("options");
    assert_eq!(options.envoy.as_deref(), Some(std::path::Path::new("/usr/local/bin/envoy")));
    let error = read(&[("PROXY_CONFIG", r#"{"binaryPath":1}"#)]).expect_err("an error").to_string();
    assert!(error.contains("binaryPath"), "{error}");
}

#[test]
fn what_cannot_be_understood_is_named() {
    for (name, value) in [("PROXY_CONFIG", "{"), ("INSTANCE_IP", "pod"), ("SECRET_TTL", "soon")] {
        let error = read(&[(name, value)]).expect_err("an error").to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn durations_in_gos_notation() {
    for (text, expected) in [("24h0m0s", 86_400_000), ("1.5s", 1500), ("300ms", 300), ("2m", 120_000)] {
        assert_eq!(parse_duration(text), Some(Duration::from_millis(expected)), "{text}");
    }
    for text in ["", "5", "s", "5 s", "-1s", "1d"] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}
