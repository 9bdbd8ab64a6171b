//! Clusters: a service's port, and each of its subsets, as something connections are made to.

mod fixed;
mod policy;

pub(crate) use fixed::fixed;

use mizzen_api::networking::{ClientTlsMode, ConnectionPool, H2UpgradePolicy, SimpleLoadBalancer};
use mizzen_model::{DestinationRule, Location, Port, Protocol, Resolution, Service};

use self::policy::{balance, eject, limit, resolve};
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
        tls::mesh_client(context.proxy, sni, identities, alpn)
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

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
