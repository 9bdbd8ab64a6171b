use serde_json::json;

use super::*;
use crate::{common::StringMatch, duration::Duration, networking::TlsProtocol, security::MutualTlsMode};

fn object(api_version: &str, kind: &str, spec: Value) -> Value {
    json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "one", "namespace": "shop" }, "spec": spec })
}

fn virtual_service(spec: Value) -> Value {
    object("networking.istio.io/v1", "VirtualService", spec)
}

/// What is wrong with the object, as `path: message` lines.
fn problems(value: Value) -> Vec<String> {
    parse(value).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn all_versions_give_the_same_types() {
    let spec =
        json!({ "hosts": ["payments"], "http": [{ "route": [{ "destination": { "host": "payments" } }] }] });
    let parsed: Vec<_> = ["v1", "v1beta1", "v1alpha3"]
        .map(|version| {
            parse(object(&format!("networking.istio.io/{version}"), "VirtualService", spec.clone()))
        })
        .into();
    assert!(parsed[0].is_ok());
    assert_eq!(parsed[0], parsed[1]);
    assert_eq!(parsed[0], parsed[2]);
}

#[test]
fn unknown_fields_are_named_with_their_path_and_a_guess() {
    let found = problems(virtual_service(json!({
        "hosts": ["a"],
        "http": [{ "route": [{ "destination": { "host": "a" }, "wieght": 3 }], "timeOut": "3s", "banana": 1 }],
    })));
    assert_eq!(
        found,
        [
            "spec.http[0].route[0].wieght: unknown field; did you mean weight?",
            "spec.http[0].timeOut: unknown field; did you mean timeout?",
            "spec.http[0].banana: unknown field; check its spelling and indentation",
        ]
    );
}

#[test]
fn wrong_types_and_ranges_are_named_all_at_once() {
    let found = problems(virtual_service(json!({
        "hosts": "a",
        "http": [{
            "match": [{ "port": 70000, "headers": { "x-user": "bob" } }],
            "timeout": "soon",
            "route": [{ "destination": { "host": 5 }, "weight": "99" }],
        }],
    })));
    assert_eq!(
        found,
        [
            r#"spec.hosts: must be a list, not the text "a""#,
            "spec.http[0].match[0].port: 70000 is too large; the most is 65535",
            r#"spec.http[0].match[0].headers[x-user]: must be an object, not the text "bob""#,
            r#"spec.http[0].timeout: "soon" is not a duration; write a number with a unit, such as 5s, 250ms or 1h30m"#,
            "spec.http[0].route[0].destination.host: must be a text, not the number 5; put quotes around it if it is one",
            r#"spec.http[0].route[0].weight: must be a whole number, not the text "99""#,
        ]
    );
}

#[test]
fn required_fields_exclusive_fields_and_enums() {
    let found = problems(virtual_service(json!({
        "http": [{
            "match": [{ "uri": { "exact": "/a", "prefix": "/b" } }],
            "route": [{ "weight": 1 }],
            "corsPolicy": { "unmatchedPreflights": "MAYBE" },
        }],
    })));
    assert_eq!(
        found,
        [
            "spec.http[0].match[0].uri: has exact and prefix set; only one of them can be",
            "spec.http[0].route[0].destination: is required",
            r#"spec.http[0].corsPolicy.unmatchedPreflights: "MAYBE" is not one of UNSPECIFIED, FORWARD, IGNORE"#,
        ]
    );
}

#[test]
fn unknown_kinds_and_versions_say_what_there_is() {
    assert_eq!(
        problems(object("networking.istio.io/v2", "Gateway", json!({}))),
        [
            "apiVersion: \"networking.istio.io/v2\" has no Gateway; use networking.istio.io/v1, networking.istio.io/v1beta1, \
             networking.istio.io/v1alpha3"
        ]
    );
    assert_eq!(problems(object("v1", "Pod", json!({}))), [r#"kind: "Pod" of "v1" is not a kind of Istio's"#]);
    assert_eq!(problems(json!([])).len(), 1);
    assert_eq!(problems(json!({ "kind": "Gateway" })), ["apiVersion: is required"]);
}

#[test]
fn null_counts_as_absent_and_empty_match_as_presence() {
    let config = parse(virtual_service(json!({
        "hosts": ["a"],
        "gateways": null,
        "http": [{ "name": "", "match": [{ "headers": { "x-debug": {} } }], "route": null }],
    })));
    let Ok(Config { spec: Spec::VirtualService(service), .. }) = config else { panic!("{config:?}") };
    assert!(service.gateways.is_empty());
    assert_eq!(service.http[0].name, None);
    assert_eq!(service.http[0].matches[0].headers["x-debug"], StringMatch::Present);
}

#[test]
fn older_spellings_are_read() {
    let config = parse(virtual_service(json!({
        "hosts": ["a"],
        "http": [{ "mirror": { "host": "b" }, "mirror_percent": 5, "route": [{ "destination": { "host": "a" } }] }],
    })));
    let Ok(Config { spec: Spec::VirtualService(service), .. }) = config else { panic!("{config:?}") };
    assert_eq!(service.http[0].mirror_percent, Some(5));
}

#[test]
fn ports_are_keys_of_port_level_mtls() {
    let policy = |port: &str| {
        let spec = json!({ "selector": { "matchLabels": { "app": "a" } }, "portLevelMtls": { port: { "mode": "DISABLE" } } });
        parse(object("security.istio.io/v1", "PeerAuthentication", spec))
    };
    let Ok(Config { spec: Spec::PeerAuthentication(read), .. }) = policy("8080") else { panic!() };
    assert_eq!(read.port_level_mtls[&8080].mode, Some(MutualTlsMode::Disable));
    let refused = policy("http").err().unwrap_or_default();
    assert_eq!(refused[0].path, "spec.portLevelMtls[http]");
}

#[test]
fn status_is_free_and_other_fields_are_not() {
    let mut value = virtual_service(json!({ "hosts": ["a"] }));
    value["status"] = json!({ "anything": true });
    value["sepc"] = json!({});
    assert_eq!(
        problems(value),
        ["sepc: unknown field; only metadata and spec stand beside apiVersion and kind"]
    );
}

#[test]
fn metadata_is_read() {
    let mut value = virtual_service(json!({ "hosts": ["a"] }));
    value["metadata"]["labels"] = json!({ "team": "pay" });
    value["metadata"]["creationTimestamp"] = json!("2030-01-02T03:04:05Z");
    value["metadata"]["managedFields"] = json!([{ "manager": "kubectl" }]);
    let meta = parse(value.clone()).map(|config| config.meta);
    let Ok(meta) = meta else { panic!("{meta:?}") };
    assert_eq!((meta.namespace.as_str(), meta.name.as_str()), ("shop", "one"));
    assert_eq!(meta.labels["team"], "pay");
    assert_eq!(meta.creation.to_string(), "2030-01-02T03:04:05Z");
    value["metadata"]["labels"] = json!({ "version": 1 });
    assert_eq!(problems(value), ["metadata.labels[version]: must be a text; put quotes around it"]);
}

#[test]
fn what_is_written_is_what_was_read() {
    let objects = [
        object(
            "networking.istio.io/v1beta1",
            "Gateway",
            json!({
                "selector": { "istio": "ingressgateway" },
                "servers": [{
                    "port": { "number": 443, "name": "https", "protocol": "HTTPS" },
                    "tls": { "mode": "SIMPLE", "credentialName": "app-tls", "minProtocolVersion": "TLSV1_3" },
                    "hosts": ["app.example.com"],
                }],
            }),
        ),
        object(
            "networking.istio.io/v1",
            "DestinationRule",
            json!({
                "host": "payments",
                "trafficPolicy": {
                    "loadBalancer": { "consistentHash": { "httpCookie": { "name": "user", "ttl": "0s" } } },
                    "outlierDetection": { "consecutive5xxErrors": 7, "interval": "1.5s" },
                    "connectionPool": { "http": { "http2MaxRequests": 10, "h2UpgradePolicy": "UPGRADE" } },
                },
                "subsets": [{ "name": "v1", "labels": { "version": "v1" } }],
            }),
        ),
        object("security.istio.io/v1", "AuthorizationPolicy", json!({ "rules": [{}] })),
        object("security.istio.io/v1", "AuthorizationPolicy", json!({})),
        object(
            "telemetry.istio.io/v1",
            "Telemetry",
            json!({ "accessLogging": [{ "providers": [{ "name": "envoy" }], "disabled": false }] }),
        ),
    ];
    for value in objects {
        let Ok(config) = parse(value.clone()) else { panic!("{:?}", problems(value)) };
        let written = config.to_value().unwrap_or_default();
        assert_eq!(written["spec"], value["spec"]);
        assert_eq!(parse(written), Ok(config));
    }
}

#[test]
fn versions_of_tls_and_durations_have_values() {
    let spec = json!({ "servers": [{
        "port": { "number": 443, "name": "https", "protocol": "HTTPS" },
        "hosts": ["*"],
        "tls": { "minProtocolVersion": "TLSV1_2" },
    }] });
    let config = parse(object("networking.istio.io/v1", "Gateway", spec));
    let Ok(Config { spec: Spec::Gateway(gateway), .. }) = config else { panic!("{config:?}") };
    let minimum = gateway.servers[0].tls.as_ref().and_then(|tls| tls.min_protocol_version);
    assert_eq!(minimum, Some(TlsProtocol::V1_2));
    assert_eq!("1h30m".parse(), Ok(Duration::from_secs(5400)));
}

mod any_input {
    use proptest::prelude::*;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z*/.]{0,8}".prop_map(Value::from),
            Just(json!("5s")),
        ];
        // Names of real fields, so that the values get past the first level.
        let names = prop::sample::select(vec![
            "hosts",
            "http",
            "match",
            "route",
            "destination",
            "host",
            "uri",
            "prefix",
            "exact",
            "port",
            "number",
            "tls",
            "mode",
            "selector",
            "matchLabels",
            "rules",
            "from",
            "source",
            "servers",
            "subsets",
            "trafficPolicy",
            "x",
            "portLevelMtls",
            "8080",
            "headers",
            "weight",
            "timeout",
            "percentage",
            "value",
            "metadata",
            "name",
        ]);
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner), 0..6).prop_map(|fields| Value::Object(
                    fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect()
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn never_panics_and_what_it_accepts_survives_writing(
            kind in prop::sample::select(Kind::ALL.to_vec()),
            mut object in any_json(),
            spec in any_json(),
        ) {
            let _ = parse(object.clone());
            if let Some(fields) = object.as_object_mut() {
                fields.insert("apiVersion".into(), json!(format!("{}/{}", kind.group(), kind.storage_version())));
                fields.insert("kind".into(), json!(kind.name()));
                fields.insert("spec".into(), spec);
            }
            if let Ok(config) = parse(object) {
                let written = config.to_value().map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(parse(written), Ok(config));
            }
        }
    }
}
