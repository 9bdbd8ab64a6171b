use serde_json::{Value, json};

use super::*;
use crate::{kind::Kind, parse, violation::Severity};

fn config(kind: Kind, spec: Value) -> Config {
    let value = json!({
        "apiVersion": format!("{}/{}", kind.group(), kind.storage_version()),
        "kind": kind.name(),
        "metadata": { "name": "one", "namespace": "shop" },
        "spec": spec,
    });
    parse(value).unwrap_or_else(|violations| panic!("{violations:?}"))
}

/// The paths of what is wrong, in order; warnings begin with `~`.
fn paths(kind: Kind, spec: Value) -> Vec<String> {
    let path = |violation: Violation| match violation.severity {
        Severity::Error => violation.path,
        Severity::Warning => format!("~{}", violation.path),
    };
    validate(&config(kind, spec)).into_iter().map(path).collect()
}

fn message(kind: Kind, spec: Value) -> String {
    validate(&config(kind, spec)).first().map(ToString::to_string).unwrap_or_default()
}

/// A VirtualService for host `a` with one HTTP rule that goes there, changed by `fields`.
fn rule(fields: Value) -> Value {
    let mut route = json!({ "route": [{ "destination": { "host": "a" } }] });
    if let (Some(route), Value::Object(fields)) = (route.as_object_mut(), fields) {
        route.extend(fields);
        route.retain(|_, value| !value.is_null());
    }
    json!({ "hosts": ["a"], "http": [route] })
}

fn rule_paths(fields: Value) -> Vec<String> {
    paths(Kind::VirtualService, rule(fields))
}

const NONE: [&str; 0] = [];

mod virtual_services {
    use super::*;

    #[test]
    fn a_plain_one_is_valid() {
        assert_eq!(rule_paths(json!({})), NONE);
        let weights = json!({ "route": [
            { "destination": { "host": "a", "subset": "v1" }, "weight": 99 },
            { "destination": { "host": "a", "subset": "v2", "port": { "number": 80 } }, "weight": 1 },
        ] });
        assert_eq!(rule_paths(weights), NONE);
    }

    #[test]
    fn hosts_and_gateways_have_names() {
        let spec = |hosts: Value, gateways: Value| {
            let mut spec = rule(json!({}));
            spec["hosts"] = hosts;
            spec["gateways"] = gateways;
            paths(Kind::VirtualService, spec)
        };
        assert_eq!(spec(json!(["*.example.com", "10.0.0.1", "a"]), json!([])), NONE);
        assert_eq!(spec(json!(["*"]), json!(["istio-system/gw", "./gw", "gw"])), NONE);
        assert_eq!(spec(json!(["*"]), json!([])), ["spec.hosts[0]"]);
        assert_eq!(spec(json!(["*"]), json!(["gw", "mesh"])), ["spec.hosts[0]"]);
        assert_eq!(
            spec(json!(["a.*.com", "a b", "host:80", "ok"]), json!([])),
            ["spec.hosts[0]", "spec.hosts[1]", "spec.hosts[2]"]
        );
        assert_eq!(spec(json!(["a", "A"]), json!([])), ["spec.hosts[1]"]);
        assert_eq!(spec(json!(["a"]), json!(["no/such/gw", ""])), ["spec.gateways[0]", "spec.gateways[1]"]);
    }

    #[test]
    fn a_delegate_has_no_hosts_and_no_gateways() {
        let mut spec = rule(json!({}));
        spec["hosts"] = json!([]);
        assert_eq!(paths(Kind::VirtualService, spec.clone()), NONE);
        spec["gateways"] = json!(["gw"]);
        assert_eq!(paths(Kind::VirtualService, spec), ["spec.gateways"]);
        assert_eq!(
            rule_paths(json!({ "route": null, "delegate": { "name": "more", "namespace": "shop" } })),
            NONE
        );
        assert_eq!(rule_paths(json!({ "route": null, "delegate": {} })), ["spec.http[0].delegate.name"]);
    }

    #[test]
    fn a_rule_does_one_thing() {
        assert_eq!(paths(Kind::VirtualService, json!({ "hosts": ["a"] })), ["spec"]);
        assert_eq!(rule_paths(json!({ "route": null })), ["spec.http[0]"]);
        assert_eq!(rule_paths(json!({ "redirect": { "uri": "/" } })), ["spec.http[0]"]);
        assert_eq!(
            rule_paths(json!({ "route": null, "redirect": { "uri": "/", "redirectCode": 308 } })),
            NONE
        );
        assert_eq!(
            rule_paths(
                json!({ "route": null, "redirect": { "redirectCode": 304 }, "rewrite": { "uri": "/" } })
            ),
            ["spec.http[0].rewrite", "spec.http[0].redirect", "spec.http[0].redirect.redirectCode"]
        );
        let answer =
            |status: u32| rule_paths(json!({ "route": null, "directResponse": { "status": status } }));
        assert_eq!(answer(503), NONE);
        assert_eq!(answer(99), ["spec.http[0].directResponse.status"]);
    }

    #[test]
    fn destinations_name_one_service_and_get_a_share() {
        let route = |route: Value| rule_paths(json!({ "route": route }));
        assert_eq!(
            route(json!([{ "destination": { "host": "*" } }])),
            ["spec.http[0].route[0].destination.host"]
        );
        assert_eq!(
            route(json!([{ "destination": { "host": "a", "subset": "v1!", "port": { "number": 0 } } }])),
            ["spec.http[0].route[0].destination.subset", "spec.http[0].route[0].destination.port.number"]
        );
        let nothing = json!([{ "destination": { "host": "a" } }, { "destination": { "host": "b" } }]);
        assert_eq!(route(nothing), ["spec.http[0].route"]);
    }

    #[test]
    fn matches_say_something() {
        let condition = |condition: Value| rule_paths(json!({ "match": [condition] }));
        assert_eq!(condition(json!({ "uri": { "prefix": "/" }, "headers": { "x-a": {} } })), NONE);
        assert_eq!(condition(json!({ "uri": { "prefix": "" } })), ["spec.http[0].match[0].uri.prefix"]);
        assert_eq!(condition(json!({ "uri": {} })), ["spec.http[0].match[0].uri"]);
        assert_eq!(condition(json!({ "uri": { "regex": "/(a" } })), ["spec.http[0].match[0].uri.regex"]);
        assert_eq!(
            condition(json!({ "method": { "regex": "(?!a)b" } })),
            ["spec.http[0].match[0].method.regex"]
        );
        assert_eq!(condition(json!({ "headers": { "x y": {} } })), ["spec.http[0].match[0].headers[x y]"]);
        assert_eq!(condition(json!({ "port": 0 })), ["spec.http[0].match[0].port"]);
        assert_eq!(
            condition(json!({ "sourceLabels": { "app": "a*" } })),
            ["spec.http[0].match[0].sourceLabels[app]"]
        );
    }

    #[test]
    fn policies_have_sensible_values() {
        assert_eq!(
            rule_paths(json!({ "timeout": "5s", "retries": { "attempts": 3, "retryOn": "5xx,503" } })),
            NONE
        );
        assert_eq!(rule_paths(json!({ "retries": { "attempts": 0 } })), NONE);
        assert_eq!(
            rule_paths(json!({ "retries": { "perTryTimeout": "1s" } })),
            ["spec.http[0].retries.attempts"]
        );
        assert_eq!(
            rule_paths(json!({ "retries": { "attempts": 1, "retryOn": "often" } })),
            ["spec.http[0].retries.retryOn"]
        );
        assert_eq!(rule_paths(json!({ "fault": {} })), ["spec.http[0].fault"]);
        assert_eq!(
            rule_paths(
                json!({ "fault": { "abort": { "httpStatus": 700, "percentage": { "value": 101.0 } } } })
            ),
            ["spec.http[0].fault.abort.httpStatus", "spec.http[0].fault.abort.percentage.value"]
        );
        assert_eq!(
            rule_paths(json!({ "fault": { "delay": { "fixedDelay": "1s" } } })),
            ["~spec.http[0].fault.delay"]
        );
        assert_eq!(
            rule_paths(json!({ "mirror": { "host": "b" }, "mirrors": [{ "destination": { "host": "c" } }] })),
            ["spec.http[0]"]
        );
        assert_eq!(
            rule_paths(json!({ "mirrorPercentage": { "value": 5 } })),
            ["spec.http[0].mirrorPercentage"]
        );
        assert_eq!(
            rule_paths(json!({ "corsPolicy": { "allowMethods": ["FETCH"] } })),
            ["spec.http[0].corsPolicy.allowMethods[0]"]
        );
        assert_eq!(rule_paths(json!({ "rewrite": {} })), ["spec.http[0].rewrite"]);
        assert_eq!(
            rule_paths(json!({ "headers": { "request": { "set": { "a b": "c" }, "remove": ["Host"] } } })),
            ["spec.http[0].headers.request.set[a b]", "spec.http[0].headers.request.remove[0]"]
        );
    }

    #[test]
    fn tls_and_tcp_rules() {
        let tls = |names: Value, hosts: Value| {
            let route =
                json!({ "match": [{ "sniHosts": names }], "route": [{ "destination": { "host": "b" } }] });
            paths(Kind::VirtualService, json!({ "hosts": hosts, "tls": [route], "gateways": ["gw"] }))
        };
        assert_eq!(tls(json!(["app.example.com", "*.example.com"]), json!(["*.example.com"])), NONE);
        assert_eq!(tls(json!(["other.com"]), json!(["*.example.com"])), ["spec.tls[0].match[0].sniHosts[0]"]);
        assert_eq!(tls(json!([]), json!(["a.com"])), ["spec.tls[0].match[0].sniHosts"]);
        let tcp = json!({ "match": [{ "destinationSubnets": ["10.0.0.0/8", "ten"] }] });
        assert_eq!(
            paths(Kind::VirtualService, json!({ "hosts": ["a"], "tcp": [tcp] })),
            ["spec.tcp[0].match[0].destinationSubnets[1]", "spec.tcp[0].route"]
        );
    }

    #[test]
    fn visibility() {
        let export = |to: Value| {
            let mut spec = rule(json!({}));
            spec["exportTo"] = to;
            paths(Kind::VirtualService, spec)
        };
        assert_eq!(export(json!([".", "other"])), NONE);
        assert_eq!(export(json!(["~"])), ["spec.exportTo[0]"]);
        assert_eq!(export(json!(["*", "."])), ["spec.exportTo"]);
    }

    #[test]
    fn messages_say_what_to_do() {
        assert_eq!(
            message(Kind::VirtualService, rule(json!({ "route": null }))),
            "spec.http[0]: does nothing; set one of route, redirect, directResponse and delegate"
        );
        assert_eq!(
            message(Kind::VirtualService, rule(json!({ "match": [{ "uri": { "regex": "/(a" } }] }))),
            r#"spec.http[0].match[0].uri.regex: "/(a" is not a regular expression: error: unclosed group"#
        );
    }
}

mod destination_rules {
    use super::*;

    fn policy(policy: Value) -> Vec<String> {
        paths(Kind::DestinationRule, json!({ "host": "a", "trafficPolicy": policy }))
    }

    #[test]
    fn hosts_and_subsets() {
        let subsets =
            |subsets: Value| paths(Kind::DestinationRule, json!({ "host": "a", "subsets": subsets }));
        assert_eq!(subsets(json!([{ "name": "v1", "labels": { "version": "v1" } }])), NONE);
        assert_eq!(subsets(json!([{ "name": "v1" }, { "name": "v1" }])), ["spec.subsets[1].name"]);
        assert_eq!(subsets(json!([{ "name": "v_1" }])), ["spec.subsets[0].name"]);
        assert_eq!(paths(Kind::DestinationRule, json!({ "host": "" })), ["spec.host"]);
        assert_eq!(paths(Kind::DestinationRule, json!({ "host": "*.a.com", "subsets": [] })), NONE);
    }

    #[test]
    fn policies() {
        assert_eq!(policy(json!({})), ["spec.trafficPolicy"]);
        assert_eq!(policy(json!({ "outlierDetection": {} })), NONE);
        assert_eq!(policy(json!({ "loadBalancer": {} })), ["spec.trafficPolicy.loadBalancer"]);
        assert_eq!(
            policy(json!({ "loadBalancer": { "consistentHash": {} } })),
            ["spec.trafficPolicy.loadBalancer.consistentHash"]
        );
        assert_eq!(
            policy(
                json!({ "loadBalancer": { "consistentHash": { "useSourceIp": true, "maglev": { "tableSize": 65536 } } } })
            ),
            ["spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize"]
        );
        assert_eq!(policy(json!({ "connectionPool": {} })), ["spec.trafficPolicy.connectionPool"]);
        assert_eq!(
            policy(
                json!({ "connectionPool": { "http": { "h2UpgradePolicy": "UPGRADE", "useClientProtocol": true } } })
            ),
            ["spec.trafficPolicy.connectionPool.http"]
        );
        let settings = json!([{ "port": { "number": 80 }, "tls": {} }, { "port": { "number": 80 } }, {}]);
        assert_eq!(
            policy(json!({ "portLevelSettings": settings })),
            [
                "spec.trafficPolicy.portLevelSettings[2].port",
                "spec.trafficPolicy.portLevelSettings[1].port.number"
            ]
        );
    }

    #[test]
    fn tls_modes_have_what_they_need() {
        let tls = |tls: Value| policy(json!({ "tls": tls }));
        assert_eq!(tls(json!({ "mode": "SIMPLE" })), NONE);
        assert_eq!(tls(json!({ "mode": "MUTUAL", "credentialName": "cert" })), NONE);
        assert_eq!(
            tls(json!({ "mode": "MUTUAL" })),
            ["spec.trafficPolicy.tls.clientCertificate", "spec.trafficPolicy.tls.privateKey"]
        );
        assert_eq!(
            tls(json!({ "mode": "ISTIO_MUTUAL", "privateKey": "/k" })),
            ["spec.trafficPolicy.tls.privateKey"]
        );
        assert_eq!(tls(json!({ "mode": "DISABLE", "sni": "a" })), ["~spec.trafficPolicy.tls"]);
        assert_eq!(
            tls(json!({ "mode": "SIMPLE", "credentialName": "c", "caCertificates": "/c" })),
            ["spec.trafficPolicy.tls.credentialName"]
        );
    }

    #[test]
    fn places() {
        let locality = |locality: Value| {
            policy(json!({ "loadBalancer": { "localityLbSetting": locality }, "outlierDetection": {} }))
        };
        assert_eq!(locality(json!({ "failover": [{ "from": "eu", "to": "us" }] })), NONE);
        assert_eq!(locality(json!({ "failover": [{ "from": "eu", "to": "eu" }] })).len(), 1);
        let shares = json!({ "distribute": [{ "from": "eu/*/z", "to": { "eu/*": 80, "us": 10 } }] });
        assert_eq!(
            locality(shares)[..2],
            [
                "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].from",
                "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to"
            ]
        );
    }
}

mod gateways {
    use super::*;

    fn server(fields: Value) -> Vec<String> {
        let mut server =
            json!({ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"] });
        if let (Some(server), Value::Object(fields)) = (server.as_object_mut(), fields) {
            server.extend(fields);
        }
        paths(Kind::Gateway, json!({ "selector": { "istio": "ingressgateway" }, "servers": [server] }))
    }

    fn https(tls: Value) -> Vec<String> {
        server(json!({ "port": { "number": 443, "name": "https", "protocol": "HTTPS" }, "tls": tls }))
    }

    #[test]
    fn servers_have_ports_and_hosts() {
        assert_eq!(server(json!({})), NONE);
        assert_eq!(server(json!({ "hosts": ["./*.example.com", "*/a.com", "team/b.com"] })), NONE);
        assert_eq!(server(json!({ "hosts": [] })), ["spec.servers[0].hosts"]);
        assert_eq!(server(json!({ "hosts": ["a/b/c"] })), ["spec.servers[0].hosts[0]"]);
        assert_eq!(
            server(json!({ "port": { "number": 0, "protocol": "SPDY", "name": "" } })),
            ["spec.servers[0].port.number", "spec.servers[0].port.protocol", "spec.servers[0].port.name"]
        );
        assert_eq!(paths(Kind::Gateway, json!({})), ["spec.servers", "~spec.selector"]);
        let port = json!({ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["a"] });
        let spec = json!({ "selector": { "a": "b" }, "servers": [port, port] });
        assert_eq!(paths(Kind::Gateway, spec), ["spec.servers[1].port.name"]);
    }

    #[test]
    fn tls_goes_with_the_protocol() {
        assert_eq!(server(json!({ "tls": { "httpsRedirect": true } })), NONE);
        assert_eq!(
            server(json!({ "tls": { "mode": "SIMPLE", "credentialName": "c" } })),
            ["spec.servers[0].tls"]
        );
        assert_eq!(
            server(json!({ "port": { "number": 443, "name": "https", "protocol": "HTTPS" } })),
            ["spec.servers[0].tls"]
        );
        assert_eq!(https(json!({ "mode": "SIMPLE", "credentialName": "app-tls" })), NONE);
        assert_eq!(https(json!({ "mode": "PASSTHROUGH" })), NONE);
        assert_eq!(https(json!({ "mode": "SIMPLE" })), ["spec.servers[0].tls"]);
        assert_eq!(https(json!({ "mode": "SIMPLE", "serverCertificate": "/c" })), ["spec.servers[0].tls"]);
        assert_eq!(
            https(json!({ "mode": "MUTUAL", "serverCertificate": "/c", "privateKey": "/k" })),
            ["spec.servers[0].tls.caCertificates"]
        );
        assert_eq!(
            https(json!({ "mode": "ISTIO_MUTUAL", "credentialName": "c" })),
            ["spec.servers[0].tls.credentialName"]
        );
        assert_eq!(
            https(json!({ "mode": "SIMPLE", "credentialName": "c", "credentialNames": ["d"] })),
            ["spec.servers[0].tls"]
        );
        assert_eq!(
            https(
                json!({ "mode": "SIMPLE", "credentialName": "c", "minProtocolVersion": "TLSV1_3", "maxProtocolVersion": "TLSV1_2" })
            ),
            ["spec.servers[0].tls.minProtocolVersion"]
        );
    }
}

mod service_entries {
    use super::*;

    fn entry(fields: Value) -> Vec<String> {
        let mut spec = json!({
            "hosts": ["ext.example.com"],
            "ports": [{ "number": 443, "name": "https", "protocol": "HTTPS" }],
            "resolution": "DNS",
        });
        if let (Some(spec), Value::Object(fields)) = (spec.as_object_mut(), fields) {
            spec.extend(fields);
        }
        paths(Kind::ServiceEntry, spec)
    }

    #[test]
    fn resolution_and_endpoints_go_together() {
        assert_eq!(entry(json!({})), NONE);
        assert_eq!(entry(json!({ "endpoints": [{ "address": "a.b.c", "ports": { "https": 8443 } }] })), NONE);
        assert_eq!(
            entry(json!({ "endpoints": [{ "address": "a.b.c", "ports": { "http": 80 } }] })),
            ["spec.endpoints[0].ports[http]"]
        );
        assert_eq!(entry(json!({ "resolution": "STATIC" })), ["spec.resolution"]);
        assert_eq!(
            entry(json!({ "resolution": "STATIC", "endpoints": [{ "address": "a.b" }] })),
            ["spec.endpoints[0].address"]
        );
        assert_eq!(
            entry(json!({ "resolution": "STATIC", "workloadSelector": { "labels": { "app": "a" } } })),
            NONE
        );
        assert_eq!(
            entry(json!({ "resolution": "NONE", "endpoints": [{ "address": "1.1.1.1" }] })),
            ["spec.resolution"]
        );
        assert_eq!(entry(json!({ "hosts": ["*.example.com"] })), ["spec.resolution"]);
        assert_eq!(entry(json!({ "hosts": ["*.example.com"], "resolution": "NONE" })), NONE);
        assert_eq!(entry(json!({ "addresses": ["10.0.0.0/8"] })), ["spec.addresses"]);
        assert_eq!(entry(json!({ "hosts": ["*"], "resolution": "NONE" })), ["spec.hosts[0]"]);
    }

    #[test]
    fn ports_are_unique() {
        let ports = json!([{ "number": 80, "name": "a" }, { "number": 80, "name": "a" }]);
        assert_eq!(entry(json!({ "ports": ports })), ["spec.ports[1].number", "spec.ports[1].name"]);
        assert_eq!(entry(json!({ "ports": [] })), ["spec.ports"]);
    }

    #[test]
    fn workloads_have_addresses() {
        let workload = |spec: Value| paths(Kind::WorkloadEntry, spec);
        assert_eq!(workload(json!({ "address": "10.0.0.1" })), NONE);
        assert_eq!(workload(json!({ "network": "vpc" })), NONE);
        assert_eq!(workload(json!({})), ["spec.address"]);
        assert_eq!(workload(json!({ "address": "unix://run" })), ["spec.address", "spec.address"]);
        assert_eq!(
            workload(json!({ "address": "unix:///run/a", "ports": { "http": 80 } })),
            ["spec.ports", "spec.address"]
        );
        assert_eq!(
            paths(Kind::WorkloadGroup, json!({ "template": { "ports": { "http": 0 } } })),
            ["spec.template.ports[http]", "kind"]
        );
    }
}

mod sidecars {
    use super::*;

    #[test]
    fn listeners() {
        let sidecar = |spec: Value| paths(Kind::Sidecar, spec);
        assert_eq!(sidecar(json!({ "egress": [{ "hosts": ["./*", "istio-system/*", "~shop/old"] }] })), NONE);
        assert_eq!(sidecar(json!({})), ["spec"]);
        assert_eq!(sidecar(json!({ "egress": [{ "hosts": ["a.com"] }] })), ["spec.egress[0].hosts[0]"]);
        assert_eq!(
            sidecar(json!({ "egress": [{ "hosts": [] }, { "hosts": ["*/*"] }] })),
            ["spec.egress[0].hosts", "spec.egress[0].port"]
        );
        let ingress = |endpoint: &str| {
            let port = json!({ "number": 9080, "protocol": "HTTP", "name": "http" });
            sidecar(json!({ "ingress": [{ "port": port, "defaultEndpoint": endpoint }] }))
        };
        assert_eq!(ingress("127.0.0.1:8080"), NONE);
        assert_eq!(ingress("[::1]:8080"), NONE);
        assert_eq!(ingress("10.0.0.1:80"), ["spec.ingress[0].defaultEndpoint"]);
        assert_eq!(
            sidecar(json!({ "outboundTrafficPolicy": { "egressProxy": { "host": "a" } } })),
            ["spec.outboundTrafficPolicy.egressProxy", "spec.outboundTrafficPolicy.egressProxy"]
        );
    }
}

mod policies {
    use super::*;

    fn authorization(rule: Value) -> Vec<String> {
        paths(Kind::AuthorizationPolicy, json!({ "rules": [rule] }))
    }

    #[test]
    fn peer_authentication() {
        let peer = |spec: Value| paths(Kind::PeerAuthentication, spec);
        assert_eq!(peer(json!({ "mtls": { "mode": "STRICT" } })), NONE);
        assert_eq!(peer(json!({ "portLevelMtls": { "80": { "mode": "DISABLE" } } })), ["spec.portLevelMtls"]);
        let selected =
            json!({ "selector": { "matchLabels": { "app": "a" } }, "portLevelMtls": { "80": {} } });
        assert_eq!(peer(selected), NONE);
    }

    #[test]
    fn nothing_and_everything() {
        assert_eq!(paths(Kind::AuthorizationPolicy, json!({})), NONE);
        assert_eq!(authorization(json!({})), NONE);
        assert_eq!(paths(Kind::AuthorizationPolicy, json!({ "action": "DENY" })), ["~spec.rules"]);
        assert_eq!(authorization(json!({ "from": [{}] })), ["spec.rules[0].from[0].source"]);
        assert_eq!(authorization(json!({ "to": [{ "operation": {} }] })), ["spec.rules[0].to[0].operation"]);
        let twice = json!({ "selector": { "matchLabels": { "a": "b" } }, "targetRefs": [{ "kind": "Service", "name": "a" }] });
        assert_eq!(paths(Kind::AuthorizationPolicy, twice), ["spec", "spec.targetRefs"]);
    }

    #[test]
    fn sources_and_operations() {
        let source = |source: Value| authorization(json!({ "from": [{ "source": source }] }));
        assert_eq!(
            source(json!({ "principals": ["cluster.local/ns/a/sa/b", "*"], "ipBlocks": ["10.0.0.0/8"] })),
            NONE
        );
        assert_eq!(
            source(json!({ "principals": ["spiffe://a/ns/a/sa/b"] })),
            ["spec.rules[0].from[0].source.principals"]
        );
        assert_eq!(source(json!({ "ipBlocks": ["ten"] })), ["spec.rules[0].from[0].source.ipBlocks[0]"]);
        assert_eq!(source(json!({ "namespaces": [""] })), ["spec.rules[0].from[0].source.namespaces[0]"]);
        assert_eq!(
            source(json!({ "serviceAccounts": ["a"], "namespaces": ["b"] })),
            ["spec.rules[0].from[0].source"]
        );
        let operation = |operation: Value| authorization(json!({ "to": [{ "operation": operation }] }));
        assert_eq!(
            operation(json!({ "paths": ["/a*", "/{*}/b", "/c/{**}"], "ports": ["80"], "methods": ["GET"] })),
            NONE
        );
        assert_eq!(operation(json!({ "ports": ["http"] })), ["spec.rules[0].to[0].operation.ports[0]"]);
        assert_eq!(operation(json!({ "paths": ["/{**}/a"] })), ["spec.rules[0].to[0].operation.paths[0]"]);
        assert_eq!(operation(json!({ "paths": ["/a/*/b"] })), ["~spec.rules[0].to[0].operation.paths[0]"]);
    }

    #[test]
    fn conditions() {
        let when = |condition: Value| authorization(json!({ "when": [condition] }));
        assert_eq!(when(json!({ "key": "request.headers[x-a]", "values": ["1"] })), NONE);
        assert_eq!(
            when(json!({ "key": "source.ip", "values": ["here"] })),
            ["spec.rules[0].when[0].values[0]"]
        );
        assert_eq!(when(json!({ "key": "source.moon", "values": ["1"] })), ["spec.rules[0].when[0].key"]);
        assert_eq!(when(json!({ "key": "source.ip" })), ["spec.rules[0].when[0]"]);
    }

    #[test]
    fn telemetry() {
        let logging = json!({ "accessLogging": [{ "providers": [{ "name": "envoy" }] }] });
        assert_eq!(paths(Kind::Telemetry, logging), NONE);
        let tracing = json!({ "tracing": [{ "providers": [{ "name": "a" }, { "name": "b" }], "customTags": { "t": {} } }] });
        assert_eq!(
            paths(Kind::Telemetry, tracing),
            ["spec.tracing[0].providers", "spec.tracing[0].customTags[t]"]
        );
    }
}
