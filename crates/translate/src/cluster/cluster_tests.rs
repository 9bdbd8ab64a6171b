use envoy_types::pb::envoy::extensions::{
    transport_sockets::tls::v3::{UpstreamTlsContext, common_tls_context::ValidationContextType},
    upstreams::http::v3::HttpProtocolOptions,
};
use prost::Message;

use crate::{
    envoy::{self as e, cluster as pb, core, wkt},
    testing::*,
};

const PAYMENTS: &str = "outbound|80||payments.default.svc.cluster.local";

fn tls(socket: &core::TransportSocket) -> UpstreamTlsContext {
    match &socket.config_type {
        Some(core::transport_socket::ConfigType::TypedConfig(any)) => {
            UpstreamTlsContext::decode(any.value.as_slice()).unwrap()
        }
        None => panic!("no configuration"),
    }
}

fn identities(context: &UpstreamTlsContext) -> Vec<String> {
    let common = context.common_tls_context.as_ref().unwrap();
    let Some(ValidationContextType::CombinedValidationContext(combined)) = &common.validation_context_type
    else {
        panic!("not verified by the mesh's authorities: {common:?}")
    };
    assert_eq!(combined.validation_context_sds_secret_config.as_ref().unwrap().name, "ROOTCA");
    let names = &combined.default_validation_context.as_ref().unwrap().match_typed_subject_alt_names;
    names
        .iter()
        .map(|name| match &name.matcher.as_ref().unwrap().match_pattern {
            Some(e::matcher::string_matcher::MatchPattern::Exact(text)) => text.clone(),
            other => panic!("not exact: {other:?}"),
        })
        .collect()
}

#[test]
fn a_service_of_the_mesh_is_spoken_to_by_mutual_tls_where_its_endpoints_accept_it() {
    let snapshot = shop_with("").snapshot();
    let cluster = cluster(&snapshot, &sidecar("payments"), PAYMENTS);
    assert_eq!(cluster.cluster_discovery_type, Some(pb::cluster::ClusterDiscoveryType::Type(3)));
    assert_eq!(cluster.lb_policy, pb::cluster::LbPolicy::LeastRequest as i32);
    assert_eq!(cluster.connect_timeout.unwrap().seconds, 10);
    let names: Vec<_> = cluster.transport_socket_matches.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["tlsMode-istio", "tlsMode-disabled"]);
    let context = tls(cluster.transport_socket_matches[0].transport_socket.as_ref().unwrap());
    assert_eq!(context.sni, "outbound_.80_._.payments.default.svc.cluster.local");
    assert_eq!(identities(&context), ["spiffe://cluster.local/ns/default/sa/payments"]);
    let common = context.common_tls_context.unwrap();
    assert_eq!(common.alpn_protocols, ["istio-peer-exchange", "istio"]);
    assert_eq!(common.tls_certificate_sds_secret_configs[0].name, "default");
}

#[test]
fn stock_envoy_offers_what_leads_to_the_servers_http_chain() {
    let snapshot = shop_with("").snapshot();
    let cluster = cluster(&snapshot, &stock_sidecar("payments"), PAYMENTS);
    let context = tls(cluster.transport_socket_matches[0].transport_socket.as_ref().unwrap());
    let common = context.common_tls_context.unwrap();
    assert_eq!(common.alpn_protocols, ["istio-http/1.1", "istio"]);
    // Its certificate comes from its agent, not over the stream to the control plane.
    let source = common.tls_certificate_sds_secret_configs[0].sds_config.clone().unwrap();
    assert_eq!(source, crate::envoy::agent());
}

const RULE: &str = "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: payments}
spec:
  host: payments
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 7, connectTimeout: 2s}, http: {http1MaxPendingRequests: 3, h2UpgradePolicy: UPGRADE}}
    outlierDetection: {consecutive5xxErrors: 4, interval: 5s, baseEjectionTime: 1m, maxEjectionPercent: 50}
    loadBalancer: {simple: ROUND_ROBIN}
  subsets:
  - {name: v1, labels: {version: v1}}
  - name: v2
    labels: {version: v2}
    trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}, tls: {mode: DISABLE}}
";

#[test]
fn a_destination_rule_sets_limits_ejection_and_balancing_and_subsets_override_it() {
    let snapshot = shop_with(RULE).snapshot();
    let proxy = sidecar("payments");
    let base = cluster(&snapshot, &proxy, PAYMENTS);
    let thresholds = &base.circuit_breakers.as_ref().unwrap().thresholds[0];
    assert_eq!(thresholds.max_connections.as_ref().unwrap().value, 7);
    assert_eq!(thresholds.max_pending_requests.as_ref().unwrap().value, 3);
    assert_eq!(thresholds.max_requests.as_ref().unwrap().value, u32::MAX);
    assert_eq!(base.connect_timeout.unwrap().seconds, 2);
    assert_eq!(base.lb_policy, pb::cluster::LbPolicy::RoundRobin as i32);
    let ejection = base.outlier_detection.as_ref().unwrap();
    assert_eq!(ejection.consecutive_5xx.as_ref().unwrap().value, 4);
    assert_eq!(ejection.base_ejection_time.as_ref().unwrap().seconds, 60);
    assert_eq!(ejection.enforcing_success_rate.as_ref().unwrap().value, 0);
    let options =
        &base.typed_extension_protocol_options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
    assert!(
        format!("{:?}", HttpProtocolOptions::decode(options.value.as_slice()).unwrap())
            .contains("Http2ProtocolOptions")
    );

    let v1 = cluster(&snapshot, &proxy, "outbound|80|v1|payments.default.svc.cluster.local");
    assert_eq!(v1.lb_policy, pb::cluster::LbPolicy::RoundRobin as i32);
    let v2 = cluster(&snapshot, &proxy, "outbound|80|v2|payments.default.svc.cluster.local");
    assert_eq!(v2.lb_policy, pb::cluster::LbPolicy::RingHash as i32);
    assert!(v2.transport_socket_matches.is_empty() && v2.transport_socket.is_none(), "plain, as asked");
    assert!(v2.outlier_detection.is_some(), "a block the subset does not have is inherited");
}

#[test]
fn a_subsets_endpoints_are_those_with_its_labels() {
    let snapshot = shop_with(RULE).snapshot();
    let found =
        endpoints(&snapshot, &sidecar("payments"), "outbound|80|v2|payments.default.svc.cluster.local");
    let endpoints: Vec<_> = found.endpoints.iter().flat_map(|group| &group.lb_endpoints).collect();
    assert_eq!(endpoints.len(), 1);
    let metadata = &endpoints[0].metadata.as_ref().unwrap().filter_metadata;
    assert_eq!(metadata["envoy.transport_socket_match"].fields["tlsMode"], e::string_value("istio"));
    assert_eq!(
        metadata["istio"].fields["workload"],
        e::string_value("payments-2;default;payments;v2;Kubernetes")
    );
    assert!(format!("{:?}", endpoints[0].host_identifier).contains("10.244.0.6"));
}

#[test]
fn an_endpoint_that_refuses_mutual_tls_is_spoken_to_in_plain() {
    let disable = "---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: v2}
spec: {selector: {matchLabels: {version: v2}}, portLevelMtls: {8080: {mode: DISABLE}}}
";
    let snapshot = shop_with(disable).snapshot();
    let found = endpoints(&snapshot, &sidecar("payments"), PAYMENTS);
    let marked: Vec<bool> = found
        .endpoints
        .iter()
        .flat_map(|group| &group.lb_endpoints)
        .map(|endpoint| {
            endpoint.metadata.as_ref().unwrap().filter_metadata.contains_key("envoy.transport_socket_match")
        })
        .collect();
    assert_eq!(marked, [true, false]);
}

#[test]
fn a_host_outside_is_resolved_by_dns_and_not_spoken_to_by_mutual_tls() {
    let outside = "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext}
spec:
  hosts: [ext-svc.example.com]
  ports: [{number: 443, name: https, protocol: HTTPS}]
  location: MESH_EXTERNAL
  resolution: DNS
";
    let snapshot = shop_with(outside).snapshot();
    let cluster = cluster(&snapshot, &sidecar("payments"), "outbound|443||ext-svc.example.com");
    assert_eq!(
        cluster.cluster_discovery_type,
        Some(pb::cluster::ClusterDiscoveryType::Type(pb::cluster::DiscoveryType::StrictDns as i32))
    );
    let assignment = cluster.load_assignment.unwrap();
    assert!(format!("{assignment:?}").contains("ext-svc.example.com"));
    assert!(cluster.transport_socket.is_none() && cluster.transport_socket_matches.is_empty());
}

#[test]
fn every_sidecar_has_its_own_ports_and_places_for_what_is_unknown() {
    let snapshot = shop_with("").snapshot();
    let all = clusters(&snapshot, &sidecar("payments"));
    let find = |name: &str| all.iter().find(|cluster| cluster.name == name).unwrap();
    let own = find("inbound|8080||");
    assert_eq!(own.cluster_discovery_type, Some(pb::cluster::ClusterDiscoveryType::Type(4)));
    let source = own.upstream_bind_config.as_ref().unwrap().source_address.as_ref().unwrap();
    assert_eq!(source.address, "127.0.0.6");
    assert!(find("PassthroughCluster").upstream_bind_config.is_none());
    find("BlackHoleCluster");
    find("InboundPassthroughCluster");
}

#[test]
fn a_cluster_says_where_it_comes_from() {
    let snapshot = shop_with(RULE).snapshot();
    let cluster = cluster(&snapshot, &sidecar("payments"), PAYMENTS);
    let istio = &cluster.metadata.as_ref().unwrap().filter_metadata["istio"].fields;
    assert_eq!(
        istio["config"],
        e::string_value("/apis/networking.istio.io/v1/namespaces/default/destination-rule/payments")
    );
    let Some(wkt::value::Kind::ListValue(services)) = &istio["services"].kind else { panic!("no services") };
    assert_eq!(services.values.len(), 1);
}

#[test]
fn equal_meshes_give_equal_bytes() {
    let proxy = sidecar("payments");
    let bodies = || {
        let snapshot = shop_with(RULE).snapshot();
        let context = crate::Context::new(&snapshot, &proxy);
        crate::TYPES.map(|kind| crate::translate(&context, kind, None))
    };
    assert_eq!(bodies(), bodies());
}
