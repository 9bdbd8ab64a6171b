use serde_json::{Value, json};

use super::*;
use crate::{kind::Kind, parse};

/// The fields of the object that are refused.
fn refused(kind: Kind, spec: Value) -> Vec<String> {
    let value = json!({
        "apiVersion": format!("{}/{}", kind.group(), kind.storage_version()),
        "kind": kind.name(),
        "metadata": { "name": "one", "namespace": "shop" },
        "spec": spec,
    });
    let config = parse(value).unwrap_or_else(|violations| panic!("{violations:?}"));
    unsupported(&config).into_iter().map(|violation| violation.path).collect()
}

#[test]
fn whole_kinds() {
    for (kind, spec) in [
        (Kind::RequestAuthentication, json!({})),
        (Kind::EnvoyFilter, json!({})),
        (Kind::ProxyConfig, json!({ "concurrency": 1 })),
        (Kind::WorkloadGroup, json!({ "template": {} })),
        (Kind::WasmPlugin, json!({ "url": "oci://a" })),
        (Kind::TrafficExtension, json!({ "lua": { "inlineCode": "x" } })),
    ] {
        assert_eq!(refused(kind, spec), ["kind"]);
    }
    assert_eq!(
        refused(Kind::PeerAuthentication, json!({ "mtls": { "mode": "STRICT" } })),
        Vec::<String>::new()
    );
}

#[test]
fn single_fields_and_values() {
    assert_eq!(
        refused(
            Kind::AuthorizationPolicy,
            json!({ "action": "AUDIT", "rules": [{
                "from": [{ "source": { "requestPrincipals": ["*"] } }],
                "when": [{ "key": "request.auth.claims[iss]", "values": ["a"] }, { "key": "source.ip", "values": ["::1"] }],
            }] })
        ),
        ["spec.action", "spec.rules[0].from[0].source.requestPrincipals", "spec.rules[0].when[0].key"]
    );
    assert_eq!(
        refused(
            Kind::VirtualService,
            json!({ "hosts": ["a"], "http": [{ "match": [{ "headers": { "@request.auth.claims.sub": { "exact": "me" } } }] }] })
        ),
        ["spec.http[0].match[0].headers[@request.auth.claims.sub]"]
    );
    assert_eq!(
        refused(Kind::ServiceEntry, json!({ "hosts": ["*.a.com"], "resolution": "DYNAMIC_DNS" })),
        ["spec.resolution"]
    );
    assert_eq!(
        refused(
            Kind::DestinationRule,
            json!({ "host": "a", "trafficPolicy": { "tunnel": { "targetHost": "b", "targetPort": 1 } } })
        ),
        ["spec.trafficPolicy.tunnel"]
    );
    assert_eq!(
        refused(
            Kind::Telemetry,
            json!({ "metrics": [{ "overrides": [{ "disabled": true, "tagOverrides": {
                "gone": { "operation": "REMOVE" }, "made": { "value": "a" },
            } }] }] })
        ),
        ["spec.metrics[0].overrides[0].tagOverrides[made].operation"]
    );
}

#[test]
fn what_the_data_plane_does_is_accepted() {
    let policy = json!({
        "loadBalancer": {
            "simple": "LEAST_REQUEST",
            "warmup": { "duration": "30s" },
            "localityLbSetting": { "distribute": [{ "from": "eu/*", "to": { "eu/*": 80, "us/*": 20 } }] },
        },
        "retryBudget": { "percent": 25.0 },
    });
    assert_eq!(
        refused(Kind::DestinationRule, json!({ "host": "a", "trafficPolicy": policy })),
        Vec::<String>::new()
    );
}

#[test]
fn sockets_are_not_connected_to() {
    assert_eq!(refused(Kind::WorkloadEntry, json!({ "address": "unix:///run/a" })), ["spec.address"]);
}

#[test]
fn the_message_names_mizzen() {
    let config =
        Config { meta: Default::default(), spec: crate::security::RequestAuthentication::default().into() };
    let messages: Vec<_> = unsupported(&config).iter().map(ToString::to_string).collect();
    assert_eq!(messages, ["kind: is not honoured by Mizzen yet: JSON web tokens are not checked"]);
}
