use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy, tcp_proxy::ClusterSpecifier,
};
use envoy_types::pb::envoy::r#type::v3::hash_policy::PolicySpecifier;

use crate::{
    envoy::{self as e, hcm, listener as pb},
    testing::*,
};

fn forwards_to(chain: &pb::FilterChain) -> Option<String> {
    let proxy: TcpProxy = filter(chain, "envoy.filters.network.tcp_proxy")?;
    match proxy.cluster_specifier? {
        ClusterSpecifier::Cluster(cluster) => Some(cluster),
        ClusterSpecifier::WeightedClusters(_) => None,
    }
}

fn criteria(chain: &pb::FilterChain) -> pb::FilterChainMatch {
    chain.filter_chain_match.clone().unwrap_or_default()
}

// === outbound ===

#[test]
fn http_services_share_a_port_and_everything_else_passes_through() {
    let snapshot = shop_with("").snapshot();
    let listener = listener(&snapshot, &sidecar("payments"), "0.0.0.0_80");
    assert!(!listener.bind_to_port.as_ref().unwrap().value);
    let chain = &listener.filter_chains[0];
    assert_eq!(criteria(chain).application_protocols, ["http/1.0", "http/1.1", "h2c"]);
    let manager = manager(chain).unwrap();
    let Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)) = &manager.route_specifier else {
        panic!()
    };
    assert_eq!(rds.route_config_name, "80");
    assert_eq!(forwards_to(listener.default_filter_chain.as_ref().unwrap()).unwrap(), "PassthroughCluster");
}

#[test]
fn the_filters_of_http_stand_in_their_order_and_stock_envoy_gets_its_own_only() {
    let snapshot = shop_with("").snapshot();
    let listener_of = |proxy| listener(&snapshot, &proxy, "0.0.0.0_80");
    let ours = manager(&listener_of(sidecar("payments")).filter_chains[0]).unwrap();
    assert_eq!(
        filter_names(&ours),
        [
            "istio.metadata_exchange",
            "envoy.filters.http.grpc_stats",
            "istio.alpn",
            "envoy.filters.http.fault",
            "envoy.filters.http.cors",
            "istio.stats",
            "envoy.filters.http.router"
        ]
    );
    let stock = manager(&listener_of(stock_sidecar("payments")).filter_chains[0]).unwrap();
    assert!(filter_names(&stock).iter().all(|name| name.starts_with("envoy.")));
}

#[test]
fn tcp_is_told_apart_by_address_and_unknown_protocols_by_their_bytes() {
    let snapshot = shop_with("").snapshot();
    let proxy = sidecar("payments");
    let tcp = listener(&snapshot, &proxy, "10.96.0.22_80");
    assert_eq!(forwards_to(&tcp.filter_chains[0]).unwrap(), "outbound|80||db.default.svc.cluster.local");
    let sniffed = listener(&snapshot, &proxy, "10.96.0.21_80");
    let Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)) =
        manager(&sniffed.filter_chains[0]).unwrap().route_specifier
    else {
        panic!()
    };
    assert_eq!(rds.route_config_name, "cart.default.svc.cluster.local:80");
    let rest = sniffed.default_filter_chain.as_ref().unwrap();
    assert_eq!(forwards_to(rest).unwrap(), "outbound|80||cart.default.svc.cluster.local");
}

const OUTSIDE: &str = "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext}
spec:
  hosts: [ext-svc.example.com]
  ports: [{number: 443, name: https, protocol: HTTPS}]
  location: MESH_EXTERNAL
  resolution: DNS
";

#[test]
fn a_host_outside_is_recognised_by_its_server_name() {
    let snapshot = shop_with(OUTSIDE).snapshot();
    let listener = listener(&snapshot, &sidecar("payments"), "0.0.0.0_443");
    let chain = &listener.filter_chains[0];
    assert_eq!(criteria(chain).server_names, ["ext-svc.example.com"]);
    assert_eq!(criteria(chain).transport_protocol, "tls");
    assert_eq!(forwards_to(chain).unwrap(), "outbound|443||ext-svc.example.com");
    assert_eq!(forwards_to(listener.default_filter_chain.as_ref().unwrap()).unwrap(), "PassthroughCluster");
}

#[test]
fn a_proxy_that_answers_dns_recognises_it_by_its_allocated_address() {
    let snapshot = shop_with(OUTSIDE).snapshot();
    let proxy = crate::Proxy { dns_capture: true, ..sidecar("payments") };
    let names: Vec<_> = listeners(&snapshot, &proxy).into_iter().map(|listener| listener.name).collect();
    assert!(names.iter().any(|name| name.starts_with("240.240.") && name.ends_with("_443")), "{names:?}");
    assert!(!names.contains(&"0.0.0.0_443".to_owned()));
}

#[test]
fn with_the_registry_only_unknown_connections_end() {
    let only = "---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec: {egress: [{hosts: ['*/*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
";
    let snapshot = shop_with(only).snapshot();
    let outbound = listener(&snapshot, &sidecar("payments"), "virtualOutbound");
    assert!(outbound.use_original_dst.as_ref().unwrap().value);
    let names: Vec<_> = outbound.filter_chains.iter().map(|chain| chain.name.as_str()).collect();
    assert_eq!(names, ["virtualOutbound-blackhole", "virtualOutbound-catchall-tcp"]);
    assert_eq!(forwards_to(&outbound.filter_chains[1]).unwrap(), "BlackHoleCluster");
}

#[test]
fn tls_rules_route_by_server_name_and_tcp_rules_by_weight() {
    let rules = OUTSIDE.to_owned()
        + "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ext}
spec:
  hosts: [ext-svc.example.com]
  tls: [{match: [{port: 443, sniHosts: [ext-svc.example.com]}], route: [{destination: {host: cart, port: {number: 80}}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db}
spec:
  hosts: [db]
  tcp: [{route: [{destination: {host: db}, weight: 90}, {destination: {host: cart, port: {number: 80}}, weight: 10}]}]
";
    let snapshot = shop_with(&rules).snapshot();
    let proxy = sidecar("payments");
    let tls = listener(&snapshot, &proxy, "0.0.0.0_443");
    assert_eq!(forwards_to(&tls.filter_chains[0]).unwrap(), "outbound|80||cart.default.svc.cluster.local");
    let tcp = listener(&snapshot, &proxy, "10.96.0.22_80");
    let proxy: TcpProxy = filter(&tcp.filter_chains[0], "envoy.filters.network.tcp_proxy").unwrap();
    let Some(ClusterSpecifier::WeightedClusters(weighted)) = proxy.cluster_specifier else { panic!() };
    let shares: Vec<_> = weighted.clusters.iter().map(|cluster| cluster.weight).collect();
    assert_eq!(shares, [90, 10]);
}

#[test]
fn connections_are_hashed_by_address_and_by_nothing_that_only_requests_have() {
    let policies = |hash: &str| {
        let rule = format!(
            "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: db}}
spec: {{host: db, trafficPolicy: {{loadBalancer: {{consistentHash: {{{hash}}}}}}}}}
"
        );
        let listener = listener(&shop_with(&rule).snapshot(), &sidecar("payments"), "10.96.0.22_80");
        filter::<TcpProxy>(&listener.filter_chains[0], "envoy.filters.network.tcp_proxy").unwrap().hash_policy
    };
    let by_address = policies("useSourceIp: true");
    assert!(matches!(by_address[0].policy_specifier, Some(PolicySpecifier::SourceIp(_))), "{by_address:?}");
    // As in Istio: the cluster's ring stays, and each connection takes a place of it at random.
    for hash in
        ["httpHeaderName: x-user", "httpCookie: {name: user, ttl: 0s}", "httpQueryParameterName: user"]
    {
        assert!(policies(hash).is_empty(), "{hash}");
    }
}

// === inbound ===

fn peer(mode: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default}}
spec: {{mtls: {{mode: {mode}}}}}
"
    )
}

/// What the chains of the workload's port recognise, and whether each ends TLS.
fn chains_of_port(manifests: &str, app: &str) -> Vec<(String, usize, bool, bool)> {
    let snapshot = shop_with(manifests).snapshot();
    let inbound = listener(&snapshot, &sidecar(app), "virtualInbound");
    let chains = inbound.filter_chains.iter();
    let of_port =
        chains.filter(|chain| criteria(chain).destination_port.is_some_and(|port| port.value == 8080));
    of_port
        .map(|chain| {
            let how = criteria(chain);
            let tls = chain.transport_socket.is_some();
            (how.transport_protocol, how.application_protocols.len(), tls, manager(chain).is_some())
        })
        .collect()
}

#[test]
fn permissive_takes_mutual_tls_plain_and_tls_of_others() {
    let chains = chains_of_port("", "payments");
    assert_eq!(
        chains,
        [
            ("tls".to_owned(), 5, true, true),
            ("raw_buffer".to_owned(), 0, false, true),
            ("tls".to_owned(), 0, false, false)
        ]
    );
}

#[test]
fn strict_takes_mutual_tls_only() {
    assert_eq!(chains_of_port(&peer("STRICT"), "payments"), [("tls".to_owned(), 0, true, true)]);
    let snapshot = shop_with(&peer("STRICT")).snapshot();
    let inbound = listener(&snapshot, &sidecar("payments"), "virtualInbound");
    let open = inbound
        .filter_chains
        .iter()
        .filter(|chain| chain.transport_socket.is_none() && chain.name != "virtualInbound-blackhole");
    assert_eq!(open.count(), 0, "ports without a service are strict too");
}

#[test]
fn disabled_ends_no_tls() {
    assert!(chains_of_port(&peer("DISABLE"), "payments").iter().all(|(_, _, tls, _)| !tls));
}

#[test]
fn an_unknown_protocol_is_told_by_alpn_or_by_its_bytes() {
    let chains = chains_of_port("", "cart");
    assert_eq!(chains.len(), 5);
    assert_eq!(chains[0], ("tls".to_owned(), 3, true, true));
    assert_eq!(chains[1], ("raw_buffer".to_owned(), 3, false, true));
    assert_eq!(chains[2], ("tls".to_owned(), 2, true, false));
}

#[test]
fn inbound_routes_are_inline_and_lead_to_the_application() {
    let snapshot = shop_with("").snapshot();
    let inbound = listener(&snapshot, &sidecar("payments"), "virtualInbound");
    let manager = inbound.filter_chains.iter().find_map(manager).unwrap();
    let Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(routes)) = manager.route_specifier
    else {
        panic!()
    };
    assert_eq!(routes.name, "inbound|8080||");
    assert_eq!(routes.virtual_hosts[0].name, "inbound|http|80");
    let route = &routes.virtual_hosts[0].routes[0];
    assert_eq!(route.name, "default");
    assert_eq!(route.decorator.as_ref().unwrap().operation, "payments.default.svc.cluster.local:80/*");
    assert_eq!(inbound.listener_filters.len(), 3);
}

#[test]
fn no_two_chains_of_a_listener_match_alike() {
    let snapshot = shop_with(OUTSIDE).snapshot();
    for proxy in [sidecar("payments"), sidecar("cart"), stock_sidecar("db")] {
        for listener in listeners(&snapshot, &proxy) {
            let mut seen = Vec::new();
            for chain in &listener.filter_chains {
                let how = criteria(chain);
                assert!(!seen.contains(&how), "{} twice in {}: {how:?}", chain.name, listener.name);
                seen.push(how);
            }
        }
    }
}

#[test]
fn access_logs_are_istios_line_where_telemetry_asks_for_them() {
    let telemetry = "---
apiVersion: telemetry.istio.io/v1alpha1
kind: Telemetry
metadata: {name: access-logs, namespace: istio-system}
spec: {accessLogging: [{providers: [{name: envoy}]}]}
";
    let quiet = shop_with("").snapshot();
    assert!(listener(&quiet, &sidecar("payments"), "virtualInbound").access_log.is_empty());
    let snapshot = shop_with(telemetry).snapshot();
    let inbound = listener(&snapshot, &sidecar("payments"), "virtualInbound");
    let manager = inbound.filter_chains.iter().find_map(manager).unwrap();
    assert_eq!(manager.access_log[0].name, "envoy.access_loggers.file");
    let Some(e::accesslog::access_log::ConfigType::TypedConfig(any)) = &manager.access_log[0].config_type
    else {
        panic!()
    };
    let text = String::from_utf8_lossy(&any.value).into_owned();
    assert!(text.contains("/dev/stdout") && text.contains("[%START_TIME%] \"%REQ(:METHOD)%"), "{text}");
    assert!(text.ends_with("%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"), "{text}");
    assert!(inbound.access_log[0].filter.is_some(), "of the listener itself only what found no chain");
}

// === gateways ===

const GATEWAY: &str = "---
apiVersion: networking.istio.io/v1beta1
kind: Gateway
metadata: {name: my-gateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: app-tls}, hosts: [app.example.com]}
  - {port: {number: 443, name: mutual, protocol: HTTPS}, tls: {mode: MUTUAL, credentialName: bank-tls}, hosts: [bank.example.com]}
  - {port: {number: 443, name: opaque, protocol: TLS}, tls: {mode: PASSTHROUGH}, hosts: [raw.example.com]}
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: raw}
spec:
  hosts: [raw.example.com]
  gateways: [istio-system/my-gateway]
  tls: [{match: [{sniHosts: [raw.example.com]}], route: [{destination: {host: db, port: {number: 80}}}]}]
";

#[test]
fn a_gateways_tls_servers_share_a_port_by_server_name() {
    let snapshot = shop_with(GATEWAY).snapshot();
    let listener = listener(&snapshot, &gateway(), "0.0.0.0_8443");
    assert!(listener.bind_to_port.is_none(), "it is bound");
    let names: Vec<_> =
        listener.filter_chains.iter().map(|chain| criteria(chain).server_names.join(",")).collect();
    assert_eq!(names, ["app.example.com", "bank.example.com", "raw.example.com"]);
    let text = |chain: &pb::FilterChain| format!("{:?}", chain.transport_socket);
    let decoded = |chain: &pb::FilterChain| {
        use prost::Message;
        match chain.transport_socket.as_ref().and_then(|socket| socket.config_type.as_ref()) {
            Some(e::core::transport_socket::ConfigType::TypedConfig(any)) => {
                e::tls::DownstreamTlsContext::decode(any.value.as_slice()).unwrap()
            }
            None => panic!("{}", text(chain)),
        }
    };
    let simple = decoded(&listener.filter_chains[0]);
    let common = simple.common_tls_context.unwrap();
    assert_eq!(common.tls_certificate_sds_secret_configs[0].name, "kubernetes://app-tls");
    assert_eq!(common.alpn_protocols, ["h2", "http/1.1"]);
    assert!(!simple.require_client_certificate.unwrap().value);
    let mutual = decoded(&listener.filter_chains[1]);
    assert!(mutual.require_client_certificate.unwrap().value);
    assert!(format!("{:?}", mutual.common_tls_context).contains("kubernetes://bank-tls-cacert"));
    assert!(listener.filter_chains[2].transport_socket.is_none());
    assert_eq!(forwards_to(&listener.filter_chains[2]).unwrap(), "outbound|80||db.default.svc.cluster.local");
}

#[test]
fn a_gateways_plain_servers_share_routes() {
    let snapshot = shop_with(GATEWAY).snapshot();
    let listener = listener(&snapshot, &gateway(), "0.0.0.0_8080");
    let manager = manager(&listener.filter_chains[0]).unwrap();
    assert!(manager.use_remote_address.unwrap().value);
    let Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)) = manager.route_specifier else {
        panic!()
    };
    assert_eq!(rds.route_config_name, "http.8080");
}
