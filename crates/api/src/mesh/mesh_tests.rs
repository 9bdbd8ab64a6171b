use super::*;
use crate::duration::Duration;

fn mesh(text: &str) -> Parsed<MeshConfig> {
    parse_mesh_config(text).unwrap_or_else(|violations| panic!("{violations:?}"))
}

#[test]
fn defaults_are_istios() {
    let Parsed { config, warnings } = mesh("");
    assert_eq!(config, MeshConfig::default());
    assert!(warnings.is_empty());
    assert_eq!((config.proxy_listen_port, config.proxy_inbound_listen_port), (15001, 15006));
    assert_eq!(config.connect_timeout, Duration::from_secs(10));
    assert_eq!(config.outbound_traffic_policy.mode, OutboundTrafficMode::AllowAny);
    assert_eq!(config.default_service_export_to, ["*"]);
    assert_eq!(config.locality_lb_setting.enabled, Some(true));
    assert_eq!(config.default_config.status_port, 15020);
    assert_eq!(config.default_config.drain_duration, Duration::from_secs(45));
}

#[test]
fn settings_are_read_and_providers_added_to_the_built_in_ones() {
    let Parsed { config, warnings } = mesh(
        "
        accessLogFile: /dev/stdout
        accessLogEncoding: JSON
        outboundTrafficPolicy: { mode: REGISTRY_ONLY }
        trustDomain: example.org
        meshMTLS: { minProtocolVersion: TLSV1_3 }
        protocolDetectionTimeout: 0s
        defaultConfig:
          concurrency: 4
          proxyMetadata: { ISTIO_META_DNS_CAPTURE: 'true' }
          tracing: { sampling: 100 }
        defaultProviders: { metrics: [prometheus], tracing: [otel] }
        extensionProviders:
        - name: otel
          opentelemetry: { service: collector.observe.svc.cluster.local, port: 4317 }
        - name: envoy
          envoyFileAccessLog: { path: /tmp/log, logFormat: { labels: { status: '%RESPONSE_CODE%' } } }
        ",
    );
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(config.access_log_encoding, AccessLogEncoding::Json);
    assert_eq!(config.outbound_traffic_policy.mode, OutboundTrafficMode::RegistryOnly);
    assert_eq!(config.mesh_mtls.min_protocol_version, MeshTlsProtocol::V1_3);
    assert_eq!(config.default_config.concurrency, Some(4));
    assert_eq!(config.default_config.proxy_admin_port, 15000);
    let names: Vec<_> = config.extension_providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(names, ["otel", "envoy", "prometheus"]);
    assert_eq!(config.extension_providers[0].opentelemetry.as_ref().map(|otel| otel.port), Some(4317));
    assert_eq!(
        config.extension_providers[1].envoy_file_access_log.as_ref().map(|log| log.path.as_str()),
        Some("/tmp/log")
    );
}

#[test]
fn what_istio_knows_and_mizzen_does_not_is_a_warning() {
    let Parsed { warnings, .. } = mesh(
        "
        thriftConfig: {}
        defaultConfig: { statNameLength: 189 }
        extensionProviders: [{ name: oauth, envoyExtAuthzHttp: { service: a, port: 80 } }]
        ",
    );
    let paths: Vec<_> = warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(
        paths,
        ["thriftConfig", "defaultConfig.statNameLength", "extensionProviders[0].envoyExtAuthzHttp"]
    );
}

#[test]
fn what_nobody_knows_is_an_error_with_its_path() {
    let text = "trustDomian: a\ndefaultConfig: { concurrency: many }\naccessLogEncoding: XML\n";
    let found: Vec<_> =
        parse_mesh_config(text).err().unwrap_or_default().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "trustDomian: unknown field; did you mean trustDomain?",
            "defaultConfig.concurrency: must be a whole number, not the text \"many\"",
            "accessLogEncoding: \"XML\" is not one of TEXT, JSON",
        ]
    );
    assert_eq!(parse_mesh_config("a: [").err().map(|violations| violations.len()), Some(1));
    assert_eq!(parse_mesh_config("- a").err().map(|violations| violations.len()), Some(1));
}

#[test]
fn a_pod_overrides_parts_of_the_default() {
    let base = mesh("defaultConfig: { proxyMetadata: { A: '1' }, concurrency: 2 }").config.default_config;
    let text =
        "proxyMetadata: { B: '2' }\nholdApplicationUntilProxyStarts: true\nconcurrency: 0\nconfigPath: /x\n";
    let Ok(Parsed { config, warnings }) = base.with_overrides(text) else { panic!() };
    assert_eq!(config.proxy_metadata.len(), 2);
    assert_eq!(config.concurrency, Some(0));
    assert!(config.hold_application_until_proxy_starts);
    assert_eq!(config.discovery_address, base.discovery_address);
    assert_eq!(warnings.len(), 1);
    let Err(violations) = base.with_overrides("statusPort: 99999") else { panic!() };
    assert_eq!(violations[0].path, "statusPort");
    assert_eq!(base.with_overrides("").map(|parsed| parsed.config), Ok(base.clone()));
}
