//! The clusters that no service stands behind, and the workload's own ports.

use std::net::IpAddr;

use mizzen_model::Protocol;

use super::{policy::limit, speak};
use crate::{
    context::Context,
    envoy::{self as e, cluster as pb, core, endpoint},
    inbound::{self, InboundPort},
    metadata, name,
    traffic_policy::ClusterPolicy,
};

/// The clusters that no service stands behind, and the workload's own ports.
pub(crate) fn fixed(context: &Context<'_>) -> Vec<pb::Cluster> {
    let mut clusters = vec![black_hole(context)];
    if context.proxy.is_router() {
        return clusters;
    }
    clusters.push(passthrough(context, name::PASSTHROUGH_CLUSTER, None));
    let has_ipv6 = context.proxy.addresses.iter().any(IpAddr::is_ipv6);
    let has_ipv4 = context.proxy.addresses.iter().any(IpAddr::is_ipv4);
    if has_ipv4 {
        clusters.push(passthrough(context, name::INBOUND_PASSTHROUGH_CLUSTER, Some("127.0.0.6")));
    }
    if has_ipv6 {
        clusters.push(passthrough(context, name::INBOUND_PASSTHROUGH_CLUSTER_IPV6, Some("::6")));
    }
    clusters.extend(inbound::ports(context).iter().map(|port| own_port(context, port)));
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

fn own_port(context: &Context<'_>, port: &InboundPort) -> pb::Cluster {
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
            let ipv6 = context.proxy.addresses.first().is_some_and(IpAddr::is_ipv6);
            cluster.upstream_bind_config = Some(bind(if ipv6 { "::6" } else { "127.0.0.6" }));
        }
        Some(address) => {
            cluster.cluster_discovery_type =
                Some(pb::cluster::ClusterDiscoveryType::Type(pb::cluster::DiscoveryType::Static as i32));
            cluster.load_assignment = Some(endpoint::ClusterLoadAssignment {
                cluster_name: cluster.name.clone(),
                endpoints: vec![endpoint::LocalityLbEndpoints {
                    lb_endpoints: vec![endpoint::LbEndpoint {
                        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(
                            endpoint::Endpoint { address: Some(address.clone()), ..Default::default() },
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
