//! `Listener` → [`Listener`]. Filter chains whose definition did not change are taken over from the
//! listener before, so that their connections notice nothing.

use super::network_filter::{self, Chain};
use super::{CompileError, Context, access_log, address, duration, tls_context, unpack};
use crate::listener::chain_match::{ChainMatcher, Rule, SourceType};
use crate::listener::{
    ChainDrain, Direction, Enabled, FilterChain, Inspection, Listener, PortPredicate, ProxyProtocol,
    SocketSettings, Statistics,
};
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3 as proxy_protocol;
use mizzen_net::socket::{Keepalive, unmapped};
use pb::filter_chain_match::ConnectionSourceType;
use pb::listener_filter_chain_match_predicate::Rule as Predicate;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Envoy's default for listener filters.
const INSPECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest TLS handshake; Envoy has no limit, an unbounded one invites half-open clients.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
const BACKLOG: i32 = 1024;

/// What served under this name before: the definition and what was made of it.
pub type Previous<'a> = (&'a pb::Listener, &'a Listener);

/// Compiles one listener.
pub fn compile(
    listener: &pb::Listener,
    previous: Option<Previous<'_>>,
    context: &Context,
) -> Result<Listener, CompileError> {
    refuse_unsupported(listener)?;
    let direction = match listener.traffic_direction() {
        TrafficDirection::Unspecified => Direction::Unspecified,
        TrafficDirection::Inbound => Direction::Inbound,
        TrafficDirection::Outbound => Direction::Outbound,
    };
    let (first, settings) =
        address::socket(listener.address.as_ref()).map_err(|error| error.at("address"))?;
    let mut addresses = vec![unmapped(first)];
    for (index, more) in listener.additional_addresses.iter().enumerate() {
        let at = |error: CompileError| error.at(format!("additional_addresses[{index}]"));
        addresses.push(address::socket(more.address.as_ref()).map_err(at)?.0);
    }
    let flag = |value: Option<bool>, default: bool| value.unwrap_or(default);
    #[allow(deprecated)]
    let deprecated_bind =
        listener.deprecated_v1.as_ref().and_then(|v1| v1.bind_to_port.as_ref()).map(|flag| flag.value);
    let bind_to_port = listener.bind_to_port.as_ref().map(|flag| flag.value).or(deprecated_bind);
    let socket = SocketSettings {
        reuse_port: flag(listener.enable_reuse_port.as_ref().map(|flag| flag.value), true),
        transparent: flag(listener.transparent.as_ref().map(|flag| flag.value), false),
        ipv4_compatible: settings.ipv4_compat,
        backlog: listener
            .tcp_backlog_size
            .as_ref()
            .map_or(BACKLOG, |size| i32::try_from(size.value).unwrap_or(i32::MAX)),
        keepalive: listener.tcp_keepalive.as_ref().map(keepalive),
    };
    let stat_prefix = if listener.stat_prefix.is_empty() {
        stat_prefix(first)
    } else {
        listener.stat_prefix.as_str().into()
    };
    let mut chains = Vec::new();
    let mut rules = Vec::new();
    for (index, chain) in listener.filter_chains.iter().enumerate() {
        let at = |error: CompileError| error.at(place(index, &chain.name));
        rules.push(rule(chain.filter_chain_match.as_ref()).map_err(at)?);
        chains.push(chain_of(chain, listener, previous, direction, context).map_err(at)?);
    }
    let default_chain = match &listener.default_filter_chain {
        Some(chain) => Some(
            chain_of(chain, listener, previous, direction, context)
                .map_err(|error| error.at("default_filter_chain"))?,
        ),
        None => None,
    };
    let matcher = ChainMatcher::new(&rules).map_err(|overlap| {
        CompileError::invalid(
            format!("filter_chains[{}].filter_chain_match", overlap.second),
            overlap.to_string(),
        )
    })?;
    if chains.is_empty() && default_chain.is_none() {
        return Err(CompileError::missing("filter_chains"));
    }
    let statistics = match previous {
        Some((_, before)) if before.stat_prefix == stat_prefix => Arc::clone(&before.statistics),
        _ => Arc::new(Statistics::new(&context.telemetry, &stat_prefix)),
    };
    let use_original_dst = listener.use_original_dst.as_ref().is_some_and(|flag| flag.value);
    let mut inspection = inspection(listener)?;
    // The flag alone restores the destination, as in Envoy, which adds the listener filter itself.
    inspection.original_destination |= use_original_dst;
    Ok(Listener {
        name: listener.name.as_str().into(),
        addresses,
        statistics,
        stat_prefix,
        direction,
        metadata: listener.metadata.clone().map(Arc::new),
        bind_to_port: bind_to_port.unwrap_or(true),
        use_original_dst,
        socket,
        inspection,
        matcher,
        chains,
        default_chain,
        unmatched: Arc::new(FilterChain::none()),
        access_logs: access_log::compile_of_listener(&listener.access_log, context)?,
    })
}

fn refuse_unsupported(listener: &pb::Listener) -> Result<(), CompileError> {
    let set = |flag: &Option<_>| flag.is_some();
    let unsupported: &[(bool, &str)] = &[
        (listener.fcds_config.is_some(), "fcds_config"),
        (listener.filter_chain_matcher.is_some(), "filter_chain_matcher"),
        (listener.freebind.as_ref().is_some_and(|flag| flag.value), "freebind"),
        (!listener.socket_options.is_empty(), "socket_options"),
        (set(&listener.tcp_fast_open_queue_length), "tcp_fast_open_queue_length"),
        (listener.udp_listener_config.is_some(), "udp_listener_config"),
        (listener.api_listener.is_some(), "api_listener"),
        (listener.connection_balance_config.is_some(), "connection_balance_config"),
        (listener.enable_mptcp, "enable_mptcp"),
        (listener.listener_specifier.is_some(), "internal_listener"),
        (listener.stats_matcher.is_some(), "stats_matcher"),
        (
            listener.additional_addresses.iter().any(|address| address.socket_options.is_some()),
            "additional_addresses.socket_options",
        ),
    ];
    match unsupported.iter().find(|(set, _)| *set) {
        Some((_, field)) => Err(CompileError::unsupported(*field, "this setting")),
        None => Ok(()),
    }
}

/// Envoy's statistics name of a listener: its address, with `_` for `:`.
fn stat_prefix(address: SocketAddr) -> Arc<str> {
    match address {
        SocketAddr::V4(address) => format!("{}_{}", address.ip(), address.port()).into(),
        SocketAddr::V6(address) => {
            format!("[{}]_{}", address.ip().to_string().replace(':', "_"), address.port()).into()
        }
    }
}

fn place(index: usize, name: &str) -> String {
    if name.is_empty() {
        format!("filter_chains[{index}]")
    } else {
        format!("filter_chains[{index}] ({name})")
    }
}

fn keepalive(settings: &envoy_types::pb::envoy::config::core::v3::TcpKeepalive) -> Keepalive {
    let seconds = |value: &Option<envoy_types::pb::google::protobuf::UInt32Value>| {
        value.as_ref().map(|value| Duration::from_secs(value.value.into()))
    };
    Keepalive {
        time: seconds(&settings.keepalive_time),
        interval: seconds(&settings.keepalive_interval),
        probes: settings.keepalive_probes.as_ref().map(|value| value.value),
    }
}

/// A chain as it was, when its definition is the same; else compiled.
fn chain_of(
    chain: &pb::FilterChain,
    listener: &pb::Listener,
    previous: Option<Previous<'_>>,
    direction: Direction,
    context: &Context,
) -> Result<Arc<FilterChain>, CompileError> {
    if let Some((definition, compiled)) = previous
        && definition.traffic_direction == listener.traffic_direction
        && let Some(kept) = kept_chain(chain, definition, compiled)
    {
        return Ok(kept);
    }
    compile_chain(chain, direction, context).map(Arc::new)
}

fn kept_chain(
    chain: &pb::FilterChain,
    before: &pb::Listener,
    compiled: &Listener,
) -> Option<Arc<FilterChain>> {
    // The match decides who comes here, not what happens then.
    let same = |other: &pb::FilterChain| {
        other.name == chain.name
            && other.filters == chain.filters
            && other.transport_socket == chain.transport_socket
            && other.transport_socket_connect_timeout == chain.transport_socket_connect_timeout
            && other.metadata == chain.metadata
    };
    let position = before.filter_chains.iter().position(same);
    match position {
        Some(position) => compiled.chains.get(position).cloned(),
        None => before
            .default_filter_chain
            .as_ref()
            .filter(|other| same(other))
            .and(compiled.default_chain.clone()),
    }
}

fn compile_chain(
    chain: &pb::FilterChain,
    direction: Direction,
    context: &Context,
) -> Result<FilterChain, CompileError> {
    #[allow(deprecated)]
    if chain.use_proxy_proto.as_ref().is_some_and(|flag| flag.value) {
        return Err(CompileError::unsupported(
            "use_proxy_proto",
            "the old switch (use the listener filter envoy.filters.listener.proxy_protocol)",
        ));
    }
    let tls = tls_context::downstream_socket(chain.transport_socket.as_ref(), context)?;
    let timeout = duration(&chain.transport_socket_connect_timeout, "transport_socket_connect_timeout")?;
    let Chain { filters, network } = network_filter::compile(&chain.filters, direction, context)?;
    Ok(FilterChain {
        name: chain.name.as_str().into(),
        metadata: chain.metadata.clone().map(Arc::new),
        tls,
        handshake_timeout: timeout.filter(|limit| !limit.is_zero()).unwrap_or(HANDSHAKE_TIMEOUT),
        filters,
        network,
        drain: ChainDrain::default(),
    })
}

fn rule(criteria: Option<&pb::FilterChainMatch>) -> Result<Rule, CompileError> {
    let Some(criteria) = criteria else { return Ok(Rule::default()) };
    let at = |error: CompileError| error.at("filter_chain_match");
    if !criteria.address_suffix.is_empty() || criteria.suffix_len.is_some() {
        return Err(at(CompileError::unsupported("address_suffix", "matching by address suffix")));
    }
    let port = |value: u32, field: &str| {
        u16::try_from(value).map_err(|_| at(CompileError::invalid(field, format!("{value} is not a port"))))
    };
    let destination_port = match &criteria.destination_port {
        Some(value) => Some(port(value.value, "destination_port")?),
        None => None,
    };
    let mut server_names = Vec::new();
    for name in &criteria.server_names {
        let inner = name.strip_prefix("*.").unwrap_or(name);
        if inner.contains('*') || inner.is_empty() {
            return Err(at(CompileError::invalid(
                "server_names",
                format!("'{name}': a wildcard stands for whole leading labels, as in *.example.com"),
            )));
        }
        server_names.push(name.to_ascii_lowercase());
    }
    let source_type = match criteria.source_type() {
        ConnectionSourceType::Any => SourceType::Any,
        ConnectionSourceType::SameIpOrLoopback => SourceType::Local,
        ConnectionSourceType::External => SourceType::External,
    };
    Ok(Rule {
        destination_port,
        destinations: address::networks(&criteria.prefix_ranges, "prefix_ranges").map_err(at)?,
        server_names,
        transport_protocol: criteria.transport_protocol.clone(),
        application_protocols: criteria
            .application_protocols
            .iter()
            .map(|protocol| protocol.clone().into_bytes())
            .collect(),
        direct_sources: address::networks(
            &criteria.direct_source_prefix_ranges,
            "direct_source_prefix_ranges",
        )
        .map_err(at)?,
        source_type,
        sources: address::networks(&criteria.source_prefix_ranges, "source_prefix_ranges").map_err(at)?,
        source_ports: criteria
            .source_ports
            .iter()
            .map(|value| port(*value, "source_ports"))
            .collect::<Result<_, _>>()?,
    })
}

fn inspection(listener: &pb::Listener) -> Result<Inspection, CompileError> {
    let timeout = duration(&listener.listener_filters_timeout, "listener_filters_timeout")?;
    let mut inspection = Inspection {
        timeout: Some(timeout.unwrap_or(INSPECTION_TIMEOUT)).filter(|limit| !limit.is_zero()),
        continue_on_timeout: listener.continue_on_listener_filters_timeout,
        ..Inspection::default()
    };
    for (index, filter) in listener.listener_filters.iter().enumerate() {
        add_listener_filter(filter, &mut inspection)
            .map_err(|error| error.at(format!("listener_filters[{index}] ({})", filter.name)))?;
    }
    Ok(inspection)
}

fn add_listener_filter(filter: &pb::ListenerFilter, inspection: &mut Inspection) -> Result<(), CompileError> {
    use pb::listener_filter::ConfigType;
    let any = match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) => Some(any),
        Some(ConfigType::ConfigDiscovery(_)) => {
            return Err(CompileError::unsupported("config_discovery", "extension discovery"));
        }
        None => None,
    };
    let enabled = match &filter.filter_disabled {
        Some(rule) => Enabled::Unless(predicate(rule).map_err(|error| error.at("filter_disabled"))?),
        None => Enabled::Always,
    };
    // By type where there is one, as Envoy does; the name is then only a label.
    let kind = any.map_or(filter.name.as_str(), |any| any.type_url.as_str());
    match kind.rsplit_once("listener.").map_or(kind, |(_, kind)| kind) {
        "original_dst" | "original_dst.v3.OriginalDst" => {
            if enabled != Enabled::Always {
                return Err(CompileError::unsupported(
                    "filter_disabled",
                    "switching this filter off by port",
                ));
            }
            inspection.original_destination = true;
        }
        "tls_inspector" | "tls_inspector.v3.TlsInspector" => inspection.tls = Some(enabled),
        "http_inspector" | "http_inspector.v3.HttpInspector" => inspection.http = Some(enabled),
        "proxy_protocol" | "proxy_protocol.v3.ProxyProtocol" => {
            let settings = match any {
                Some(any) => unpack::<proxy_protocol::ProxyProtocol>(any, "typed_config")?,
                None => proxy_protocol::ProxyProtocol::default(),
            };
            if !settings.rules.is_empty() || settings.pass_through_tlvs.is_some() {
                return Err(CompileError::unsupported("typed_config.rules", "keeping type-length-values"));
            }
            if !settings.disallowed_versions.is_empty() {
                return Err(CompileError::unsupported("typed_config.disallowed_versions", "this setting"));
            }
            inspection.proxy_protocol =
                Some(ProxyProtocol { optional: settings.allow_requests_without_proxy_protocol });
        }
        _ => return Err(CompileError::unsupported("typed_config", format!("the listener filter '{kind}'"))),
    }
    Ok(())
}

fn predicate(rule: &pb::ListenerFilterChainMatchPredicate) -> Result<PortPredicate, CompileError> {
    let all = |set: &pb::listener_filter_chain_match_predicate::MatchSet| {
        set.rules.iter().map(predicate).collect::<Result<Vec<_>, _>>()
    };
    Ok(match &rule.rule {
        Some(Predicate::AnyMatch(_)) => PortPredicate::Any,
        Some(Predicate::DestinationPortRange(range)) => {
            let bound = |value: i32| u32::try_from(value).unwrap_or_default();
            PortPredicate::Range(bound(range.start), bound(range.end))
        }
        Some(Predicate::NotMatch(inner)) => PortPredicate::Not(Box::new(predicate(inner)?)),
        Some(Predicate::OrMatch(set)) => PortPredicate::Or(all(set)?),
        Some(Predicate::AndMatch(set)) => PortPredicate::And(all(set)?),
        None => return Err(CompileError::missing("rule")),
    })
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
