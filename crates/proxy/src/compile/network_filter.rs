//! The network filters of a chain: those that decide, then the one that serves.

use super::{CompileError, Context, access_log, duration, http_connection_manager, unpack, unpack_named};
use crate::http::filter::rbac::Rbac;
use crate::listener::{Direction, Network};
use crate::tcp::{NetworkFilter, Target, TcpProxy, WeightedCluster};
use crate::telemetry::TcpStats;
use envoy_types::pb::envoy::config::listener::v3::{Filter, filter::ConfigType};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3 as rbac_pb;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as pb;
use envoy_types::pb::envoy::r#type::v3::{HashPolicy, hash_policy::PolicySpecifier};
use mizzen_proto::{tcp_metadata_exchange::MetadataExchange, type_url};
use pb::tcp_proxy::ClusterSpecifier;
use prost::Name;
use std::sync::Arc;
use std::time::Duration;

/// Envoy's default for an idle TCP connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// A chain's filters, compiled.
pub struct Chain {
    /// Those that decide.
    pub filters: Vec<NetworkFilter>,
    /// The one that serves.
    pub network: Network,
}

/// Compiles the filters of a chain.
pub fn compile(filters: &[Filter], direction: Direction, context: &Context) -> Result<Chain, CompileError> {
    let mut before = Vec::new();
    let mut stats = Vec::new();
    for (index, filter) in filters.iter().enumerate() {
        let at = |error: CompileError| error.at(format!("filters[{index}] ({})", filter.name));
        let any = match &filter.config_type {
            Some(ConfigType::TypedConfig(any)) => any,
            Some(ConfigType::ConfigDiscovery(_)) => {
                return Err(at(CompileError::unsupported("config_discovery", "extension discovery")));
            }
            None => return Err(at(CompileError::missing("typed_config"))),
        };
        let last = index + 1 == filters.len();
        let url = any.type_url.as_str();
        if url == HttpConnectionManager::type_url() && last {
            let at = |error: CompileError| at(error.at("typed_config"));
            let around = http_connection_manager::Around { direction };
            let manager = http_connection_manager::compile(&any.value, around, context).map_err(at)?;
            return Ok(Chain { filters: before, network: Network::Http(Arc::new(manager)) });
        } else if url == pb::TcpProxy::type_url() && last {
            let at = |error: CompileError| at(error.at("typed_config"));
            let proxy: pb::TcpProxy = unpack(any, "").map_err(at)?;
            let proxy = tcp_proxy(&proxy, stats, context).map_err(at)?;
            return Ok(Chain { filters: before, network: Network::Tcp(Arc::new(proxy)) });
        } else if url == rbac_pb::Rbac::type_url() {
            let settings: rbac_pb::Rbac = unpack(any, "typed_config").map_err(at)?;
            let compiled = Rbac::compile_network(&settings).map_err(|error| at(error.at("typed_config")))?;
            before.push(NetworkFilter::Rbac(Arc::new(compiled)));
        } else if url == type_url::TCP_METADATA_EXCHANGE {
            let settings: MetadataExchange = unpack_named(any, url, "typed_config").map_err(at)?;
            before.push(NetworkFilter::MetadataExchange(settings.protocol.as_bytes().into()));
        } else if url == type_url::STATS {
            stats.push(Arc::new(TcpStats::compile(any, &context.telemetry).map_err(at)?));
        } else if url == HttpConnectionManager::type_url() || url == pb::TcpProxy::type_url() {
            return Err(at(CompileError::invalid(
                "",
                "serves the connection, so it must be the last filter",
            )));
        } else {
            return Err(at(CompileError::unsupported("typed_config", format!("the network filter {url}"))));
        }
    }
    Err(CompileError::invalid(
        "filters",
        "the last filter must be envoy.filters.network.http_connection_manager or envoy.filters.network.tcp_proxy",
    ))
}

fn tcp_proxy(
    proxy: &pb::TcpProxy,
    stats: Vec<Arc<TcpStats>>,
    context: &Context,
) -> Result<TcpProxy, CompileError> {
    #[allow(deprecated)]
    let unsupported: &[(bool, &str)] = &[
        (proxy.on_demand.is_some(), "on_demand"),
        (proxy.metadata_match.is_some(), "metadata_match"),
        (proxy.downstream_idle_timeout.is_some(), "downstream_idle_timeout"),
        (proxy.upstream_idle_timeout.is_some(), "upstream_idle_timeout"),
        (proxy.backoff_options.is_some(), "backoff_options"),
        (proxy.tunneling_config.is_some(), "tunneling_config"),
        (
            proxy.max_downstream_connection_duration_jitter_percentage.is_some(),
            "max_downstream_connection_duration_jitter_percentage",
        ),
        (proxy.access_log_flush_interval.is_some(), "access_log_flush_interval"),
        (proxy.flush_access_log_on_connected, "flush_access_log_on_connected"),
        (proxy.access_log_options.is_some(), "access_log_options"),
        (!proxy.proxy_protocol_tlvs.is_empty(), "proxy_protocol_tlvs"),
        (proxy.upstream_connect_mode != 0, "upstream_connect_mode"),
        (proxy.max_early_data_bytes.is_some(), "max_early_data_bytes"),
        (proxy.check_drain_close.is_some(), "check_drain_close"),
    ];
    if let Some((_, field)) = unsupported.iter().find(|(set, _)| *set) {
        return Err(CompileError::unsupported(*field, "this setting"));
    }
    let idle = duration(&proxy.idle_timeout, "idle_timeout")?.unwrap_or(IDLE_TIMEOUT);
    let longest = duration(&proxy.max_downstream_connection_duration, "max_downstream_connection_duration")?;
    Ok(TcpProxy {
        stat_prefix: proxy.stat_prefix.as_str().into(),
        target: target(proxy.cluster_specifier.as_ref())?,
        idle_timeout: Some(idle).filter(|limit| !limit.is_zero()),
        longest: longest.filter(|limit| !limit.is_zero()),
        hash_source_ip: hashes_source_ip(&proxy.hash_policy)?,
        connect_attempts: proxy.max_connect_attempts.as_ref().map_or(1, |attempts| attempts.value.max(1)),
        access_logs: access_log::compile(&proxy.access_log, context)?,
        stats,
    })
}

/// Whether connections are balanced by their client's address. Envoy takes one policy at most.
fn hashes_source_ip(policies: &[HashPolicy]) -> Result<bool, CompileError> {
    match policies {
        [] => Ok(false),
        [policy] => match &policy.policy_specifier {
            Some(PolicySpecifier::SourceIp(_)) => Ok(true),
            Some(PolicySpecifier::FilterState(_)) => {
                Err(CompileError::unsupported("hash_policy[0].filter_state", "a hash of filter state"))
            }
            None => Err(CompileError::missing("hash_policy[0].policy_specifier")),
        },
        _ => Err(CompileError::invalid("hash_policy", "must not have more than one entry")),
    }
}

fn target(specifier: Option<&ClusterSpecifier>) -> Result<Target, CompileError> {
    match specifier {
        Some(ClusterSpecifier::Cluster(name)) => Ok(Target::Cluster(name.as_str().into())),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let mut up_to = 0;
            let mut clusters = Vec::new();
            for (index, cluster) in weighted.clusters.iter().enumerate() {
                if cluster.metadata_match.is_some() {
                    return Err(CompileError::unsupported(
                        format!("weighted_clusters.clusters[{index}].metadata_match"),
                        "this setting",
                    ));
                }
                up_to += u64::from(cluster.weight);
                clusters.push(WeightedCluster { name: cluster.name.as_str().into(), up_to });
            }
            if up_to == 0 {
                return Err(CompileError::invalid(
                    "weighted_clusters",
                    "has no cluster with a weight above 0",
                ));
            }
            Ok(Target::Weighted(clusters))
        }
        None => Err(CompileError::missing("cluster")),
    }
}
