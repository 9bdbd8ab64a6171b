use super::*;

/// What people write first: ingress, canary, a service outside, mutual TLS, access logs.
const EVERYDAY: &str = "
apiVersion: networking.istio.io/v1beta1
kind: Gateway
metadata: { name: edge, namespace: istio-system }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 443, name: https, protocol: HTTPS }
    tls: { mode: SIMPLE, credentialName: shop-tls }
    hosts: [shop.example.com]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: { name: shop }
spec:
  hosts: [shop.example.com]
  gateways: [istio-system/edge]
  http:
  - match: [{ uri: { prefix: / } }]
    retries: { attempts: 3, perTryTimeout: 2s, retryOn: '5xx,connect-failure' }
    timeout: 10s
    route:
    - { destination: { host: shop, subset: v1, port: { number: 80 } }, weight: 99 }
    - { destination: { host: shop, subset: v2, port: { number: 80 } }, weight: 1 }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: shop }
spec:
  host: shop
  trafficPolicy:
    connectionPool: { tcp: { maxConnections: 100 }, http: { http1MaxPendingRequests: 10 } }
    outlierDetection: { consecutive5xxErrors: 5, interval: 5s, baseEjectionTime: 30s }
  subsets:
  - { name: v1, labels: { version: v1 } }
  - { name: v2, labels: { version: v2 } }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: payments }
spec:
  hosts: [api.payments.example.com]
  ports: [{ number: 443, name: https, protocol: HTTPS }]
  location: MESH_EXTERNAL
  resolution: DNS
---
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: { name: default }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: nothing }
spec: {}
---
apiVersion: telemetry.istio.io/v1alpha1
kind: Telemetry
metadata: { name: logs, namespace: istio-system }
spec: { accessLogging: [{ providers: [{ name: envoy }] }] }
---
apiVersion: v1
kind: Service
metadata: { name: shop }
spec: { anything: goes here }
";

#[test]
fn everyday_manifests_are_valid() {
    let manifests = read("everyday.yaml", EVERYDAY).unwrap_or_default();
    assert_eq!(manifests.len(), 8);
    for manifest in manifests {
        assert_eq!(check(&manifest.value), [], "{}", manifest.value);
    }
}

#[test]
fn what_is_wrong_has_a_place_in_the_file() {
    let text = "apiVersion: networking.istio.io/v1\nkind: Gateway\nspec:\n  servers: []\n";
    let manifests = read("gateway.yaml", text).unwrap_or_default();
    let violations = check(&manifests[0].value);
    let places: Vec<_> = violations.iter().map(|v| manifests[0].origin.place(&v.path).line).collect();
    assert_eq!(places, [4, 3]);
    let error = read("broken.yaml", "a: [").err().map(|error| error.line);
    assert!(error.is_some());
}
