use std::sync::Arc;

use super::*;

/// The diagnostics of a text of manifests, as `CODE FILE:LINE` and the resource.
fn found(text: &str) -> Vec<String> {
    analyze(&world(text)).iter().map(brief).collect()
}

fn brief(diagnostic: &Diagnostic) -> String {
    let line = diagnostic.place.as_ref().map_or(0, |place| place.line);
    format!("{} {} {}", diagnostic.code.id, line, diagnostic.resource)
}

/// The diagnostics with one code.
fn only(id: &str, text: &str) -> Vec<String> {
    found(text).into_iter().filter(|line| line.starts_with(id)).collect()
}

fn world_with(settings: Settings, text: &str) -> World {
    let mut world = World::new(settings);
    let documents = mizzen_api::source::read(text).unwrap_or_else(|error| panic!("{error}"));
    for document in documents {
        let value = document.value.clone();
        let origin = Origin { file: "mesh.yaml".into(), text: text.into(), document: Arc::new(document) };
        world.add(value, Some(origin));
    }
    world
}

fn world(text: &str) -> World {
    world_with(Settings::default(), text)
}

const NONE: [&str; 0] = [];

/// A shop with a canary, as people write it.
const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: default, labels: { istio-injection: enabled } }
---
apiVersion: v1
kind: Service
metadata: { name: cart }
spec:
  selector: { app: cart }
  ports: [{ port: 80, targetPort: 8080, name: http }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: cart-v1 }
spec:
  selector: { matchLabels: { app: cart, version: v1 } }
  template:
    metadata: { labels: { app: cart, version: v1 } }
    spec: { containers: [{ name: cart, image: cart }] }
---
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata: { name: cart }
spec:
  host: cart
  subsets: [{ name: v1, labels: { version: v1 } }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [cart]
  http:
  - route:
    - destination: { host: cart, subset: v1, port: { number: 80 } }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: outside }
spec:
  hosts: [api.example.com]
  ports: [{ number: 443, name: https, protocol: HTTPS }]
  location: MESH_EXTERNAL
  resolution: DNS
";

#[test]
fn a_good_shop_has_nothing_wrong() {
    assert_eq!(found(SHOP), NONE);
}

#[test]
fn unknown_hosts_subsets_and_ports_are_found_at_their_line() {
    let routes = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: wrong }
spec:
  hosts: [other.example.com]
  http:
  - route:
    - destination:
        host: catr
      weight: 50
    - destination:
        host: cart
        subset: v9
        port:
          number: 8080
      weight: 50
    mirror: { host: api.example.com }
";
    let text = format!("{SHOP}{routes}");
    let start = SHOP.lines().count();
    assert_eq!(
        found(&text),
        [
            format!("IST0101 {} VirtualService default/wrong", start + 11),
            format!("IST0101 {} VirtualService default/wrong", start + 15),
            format!("IST0101 {} VirtualService default/wrong", start + 17),
        ]
    );
}

#[test]
fn hosts_are_looked_for_in_the_namespace_of_the_rule() {
    let text = format!(
        "{SHOP}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: far, namespace: team }}
spec:
  hosts: [a.example.com]
  http: [{{ route: [{{ destination: {{ host: cart }} }}] }}]
"
    );
    let diagnostics = analyze(&world(&text));
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(diagnostics[0].help.as_deref(), Some("did you mean cart.default.svc.cluster.local?"));
    assert_eq!(diagnostics[0].path, "spec.http[0].route[0].destination.host");
}

#[test]
fn several_ports_need_a_choice() {
    let text = "
apiVersion: v1
kind: Service
metadata: { name: cart }
spec: { ports: [{ port: 80, name: http }, { port: 90, name: grpc }] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec: { hosts: [cart], http: [{ route: [{ destination: { host: cart } }] }] }
";
    assert_eq!(found(text), ["IST0112 10 VirtualService default/cart"]);
}

#[test]
fn gateways_and_their_hosts() {
    let text = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: edge, namespace: istio-system }
spec:
  selector: { istio: ingressgateway }
  servers:
  - { port: { number: 80, name: http, protocol: HTTP }, hosts: ['team/*.example.com'] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web, namespace: team }
spec:
  hosts: [web.example.com, web.example.org]
  gateways: [istio-system/edge, edge]
  http: [{ directResponse: { status: 200 } }]
";
    assert_eq!(found(text), ["IST0101 15 VirtualService team/web", "IST0132 14 VirtualService team/web"]);
}

#[test]
fn several_gateways_for_a_host_and_ports_without_service() {
    let gateway = |name: &str, port: u32| {
        format!(
            "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{ name: {name} }}
spec:
  selector: {{ istio: ingressgateway }}
  servers:
  - {{ port: {{ number: {port}, name: http, protocol: HTTP }}, hosts: [a.com] }}
"
        )
    };
    let service = "
apiVersion: v1
kind: Service
metadata: { name: ingress }
spec: { selector: { istio: ingressgateway }, ports: [{ port: 80, targetPort: 8080, name: http2 }] }
";
    let text = format!("{service}{}{}{}", gateway("a", 80), gateway("b", 80), gateway("c", 8080));
    assert_eq!(
        found(&text),
        ["IST0145 13 Gateway default/a", "IST0145 21 Gateway default/b", "IST0162 29 Gateway default/c"]
    );
}

#[test]
fn secrets_of_gateways() {
    let gateway = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: edge, namespace: istio-system }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 443, name: https, protocol: HTTPS }
    hosts: [a.com]
    tls: { mode: SIMPLE, credentialName: app-tls }
";
    assert_eq!(found(gateway), NONE, "Secrets are not known, so none is missing");
    let other = format!("{gateway}---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: other }}\n");
    assert_eq!(found(&other), ["IST0101 10 Gateway istio-system/edge"]);
    let secret = |data: &str| {
        format!(
            "{gateway}---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: app-tls, namespace: istio-system }}\nstringData: {data}\n"
        )
    };
    assert_eq!(found(&secret("{ tls.crt: x, tls.key: key }")), NONE);
    assert_eq!(found(&secret("{ tls.crt: x }")), ["IST0161 10 Gateway istio-system/edge"]);
}

#[test]
fn one_host_one_virtual_service() {
    let service = |name: &str, extra: &str| {
        format!(
            "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: {name} }}
spec: {{ hosts: [a.com], http: [{{ directResponse: {{ status: 200 }} }}]{extra} }}
"
        )
    };
    let ids = |text: String| only("IST0109", &text);
    assert_eq!(
        ids(service("a", "") + &service("b", "")),
        ["IST0109 5 VirtualService default/a", "IST0109 10 VirtualService default/b"]
    );
    assert_eq!(ids(service("a", "") + &service("b", ", exportTo: ['.']")), NONE);
    assert_eq!(ids(service("a", "") + &service("b", ", gateways: [g]")), NONE);
}

#[test]
fn rules_that_nothing_is_left_for() {
    let rules = |rules: &str| {
        let text = format!(
            "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: a }}
spec:
  hosts: [a.com]
  http:
{rules}"
        );
        found(&text)
    };
    let route = "directResponse: { status: 200 }";
    assert_eq!(
        rules(&format!("  - {route}\n  - match: [{{ uri: {{ exact: /a }} }}]\n    {route}\n")),
        ["IST0130 9 VirtualService default/a"]
    );
    assert_eq!(
        rules(&format!(
            "  - match: [{{ uri: {{ prefix: /a }} }}]\n    {route}\n  - match: [{{ uri: {{ prefix: /a/b }} }}, {{ uri: {{ prefix: /c }} }}]\n    {route}\n"
        )),
        ["IST0131 10 VirtualService default/a"]
    );
    assert_eq!(
        rules(&format!(
            "  - match: [{{ uri: {{ prefix: /a }}, headers: {{ x: {{}} }} }}]\n    {route}\n  - match: [{{ uri: {{ prefix: /a }} }}]\n    {route}\n"
        )),
        NONE
    );
}

#[test]
fn invalid_objects_are_named_with_line_and_field() {
    let text = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: a }
spec:
  hosts: [a.com]
  http:
  - timeout: soon
    rout: []
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: jwt }
spec: {}
---
apiVersion: v1
kind: Service
metadata: { name: a }
spec: { ports: none }
";
    assert_eq!(
        found(text),
        [
            "IST0106 12 RequestAuthentication default/jwt",
            "IST0106 19 Service default/a",
            "IST0106 8 VirtualService default/a",
            "IST0106 9 VirtualService default/a",
        ]
    );
}

#[test]
fn injection() {
    let text = "
apiVersion: v1
kind: Namespace
metadata: { name: plain }
---
apiVersion: v1
kind: Namespace
metadata: { name: both, labels: { istio-injection: enabled, istio.io/rev: canary } }
---
apiVersion: v1
kind: Namespace
metadata: { name: kube-system }
---
apiVersion: v1
kind: Pod
metadata: { name: bare, namespace: both }
spec: { containers: [{ name: app }] }
---
apiVersion: v1
kind: Pod
metadata: { name: good, namespace: both }
spec: { containers: [{ name: app }], initContainers: [{ name: istio-proxy, restartPolicy: Always }] }
---
apiVersion: v1
kind: Pod
metadata: { name: opted-out, namespace: both, labels: { sidecar.istio.io/inject: 'false' } }
spec: { containers: [{ name: app }] }
";
    assert_eq!(
        found(text),
        ["IST0103 16 Pod both/bare", "IST0123 8 Namespace both", "IST0102 4 Namespace plain"]
    );
}

#[test]
fn annotations_have_names_and_places() {
    let text = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: a
  annotations:
    sidecar.istio.io/proxyCPU: '1'
spec:
  template:
    metadata:
      annotations:
        sidecar.istio.io/porxyCPU: '1'
        sidecar.istio.io/inject: 'true'
        example.com/mine: x
    spec: { containers: [] }
";
    assert_eq!(
        found(text),
        [
            "IST0107 7 Deployment default/a",
            "IST0108 12 Deployment default/a",
            "IST0135 13 Deployment default/a"
        ]
    );
}

#[test]
fn one_sidecar_for_a_workload() {
    let sidecar = |name: &str, selector: &str| {
        format!(
            "---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{ name: {name} }}
spec: {{ egress: [{{ hosts: ['./*'] }}]{selector} }}
"
        )
    };
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: p, labels: { app: a, tier: b } }\nspec: { containers: [] }\n";
    assert_eq!(
        found(&(sidecar("a", "") + &sidecar("b", ""))),
        ["IST0111 4 Sidecar default/a", "IST0111 9 Sidecar default/b"]
    );
    let by_app = sidecar("a", ", workloadSelector: { labels: { app: a } }");
    let by_tier = sidecar("b", ", workloadSelector: { labels: { tier: b } }");
    assert_eq!(
        found(&(pod.to_owned() + &by_app + &by_tier)),
        ["IST0110 9 Sidecar default/a", "IST0110 14 Sidecar default/b"]
    );
}

#[test]
fn policies_without_workloads() {
    let text = format!(
        "{SHOP}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: a }}
spec: {{ selector: {{ matchLabels: {{ app: catr }} }} }}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{ name: b }}
spec: {{ selector: {{ matchLabels: {{ app: cart }} }} }}
"
    );
    let line = SHOP.lines().count() + 5;
    assert_eq!(found(&text), [format!("IST0127 {line} AuthorizationPolicy default/a")]);
}

#[test]
fn ports_say_their_protocol() {
    let text = "
apiVersion: v1
kind: Service
metadata: { name: a }
spec:
  ports:
  - { port: 80 }
  - { port: 81, name: web }
  - { port: 82, name: web2, appProtocol: http }
  - { port: 83, name: dns, protocol: UDP }
  - { port: 3306, name: db }
";
    assert_eq!(found(text), ["IST0118 7 Service default/a", "IST0118 8 Service default/a"]);
}

#[test]
fn one_container_port_behind_several_services() {
    let service = |name: &str, port: u32, port_name: &str| {
        format!(
            "---
apiVersion: v1
kind: Service
metadata: {{ name: {name} }}
spec: {{ selector: {{ app: cart }}, ports: [{{ port: {port}, targetPort: 8080, name: {port_name} }}] }}
"
        )
    };
    let text = format!("{SHOP}{}{}", service("cart-b", 80, "tcp"), service("cart-c", 90, "http"));
    assert_eq!(
        found(&text),
        ["IST0116 15 Deployment default/cart-v1", "IST0137 15 Deployment default/cart-v1"]
    );
}

#[test]
fn destination_rules() {
    let text = format!(
        "{SHOP}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: unknown }}
spec: {{ host: nobody.example.com }}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: empty }}
spec:
  host: cart
  subsets:
  - {{ name: v2, labels: {{ version: v2 }} }}
  trafficPolicy:
    tls: {{ mode: SIMPLE }}
    portLevelSettings:
    - {{ port: {{ number: 80 }}, tls: {{ mode: SIMPLE, caCertificates: /a }} }}
    - {{ port: {{ number: 81 }}, tls: {{ mode: MUTUAL, clientCertificate: /a, privateKey: /b }} }}
"
    );
    let line = SHOP.lines().count();
    assert_eq!(
        found(&text),
        [
            format!("IST0173 {} DestinationRule default/empty", line + 13),
            format!("IST0128 {} DestinationRule default/empty", line + 15),
            format!("IST0129 {} DestinationRule default/empty", line + 18),
            format!("IST0174 {} DestinationRule default/unknown", line + 5),
        ]
    );
}

#[test]
fn tcp_outside_the_mesh_needs_an_address() {
    let entry = |extra: &str| {
        found(&format!(
            "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{ name: db, labels: {{ networking.istio.io/enable-autoallocate-ip: '{extra}' }} }}
spec: {{ hosts: [db.example.com], ports: [{{ number: 5432, name: tcp-db, protocol: TCP }}], resolution: DNS }}
"
        ))
    };
    assert_eq!(entry("true"), NONE);
    assert_eq!(entry("false"), ["IST0134 5 ServiceEntry default/db"]);
}

#[test]
fn an_annotation_asks_for_silence() {
    let text = "
apiVersion: v1
kind: Service
metadata: { name: a, annotations: { galley.istio.io/analyze-suppress: 'IST0999, IST0118' } }
spec: { ports: [{ port: 80 }] }
";
    assert_eq!(found(text), NONE);
}

#[test]
fn what_a_live_api_lacks_is_missing() {
    let text = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: edge, namespace: istio-system }
spec:
  selector: { istio: ingressgateway }
  servers:
  - { port: { number: 443, name: https, protocol: HTTPS }, hosts: [a.com], tls: { mode: SIMPLE, credentialName: c } }
";
    let settings = Settings { is_live: true, ..Settings::default() };
    let diagnostics = analyze(&world_with(settings, text));
    let brief: Vec<_> = diagnostics.iter().map(brief).collect();
    assert_eq!(brief, ["IST0101 6 Gateway istio-system/edge", "IST0101 8 Gateway istio-system/edge"]);
}

#[test]
fn files_take_the_place_of_what_is_there_and_lists_are_taken_apart() {
    let mut world = World::new(Settings::default());
    let service = |port: u32| {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" },
            "spec": { "ports": [{ "port": port, "name": "http" }] },
        })
    };
    world.add(serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": [service(80)] }), None);
    world.add(service(90), None);
    assert_eq!(world.len(), 1);
    let ports: Vec<_> = world.services().flat_map(registry_ports).collect();
    assert_eq!(ports, [90]);
    world.add(serde_json::json!("not an object"), None);
    assert_eq!(world.len(), 1);
}

fn registry_ports(item: &world::Item<k8s_openapi::api::core::v1::Service>) -> Vec<i32> {
    registry::service_ports(&item.value).map(|port| port.port).collect()
}

fn mesh(text: &str) -> Settings {
    let parsed = mizzen_api::mesh::parse_mesh_config(text).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    Settings { mesh: Some(parsed.config), ..Settings::default() }
}

#[test]
fn telemetry_needs_a_provider_that_the_mesh_has() {
    let telemetry = "
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: lost }
spec:
  accessLogging:
  - providers:
    - name: envoy
    - name: elsewhere
  tracing:
  - randomSamplingPercentage: 10
";
    let found = |settings: Settings, more: &str| -> Vec<String> {
        let diagnostics = analyze(&world_with(settings, &format!("{telemetry}{more}")));
        diagnostics.iter().filter(|found| found.code.id == "IST0157").map(brief).collect()
    };
    assert_eq!(
        found(mesh(""), ""),
        ["IST0157 9 Telemetry default/lost", "IST0157 11 Telemetry default/lost"]
    );
    let configured = "
extensionProviders:
- { name: elsewhere, envoyFileAccessLog: { path: /dev/stderr } }
- { name: spans, opentelemetry: { service: spans.default.svc.cluster.local, port: 4317 } }
defaultProviders: { tracing: [spans] }
";
    assert_eq!(found(mesh(configured), ""), NONE);
    // What the mesh has is not known of files alone.
    assert_eq!(found(Settings::default(), ""), NONE);
    let wider = "---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: mesh, namespace: istio-system }
spec: { tracing: [{ providers: [{ name: spans }] }] }
";
    let configured = "
extensionProviders:
- { name: spans, opentelemetry: { service: spans.default.svc.cluster.local, port: 4317 } }
";
    assert_eq!(found(mesh(configured), wider), ["IST0157 9 Telemetry default/lost"]);
}

#[test]
fn the_meshs_defaults_say_who_sees_what_does_not_say() {
    let text = "
apiVersion: v1
kind: Service
metadata: { name: hidden, namespace: other }
spec: { ports: [{ port: 80, name: http }] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: route }
spec:
  hosts: [a.example.com]
  gateways: [mesh]
  http: [{ route: [{ destination: { host: hidden.other.svc.cluster.local } }] }]
";
    let codes = |settings: Settings| -> Vec<_> {
        analyze(&world_with(settings, text)).iter().map(|found| found.code.id).collect()
    };
    assert_eq!(codes(mesh("")), NONE);
    assert_eq!(codes(mesh("defaultServiceExportTo: ['.']")), ["IST0101"]);
}

#[test]
fn a_port_that_is_opened_on_the_loopback_only_is_nobodys() {
    let text = "
apiVersion: v1
kind: Service
metadata: { name: cart }
spec:
  selector: { app: cart }
  ports:
  - { port: 80, targetPort: web, name: http }
  - { port: 81, targetPort: 9090, name: http-admin }
---
apiVersion: v1
kind: Pod
metadata: { name: cart-1, labels: { app: cart } }
spec: { containers: [{ name: cart, image: cart, ports: [{ name: web, containerPort: 8080 }] }] }
";
    let mut world = world(text);
    assert_eq!(analyze(&world).iter().map(brief).collect::<Vec<_>>(), NONE, "nothing is known of sockets");
    let pod = ResourceName { kind: "Pod".into(), name: "cart-1".into(), namespace: "default".into() };
    let sockets = ["127.0.0.1:8080", "[::1]:8080", "127.0.0.1:9090", "0.0.0.0:9090"];
    let sockets = sockets.iter().filter_map(|socket| socket.parse().ok()).collect();
    world.add_listeners(pod, sockets);
    let found: Vec<_> = analyze(&world).iter().map(brief).collect();
    assert_eq!(found, ["IST0143 8 Service default/cart"]);
}

#[test]
fn one_analyzer_says_only_what_it_is_for() {
    let text = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: route }
spec:
  hosts: [nobody]
  gateways: [nowhere]
  http: [{ route: [{ destination: { host: nobody } }] }]
";
    let chosen = ANALYZERS.iter().filter(|analyzer| analyzer.name == "virtual-service-gateways");
    let found: Vec<_> = analyze_with(&world(text), chosen).iter().map(brief).collect();
    assert_eq!(found, ["IST0101 7 VirtualService default/route"]);
}

#[test]
fn every_code_is_reported_by_an_analyzer_that_says_so() {
    let names: Vec<_> = ANALYZERS.iter().map(|analyzer| analyzer.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    for code in code::ALL {
        assert!(ANALYZERS.iter().any(|analyzer| analyzer.codes.contains(code)), "{}", code.id);
    }
}

#[test]
fn services_of_other_clusters_are_known() {
    let text = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: route }
spec:
  hosts: [far]
  http: [{ route: [{ destination: { host: far } }] }]
";
    let mut own = world(text);
    assert_eq!(analyze(&own).len(), 1);
    own.know_services_of(&world(
        "
apiVersion: v1
kind: Service
metadata: { name: far }
spec: { ports: [{ port: 80 }] }
",
    ));
    assert_eq!(analyze(&own).iter().map(brief).collect::<Vec<_>>(), NONE);
}
