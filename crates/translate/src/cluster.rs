//! Clusters: a service's port, and each of its subsets, as something connections are made to.

use mizzen_api::networking::{
    ClientTlsMode, ConnectionPool, ConsistentHash, H2UpgradePolicy, OutlierDetection, SimpleLoadBalancer,
};
use mizzen_model::{DestinationRule, Location, Port, Protocol, Resolution, Service};
use std::time::Duration;

use crate::{
    context::Context,
    endpoint,
    envoy::{self as e, cluster as pb, core, wkt},
    metadata, name,
    tls::{self, ClientSecrets},
    traffic_policy::ClusterPolicy,
};

/// Protocol options of HTTP connections to a cluster.
const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// The cluster speaks HTTP/2 whatever the client speaks.
pub(crate) const LABEL_TLS_MODE: &str = "tlsMode";

/// The clusters of a service as the proxy sees it: one a port, and one a port and subset.
pub(crate) fn of_service(context: &Context<'_>, service: &Service) -> Vec<pb::Cluster> {
    let rule = context.scope.destination_rule(service).map(|rule| &**rule);
    let ports = service.ports.iter().filter(|port| context.scope.sees_port(service, port.number));
    ports
        .flat_map(|port| {
            let subsets = rule.iter().flat_map(|rule| &rule.subsets).map(|subset| Some(subset.name.as_str()));
            std::iter::once(None)
                .chain(subsets)
                .map(move |subset| outbound(context, service, port, subset, rule))
        })
        .collect()
}

/// The names of those clusters whose endpoints are asked for separately.
pub(crate) fn of_service_names(context: &Context<'_>, service: &Service) -> Vec<String> {
    let rule = context.scope.destination_rule(service).map(|rule| &**rule);
    let ports = service.ports.iter().filter(|port| context.scope.sees_port(service, port.number));
    let mut names = Vec::new();
    for port in ports {
        let subsets = rule.iter().flat_map(|rule| &rule.subsets).map(|subset| Some(subset.name.as_str()));
        for subset in std::iter::once(None).chain(subsets) {
            let policy = ClusterPolicy::of(rule, port.number, subset);
            if discovery(context, service, &policy) == pb::cluster::DiscoveryType::Eds {
                names.push(name::outbound_cluster(port.number, subset.unwrap_or_default(), &service.host));
            }
        }
    }
    names
}

/// One cluster by its parts; nothing where the proxy does not see such a one.
pub(crate) fn of_parts(
    context: &Context<'_>,
    number: u16,
    subset: &str,
    host: &mizzen_model::Host,
) -> Option<pb::Cluster> {
    let service = context.scope.service(host)?;
    let port = service.port(number).filter(|_| context.scope.sees_port(service, number))?;
    let rule = context.scope.destination_rule(service).map(|rule| &**rule);
    if subset.is_empty() {
        return Some(outbound(context, service, port, None, rule));
    }
    rule?.subset(subset)?;
    Some(outbound(context, service, port, Some(subset), rule))
}

fn outbound(
    context: &Context<'_>,
    service: &Service,
    port: &Port,
    subset: Option<&str>,
    rule: Option<&DestinationRule>,
) -> pb::Cluster {
    let policy = ClusterPolicy::of(rule, port.number, subset);
    let name = name::outbound_cluster(port.number, subset.unwrap_or_default(), &service.host);
    let discovery = discovery(context, service, &policy);
    let mesh = context.snapshot().mesh();
    let mut cluster = pb::Cluster {
        name: name.clone(),
        connect_timeout: Some(e::duration(mesh.connect_timeout)),
        cluster_discovery_type: Some(pb::cluster::ClusterDiscoveryType::Type(discovery as i32)),
        metadata: Some(metadata::of_outbound_cluster(service, port, subset, rule)),
        common_lb_config: Some(pb::cluster::CommonLbConfig::default()),
        ..Default::default()
    };
    match discovery {
        pb::cluster::DiscoveryType::Eds => {
            cluster.eds_cluster_config =
                Some(pb::cluster::EdsClusterConfig { eds_config: Some(e::ads()), service_name: name });
        }
        pb::cluster::DiscoveryType::StrictDns | pb::cluster::DiscoveryType::LogicalDns => {
            resolve(&mut cluster, mesh.dns_refresh_rate);
            cluster.load_assignment =
                Some(endpoint::assignment(context, service, port.number, subset, rule, name));
        }
        _ => cluster.lb_policy = pb::cluster::LbPolicy::ClusterProvided as i32,
    }
    if discovery != pb::cluster::DiscoveryType::OriginalDst {
        balance(&mut cluster, &policy);
    }
    limit(&mut cluster, &policy);
    if let Some(detection) = &policy.outlier_detection {
        eject(&mut cluster, detection);
    }
    let http2 = speak(&mut cluster, context, port.protocol, policy.connection_pool.as_ref());
    secure(&mut cluster, context, (service, port, subset), &policy, (discovery, http2), rule);
    if let Some(proxy_protocol) = &policy.proxy_protocol {
        announce(&mut cluster, proxy_protocol);
    }
    cluster
}

fn discovery(context: &Context<'_>, service: &Service, policy: &ClusterPolicy) -> pb::cluster::DiscoveryType {
    let passthrough = policy.load_balancer.as_ref().and_then(|balancer| balancer.simple)
        == Some(SimpleLoadBalancer::Passthrough);
    match service.resolution {
        // A gateway's clients do not dial endpoints, so it has to choose among them itself.
        Resolution::Passthrough if context.proxy.is_router() => pb::cluster::DiscoveryType::Eds,
        Resolution::Passthrough => pb::cluster::DiscoveryType::OriginalDst,
        _ if passthrough && !context.proxy.is_router() => pb::cluster::DiscoveryType::OriginalDst,
        Resolution::Static => pb::cluster::DiscoveryType::Eds,
        Resolution::Dns => pb::cluster::DiscoveryType::StrictDns,
        Resolution::DnsRoundRobin => pb::cluster::DiscoveryType::LogicalDns,
    }
}

/// Asks DNS as often as its answers say; how names are resolved is set on the cluster itself, which both
/// Envoy and older proxies read.
#[allow(deprecated)]
fn resolve(cluster: &mut pb::Cluster, failure_refresh: Duration) {
    cluster.dns_lookup_family = pb::cluster::DnsLookupFamily::V4Only as i32;
    cluster.respect_dns_ttl = true;
    cluster.dns_refresh_rate = Some(e::duration(failure_refresh));
}

fn balance(cluster: &mut pb::Cluster, policy: &ClusterPolicy) {
    let balancer = policy.load_balancer.clone().unwrap_or_default();
    if let Some(hash) = &balancer.consistent_hash {
        consistent(cluster, hash);
        return;
    }
    let slow_start = balancer
        .warmup
        .as_ref()
        .map(|warmup| (warmup.duration.as_std(), warmup.minimum_percent, warmup.aggression))
        .or_else(|| balancer.warmup_duration_secs.map(|window| (window.as_std(), None, None)))
        .map(|(window, minimum, aggression)| pb::cluster::SlowStartConfig {
            slow_start_window: Some(e::duration(window)),
            aggression: Some(core::RuntimeDouble {
                default_value: aggression.unwrap_or(1.0),
                runtime_key: String::new(),
            }),
            min_weight_percent: Some(crate::envoy::types::Percent { value: minimum.unwrap_or(10.0) }),
        });
    let policy = match balancer.simple.unwrap_or_default() {
        SimpleLoadBalancer::RoundRobin => {
            cluster.lb_config = slow_start.map(|slow_start| {
                pb::cluster::LbConfig::RoundRobinLbConfig(pb::cluster::RoundRobinLbConfig {
                    slow_start_config: Some(slow_start),
                })
            });
            pb::cluster::LbPolicy::RoundRobin
        }
        SimpleLoadBalancer::Random => pb::cluster::LbPolicy::Random,
        SimpleLoadBalancer::Unspecified
        | SimpleLoadBalancer::LeastConn
        | SimpleLoadBalancer::LeastRequest
        | SimpleLoadBalancer::Passthrough => {
            cluster.lb_config = slow_start.map(|slow_start| {
                pb::cluster::LbConfig::LeastRequestLbConfig(pb::cluster::LeastRequestLbConfig {
                    slow_start_config: Some(slow_start),
                    ..Default::default()
                })
            });
            pb::cluster::LbPolicy::LeastRequest
        }
    };
    cluster.lb_policy = policy as i32;
    if let Some(setting) = &balancer.locality_lb_setting
        && !setting.distribute.is_empty()
    {
        let config = cluster.common_lb_config.get_or_insert_default();
        config.locality_config_specifier =
            Some(pb::cluster::common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig(
                pb::cluster::common_lb_config::LocalityWeightedLbConfig {},
            ));
    }
}

fn consistent(cluster: &mut pb::Cluster, hash: &ConsistentHash) {
    if let Some(maglev) = &hash.maglev {
        cluster.lb_policy = pb::cluster::LbPolicy::Maglev as i32;
        cluster.lb_config = maglev.table_size.map(|size| {
            pb::cluster::LbConfig::MaglevLbConfig(pb::cluster::MaglevLbConfig {
                table_size: Some(wkt::UInt64Value { value: size }),
            })
        });
        return;
    }
    let minimum = hash.ring_hash.as_ref().and_then(|ring| ring.minimum_ring_size).or(hash.minimum_ring_size);
    cluster.lb_policy = pb::cluster::LbPolicy::RingHash as i32;
    cluster.lb_config = Some(pb::cluster::LbConfig::RingHashLbConfig(pb::cluster::RingHashLbConfig {
        minimum_ring_size: Some(wkt::UInt64Value { value: minimum.unwrap_or(1024) }),
        ..Default::default()
    }));
}

/// Limits of connections and requests. Without a rule there are none: the mesh does not guess.
fn limit(cluster: &mut pb::Cluster, policy: &ClusterPolicy) {
    let pool = policy.connection_pool.clone().unwrap_or_default();
    let (tcp, http) = (pool.tcp.unwrap_or_default(), pool.http.unwrap_or_default());
    let or_unlimited =
        |limit: Option<u32>| Some(e::uint32(limit.filter(|limit| *limit > 0).unwrap_or(u32::MAX)));
    let retry_budget =
        policy.retry_budget.as_ref().map(|budget| pb::circuit_breakers::thresholds::RetryBudget {
            budget_percent: Some(crate::envoy::types::Percent { value: budget.percent.unwrap_or(20.0) }),
            min_retry_concurrency: Some(e::uint32(budget.min_retry_concurrency.unwrap_or(3))),
            budget_interval: budget.budget_interval.map(|interval| e::duration(interval.as_std())),
        });
    cluster.circuit_breakers = Some(pb::CircuitBreakers {
        thresholds: vec![pb::circuit_breakers::Thresholds {
            max_connections: or_unlimited(tcp.max_connections),
            max_pending_requests: or_unlimited(http.http1_max_pending_requests),
            max_requests: or_unlimited(http.http2_max_requests),
            max_retries: or_unlimited(http.max_retries),
            retry_budget,
            track_remaining: true,
            ..Default::default()
        }],
        ..Default::default()
    });
    if let Some(timeout) = tcp.connect_timeout {
        cluster.connect_timeout = Some(e::duration(timeout.as_std()));
    }
    if let Some(keepalive) = tcp.tcp_keepalive {
        let seconds = |length: mizzen_api::Duration| {
            e::uint32(u32::try_from(length.as_std().as_secs()).unwrap_or(u32::MAX))
        };
        cluster.upstream_connection_options = Some(pb::UpstreamConnectionOptions {
            tcp_keepalive: Some(core::TcpKeepalive {
                keepalive_probes: keepalive.probes.map(e::uint32),
                keepalive_time: keepalive.time.map(seconds),
                keepalive_interval: keepalive.interval.map(seconds),
            }),
            ..Default::default()
        });
    }
}

/// Ejects endpoints that fail. Success rates are not looked at; Istio has no setting for them.
fn eject(cluster: &mut pb::Cluster, detection: &OutlierDetection) {
    let length = |length: Option<mizzen_api::Duration>| length.map(|length| e::duration(length.as_std()));
    let legacy = detection.consecutive_errors;
    let gateway = detection.consecutive_gateway_errors.or(legacy);
    let local = detection.consecutive_local_origin_failures;
    let enforce = |limit: Option<u32>| limit.map(|limit| e::uint32(if limit > 0 { 100 } else { 0 }));
    cluster.outlier_detection = Some(pb::OutlierDetection {
        consecutive_5xx: detection.consecutive_5xx_errors.map(e::uint32),
        enforcing_consecutive_5xx: enforce(detection.consecutive_5xx_errors),
        consecutive_gateway_failure: gateway.map(e::uint32),
        enforcing_consecutive_gateway_failure: enforce(gateway),
        interval: length(detection.interval),
        base_ejection_time: length(detection.base_ejection_time),
        max_ejection_percent: detection.max_ejection_percent.map(e::uint32),
        enforcing_success_rate: Some(e::uint32(0)),
        split_external_local_origin_errors: detection.split_external_local_origin_errors,
        consecutive_local_origin_failure: local.map(e::uint32),
        enforcing_consecutive_local_origin_failure: local.map(|_| e::uint32(100)),
        enforcing_local_origin_success_rate: detection
            .split_external_local_origin_errors
            .then(|| e::uint32(0)),
        ..Default::default()
    });
    // Below this share of healthy endpoints all are used again. Zero, unless asked for: ejected stays ejected.
    let minimum = f64::from(detection.min_health_percent.unwrap_or_default());
    cluster.common_lb_config.get_or_insert_default().healthy_panic_threshold =
        Some(crate::envoy::types::Percent { value: minimum });
    if !detection.outlier_detection_http_error_codes.is_empty() {
        tracing::debug!(cluster = %cluster.name, "outlierDetectionHttpErrorCodes is not honoured by this data plane");
    }
}

/// Which HTTP is spoken to the cluster. Answers whether it is always HTTP/2.
fn speak(
    cluster: &mut pb::Cluster,
    context: &Context<'_>,
    protocol: Protocol,
    pool: Option<&ConnectionPool>,
) -> bool {
    use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
        HttpProtocolOptions, http_protocol_options as options,
    };
    let http = pool.and_then(|pool| pool.http.as_ref());
    let upgrade = match http.and_then(|http| http.h2_upgrade_policy).unwrap_or_default() {
        H2UpgradePolicy::Default => context.snapshot().mesh().h2_upgrade,
        H2UpgradePolicy::Upgrade => true,
        H2UpgradePolicy::DoNotUpgrade => false,
    };
    let http2 = protocol.is_http2() || (upgrade && protocol == Protocol::Http);
    let common = core::HttpProtocolOptions {
        idle_timeout: http.and_then(|http| http.idle_timeout).map(|timeout| e::duration(timeout.as_std())),
        max_requests_per_connection: http
            .and_then(|http| http.max_requests_per_connection)
            .filter(|limit| *limit > 0)
            .map(e::uint32),
        ..Default::default()
    };
    let http2_options = core::Http2ProtocolOptions {
        max_concurrent_streams: http
            .and_then(|http| http.max_concurrent_streams)
            .filter(|limit| *limit > 0)
            .map(e::uint32),
        connection_keepalive: http.and_then(|http| http.http2_keep_alive.as_ref()).map(|keepalive| {
            core::KeepaliveSettings {
                interval: keepalive.interval.map(|interval| e::duration(interval.as_std())),
                timeout: keepalive.timeout.map(|timeout| e::duration(timeout.as_std())),
                ..Default::default()
            }
        }),
        ..Default::default()
    };
    let as_client = protocol.is_sniffed() || http.is_some_and(|http| http.use_client_protocol);
    let spoken = if as_client {
        options::UpstreamProtocolOptions::UseDownstreamProtocolConfig(options::UseDownstreamHttpConfig {
            http_protocol_options: Some(core::Http1ProtocolOptions::default()),
            http2_protocol_options: Some(http2_options),
            ..Default::default()
        })
    } else if http2 {
        explicit(options::explicit_http_config::ProtocolConfig::Http2ProtocolOptions(http2_options))
    } else if protocol.is_http() && common != core::HttpProtocolOptions::default() {
        explicit(options::explicit_http_config::ProtocolConfig::HttpProtocolOptions(
            core::Http1ProtocolOptions::default(),
        ))
    } else {
        return false;
    };
    let options = HttpProtocolOptions {
        common_http_protocol_options: Some(common),
        upstream_protocol_options: Some(spoken),
        ..Default::default()
    };
    cluster.typed_extension_protocol_options.insert(HTTP_PROTOCOL_OPTIONS.to_owned(), e::any(&options));
    http2 && !as_client
}

fn explicit(
    config: envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig,
) -> envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::UpstreamProtocolOptions {
    use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options as options;
    options::UpstreamProtocolOptions::ExplicitHttpConfig(options::ExplicitHttpConfig {
        protocol_config: Some(config),
    })
}

/// How the cluster's endpoints are spoken to: as the rule says, or mutual TLS with those that accept it.
fn secure(
    cluster: &mut pb::Cluster,
    context: &Context<'_>,
    (service, port, subset): (&Service, &Port, Option<&str>),
    policy: &ClusterPolicy,
    (discovery, http2): (pb::cluster::DiscoveryType, bool),
    rule: Option<&DestinationRule>,
) {
    let mutual = || {
        let sni = name::mesh_sni(port.number, subset.unwrap_or_default(), &service.host);
        let identities = tls::service_identities(context.snapshot(), service);
        let alpn = tls::mesh_alpn(context.proxy.istio_filters, port.protocol.is_http(), http2);
        tls::mesh_client(sni, identities, alpn)
    };
    if let Some(settings) = &policy.tls {
        if settings.mode.unwrap_or_default() == ClientTlsMode::IstioMutual {
            let mut client = mutual();
            if let Some(sni) = settings.sni.as_ref().filter(|sni| !sni.is_empty()) {
                client.sni.clone_from(sni);
            }
            cluster.transport_socket = Some(e::transport_socket(tls::TLS_SOCKET, &client));
            return;
        }
        let by_name = context.proxy.is_router() || rule.is_some_and(|rule| rule.selector.is_some());
        let client = tls::rule_client(settings, &service.host, &ClientSecrets { by_name }, http2);
        cluster.transport_socket = client.map(|client| e::transport_socket(tls::TLS_SOCKET, &client));
        return;
    }
    if !context.snapshot().mesh().auto_mtls || service.location == Location::External {
        return;
    }
    if discovery == pb::cluster::DiscoveryType::OriginalDst {
        // There are no endpoints to match, so all have to accept it.
        if context.snapshot().is_meshed(&service.key()) {
            cluster.transport_socket = Some(e::transport_socket(tls::TLS_SOCKET, &mutual()));
        }
        return;
    }
    cluster.transport_socket_matches = vec![
        pb::cluster::TransportSocketMatch {
            name: "tlsMode-istio".to_owned(),
            r#match: Some(e::structure([(LABEL_TLS_MODE, e::string_value("istio"))])),
            transport_socket: Some(e::transport_socket(tls::TLS_SOCKET, &mutual())),
        },
        pb::cluster::TransportSocketMatch {
            name: "tlsMode-disabled".to_owned(),
            r#match: Some(wkt::Struct::default()),
            transport_socket: Some(tls::raw_buffer()),
        },
    ];
}

/// Sends a PROXY header before anything else.
fn announce(cluster: &mut pb::Cluster, settings: &mizzen_api::networking::ProxyProtocol) {
    use envoy_types::pb::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
    use mizzen_api::networking::ProxyProtocolVersion;
    let version = match settings.version.unwrap_or_default() {
        ProxyProtocolVersion::V1 => core::proxy_protocol_config::Version::V1,
        ProxyProtocolVersion::V2 => core::proxy_protocol_config::Version::V2,
    };
    let wrap = |inner: Option<core::TransportSocket>| {
        let config = ProxyProtocolUpstreamTransport {
            config: Some(core::ProxyProtocolConfig { version: version as i32, ..Default::default() }),
            transport_socket: Some(inner.unwrap_or_else(tls::raw_buffer)),
            ..Default::default()
        };
        Some(e::transport_socket("envoy.transport_sockets.upstream_proxy_protocol", &config))
    };
    if cluster.transport_socket_matches.is_empty() {
        cluster.transport_socket = wrap(cluster.transport_socket.take());
    }
    for matching in &mut cluster.transport_socket_matches {
        matching.transport_socket = wrap(matching.transport_socket.take());
    }
}

// === clusters every proxy has ===

/// The clusters that no service stands behind, and the workload's own ports.
pub(crate) fn fixed(context: &Context<'_>) -> Vec<pb::Cluster> {
    let mut clusters = vec![black_hole(context)];
    if context.proxy.is_router() {
        return clusters;
    }
    clusters.push(passthrough(context, name::PASSTHROUGH_CLUSTER, None));
    let has_ipv6 = context.proxy.addresses.iter().any(std::net::IpAddr::is_ipv6);
    let has_ipv4 = context.proxy.addresses.iter().any(std::net::IpAddr::is_ipv4);
    if has_ipv4 {
        clusters.push(passthrough(context, name::INBOUND_PASSTHROUGH_CLUSTER, Some("127.0.0.6")));
    }
    if has_ipv6 {
        clusters.push(passthrough(context, name::INBOUND_PASSTHROUGH_CLUSTER_IPV6, Some("::6")));
    }
    clusters.extend(crate::inbound::ports(context).iter().map(|port| inbound(context, port)));
    clusters
}

fn black_hole(context: &Context<'_>) -> pb::Cluster {
    pb::Cluster {
        name: name::BLACK_HOLE_CLUSTER.to_owned(),
        cluster_discovery_type: Some(pb::cluster::ClusterDiscoveryType::Type(
            pb::cluster::DiscoveryType::Static as i32,
        )),
        connect_timeout: Some(e::duration(context.snapshot().mesh().connect_timeout)),
        ..Default::default()
    }
}

fn passthrough(context: &Context<'_>, name: &str, source: Option<&str>) -> pb::Cluster {
    let mut cluster = pb::Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(pb::cluster::ClusterDiscoveryType::Type(
            pb::cluster::DiscoveryType::OriginalDst as i32,
        )),
        connect_timeout: Some(e::duration(context.snapshot().mesh().connect_timeout)),
        lb_policy: pb::cluster::LbPolicy::ClusterProvided as i32,
        upstream_bind_config: source.map(bind),
        ..Default::default()
    };
    limit(&mut cluster, &ClusterPolicy::default());
    speak(&mut cluster, context, Protocol::Unsupported, None);
    cluster
}

/// Connections to the application come from an address that interception knows to leave alone.
fn bind(source: &str) -> core::BindConfig {
    core::BindConfig { source_address: Some(e::bare_socket_address(source, 0)), ..Default::default() }
}

fn inbound(context: &Context<'_>, port: &crate::inbound::InboundPort) -> pb::Cluster {
    let mut cluster = pb::Cluster {
        name: name::inbound_cluster(port.number),
        connect_timeout: Some(e::duration(context.snapshot().mesh().connect_timeout)),
        metadata: Some(metadata::of_inbound_cluster(&port.services)),
        ..Default::default()
    };
    match &port.endpoint {
        None => {
            cluster.cluster_discovery_type =
                Some(pb::cluster::ClusterDiscoveryType::Type(pb::cluster::DiscoveryType::OriginalDst as i32));
            cluster.lb_policy = pb::cluster::LbPolicy::ClusterProvided as i32;
            let ipv6 = context.proxy.addresses.first().is_some_and(std::net::IpAddr::is_ipv6);
            cluster.upstream_bind_config = Some(bind(if ipv6 { "::6" } else { "127.0.0.6" }));
        }
        Some(address) => {
            cluster.cluster_discovery_type =
                Some(pb::cluster::ClusterDiscoveryType::Type(pb::cluster::DiscoveryType::Static as i32));
            cluster.load_assignment = Some(crate::envoy::endpoint::ClusterLoadAssignment {
                cluster_name: cluster.name.clone(),
                endpoints: vec![crate::envoy::endpoint::LocalityLbEndpoints {
                    lb_endpoints: vec![crate::envoy::endpoint::LbEndpoint {
                        host_identifier: Some(crate::envoy::endpoint::lb_endpoint::HostIdentifier::Endpoint(
                            crate::envoy::endpoint::Endpoint {
                                address: Some(address.clone()),
                                ..Default::default()
                            },
                        )),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
    }
    let policy = ClusterPolicy { connection_pool: port.connection_pool.clone(), ..ClusterPolicy::default() };
    limit(&mut cluster, &policy);
    speak(&mut cluster, context, port.protocol, port.connection_pool.as_ref());
    cluster
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
