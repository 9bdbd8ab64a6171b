//! Connections forwarded as they are: to a cluster, or by the TLS and TCP rules of a VirtualService.

use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use mizzen_api::networking::RouteDestination;
use mizzen_model::Host;

use crate::{
    access_log,
    context::Context,
    envoy::{self as e, listener as pb, types},
    filters::{self, Place},
    route::action,
    traffic_policy::ClusterPolicy,
};

/// Forwards to one cluster.
pub(crate) fn to_cluster(context: &Context<'_>, place: Place, cluster: &str) -> Vec<pb::Filter> {
    let proxy = TcpProxy {
        stat_prefix: cluster.to_owned(),
        access_log: access_log::of_side(context, place.side()),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    filters::tcp(context, place, &proxy)
}

/// Forwards to one of the destinations, by weight.
pub(crate) fn to_destinations(
    context: &Context<'_>,
    place: Place,
    destinations: &[RouteDestination],
    listen_port: u16,
) -> Vec<pb::Filter> {
    let used: Vec<&RouteDestination> = match destinations {
        [only] => vec![only],
        several if several.iter().all(|target| target.weight == 0) => several.iter().collect(),
        several => several.iter().filter(|target| target.weight > 0).collect(),
    };
    let cluster = |target: &RouteDestination| action::cluster_of(context, &target.destination, listen_port);
    let (stat_prefix, specifier) = match used.as_slice() {
        [only] => (cluster(only), tcp_proxy::ClusterSpecifier::Cluster(cluster(only))),
        several => {
            let clusters: Vec<_> = several
                .iter()
                .map(|target| tcp_proxy::weighted_cluster::ClusterWeight {
                    name: cluster(target),
                    weight: target.weight.max(1),
                    ..Default::default()
                })
                .collect();
            let prefix = several.first().map(|target| cluster(target)).unwrap_or_default();
            (prefix, tcp_proxy::ClusterSpecifier::WeightedClusters(tcp_proxy::WeightedCluster { clusters }))
        }
    };
    let first = used.first().map(|target| &target.destination);
    let policy = first.and_then(|destination| {
        let service = context.snapshot().service(&Host::new(&destination.host), context.scope.namespace())?;
        let rule = context.scope.destination_rule(service).map(|rule| &**rule);
        let port =
            destination.port.as_ref().and_then(|port| u16::try_from(port.number).ok()).unwrap_or(listen_port);
        Some(ClusterPolicy::of(rule, port, destination.subset.as_deref()))
    });
    let mut proxy = TcpProxy {
        stat_prefix,
        access_log: access_log::of_side(context, place.side()),
        cluster_specifier: Some(specifier),
        ..Default::default()
    };
    if let Some(policy) = policy {
        apply(&mut proxy, &policy);
    }
    filters::tcp(context, place, &proxy)
}

/// What a DestinationRule says of plain connections.
pub(crate) fn apply(proxy: &mut TcpProxy, policy: &ClusterPolicy) {
    let tcp = policy.connection_pool.as_ref().and_then(|pool| pool.tcp.as_ref());
    if let Some(timeout) = tcp.and_then(|tcp| tcp.idle_timeout) {
        proxy.idle_timeout = Some(e::duration(timeout.as_std()));
    }
    if let Some(duration) = tcp.and_then(|tcp| tcp.max_connection_duration) {
        proxy.max_downstream_connection_duration = Some(e::duration(duration.as_std()));
    }
    let hash = policy.load_balancer.as_ref().and_then(|balancer| balancer.consistent_hash.as_ref());
    if hash.is_some_and(|hash| hash.use_source_ip == Some(true)) {
        proxy.hash_policy = vec![types::HashPolicy {
            policy_specifier: Some(types::hash_policy::PolicySpecifier::SourceIp(
                types::hash_policy::SourceIp {},
            )),
        }];
    }
    if let Some(tunnel) = &policy.tunnel {
        proxy.tunneling_config = Some(tcp_proxy::TunnelingConfig {
            hostname: format!("{}:{}", tunnel.target_host, tunnel.target_port),
            use_post: tunnel
                .protocol
                .as_deref()
                .is_some_and(|protocol| protocol.eq_ignore_ascii_case("POST")),
            ..Default::default()
        });
    }
}
