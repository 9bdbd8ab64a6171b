//! `Cluster` → [`Cluster`]. What an operator could rely on and this proxy does not do is refused by
//! name; what only tunes Envoy's own machinery (buffer sizes, statistics prefixes) has no effect.

use super::tls_context::upstream_socket;
use super::{CompileError, Context, unpack};
use crate::telemetry::intern::Id;
use crate::telemetry::series::Service;
use crate::upstream::balance::{Policy, Sharing, SlowStart};
use crate::upstream::breaker::Breaker;
use crate::upstream::dns::{DnsSettings, Family};
use crate::upstream::outlier::OutlierSettings;
use crate::upstream::{
    Cluster, ClusterSettings, Discovery, HeaderCase, Http2Settings, HttpProtocol, OriginalDestination,
    TransportMatch, Transports, duration,
};
use envoy_types::pb::envoy::config::cluster::v3::{self as pb, cluster};
use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as CommonOptions, Metadata,
    UpstreamHttpProtocolOptions, http1_protocol_options::header_key_format::HeaderFormat,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    self as http_pb, http_protocol_options as choice,
};
use envoy_types::pb::google::protobuf::{Duration as ProtoDuration, UInt32Value, value::Kind};
use mizzen_net::socket::Keepalive;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The key of HTTP options in `typed_extension_protocol_options`.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Headers a response may have unless configured; Envoy's default.
const MAX_RESPONSE_HEADERS: usize = 100;

/// Compiles one cluster; `previous` is what served under this name, whose endpoint state (ejections,
/// counts) is carried over where the endpoints are the same.
pub fn compile(
    message: &pb::Cluster,
    previous: Option<&Arc<Cluster>>,
    context: &Context,
) -> Result<Arc<Cluster>, CompileError> {
    if message.name.is_empty() {
        return Err(CompileError::missing("name"));
    }
    refuse(message)?;
    let http = http_options(message)?;
    let settings = ClusterSettings {
        name: message.name.as_str().into(),
        discovery: discovery(message)?,
        policy: policy(message)?,
        sharing: sharing(message)?,
        protocol: http.protocol,
        header_case: http.header_case,
        http2: http.http2,
        connect_timeout: time(&message.connect_timeout, "connect_timeout")?.unwrap_or(Duration::from_secs(5)),
        idle_timeout: http.idle_timeout,
        max_requests_per_connection: http.max_requests,
        max_response_headers: http.max_response_headers,
        source: source(message)?,
        keepalive: keepalive(message),
        transports: transports(message, http.auto_san_validation, context)?,
        auto_sni: http.auto_sni,
        outlier: message.outlier_detection.as_ref().map(OutlierSettings::compile),
        service: service(message.metadata.as_ref(), context),
        metadata: message.metadata.clone().map(Arc::new),
        dns: dns(message)?,
    };
    let breaker = Breaker::compile(message.circuit_breakers.as_ref());
    let assignment = message.load_assignment.as_ref();
    Cluster::start(settings, breaker, assignment, previous, &context.telemetry, &context.control)
}

fn refuse(message: &pb::Cluster) -> Result<(), CompileError> {
    let common = message.common_lb_config.as_ref();
    let refused = [
        (!message.health_checks.is_empty(), "health_checks", "active health checking"),
        (message.transport_socket_matcher.is_some(), "transport_socket_matcher", "a matcher tree"),
        (
            message.lb_subset_config.as_ref().is_some_and(|subset| !subset.subset_selectors.is_empty()),
            "lb_subset_config",
            "subset load balancing",
        ),
        (message.load_balancing_policy.is_some(), "load_balancing_policy", "a load balancing extension"),
        (!message.dns_resolvers.is_empty(), "dns_resolvers", "a choice of name servers"),
        (message.upstream_config.is_some(), "upstream_config", "an upstream extension"),
        (message.lrs_server.is_some(), "lrs_server", "load reporting"),
        (
            message.connection_pool_per_downstream_connection,
            "connection_pool_per_downstream_connection",
            "a pool for each client",
        ),
        (
            common.is_some_and(|common| common.override_host_status.is_some()),
            "common_lb_config.override_host_status",
            "overriding hosts",
        ),
        (
            common
                .and_then(|common| common.consistent_hashing_lb_config.as_ref())
                .is_some_and(|hashing| hashing.hash_balance_factor.is_some()),
            "common_lb_config.consistent_hashing_lb_config.hash_balance_factor",
            "bounded loads",
        ),
        (
            message
                .circuit_breakers
                .as_ref()
                .is_some_and(|breakers| !breakers.per_host_thresholds.is_empty()),
            "circuit_breakers.per_host_thresholds",
            "a limit for each host",
        ),
    ];
    for (set, field, what) in refused {
        if set {
            return Err(CompileError::unsupported(field, what));
        }
    }
    for (index, filter) in message.filters.iter().enumerate() {
        // Metadata exchange over TCP is what our TCP proxy does itself.
        if filter.name != "istio.metadata_exchange" {
            let what = format!("the upstream filter '{}'", filter.name);
            return Err(CompileError::unsupported(format!("filters[{index}]"), what));
        }
    }
    Ok(())
}

fn discovery(message: &pb::Cluster) -> Result<Discovery, CompileError> {
    use cluster::ClusterDiscoveryType;
    let kind = match &message.cluster_discovery_type {
        None => 0,
        Some(ClusterDiscoveryType::Type(kind)) => *kind,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            let what = format!("the cluster type '{}'", custom.name);
            return Err(CompileError::unsupported("cluster_type", what));
        }
    };
    Ok(match kind {
        0 => Discovery::Static,
        1 => Discovery::StrictDns,
        2 => Discovery::LogicalDns,
        3 => {
            let named =
                message.eds_cluster_config.as_ref().map(|eds| eds.service_name.as_str()).unwrap_or_default();
            Discovery::Eds(if named.is_empty() { message.name.as_str() } else { named }.into())
        }
        4 => Discovery::OriginalDestination(original_destination(message)?),
        other => return Err(CompileError::invalid("type", format!("{other} is not a discovery type"))),
    })
}

fn original_destination(message: &pb::Cluster) -> Result<OriginalDestination, CompileError> {
    let Some(cluster::LbConfig::OriginalDstLbConfig(config)) = &message.lb_config else {
        return Ok(OriginalDestination::default());
    };
    if config.metadata_key.is_some() {
        return Err(CompileError::unsupported(
            "original_dst_lb_config.metadata_key",
            "a destination in metadata",
        ));
    }
    let header = if config.use_http_header {
        let name = match config.http_header_name.as_str() {
            "" => "x-envoy-original-dst-host",
            name => name,
        };
        let parsed = http::HeaderName::from_bytes(name.as_bytes());
        Some(parsed.map_err(|_| {
            CompileError::invalid("original_dst_lb_config.http_header_name", "is not a header name")
        })?)
    } else {
        None
    };
    let port = config.upstream_port_override.as_ref().map(|port| {
        u16::try_from(port.value).map_err(|_| {
            CompileError::invalid("original_dst_lb_config.upstream_port_override", "is not a port")
        })
    });
    Ok(OriginalDestination { port: port.transpose()?, header })
}

fn policy(message: &pb::Cluster) -> Result<Policy, CompileError> {
    use cluster::LbConfig;
    let slow = |config: Option<&cluster::SlowStartConfig>| config.and_then(slow_start);
    Ok(match message.lb_policy {
        0 => Policy::RoundRobin(match &message.lb_config {
            Some(LbConfig::RoundRobinLbConfig(config)) => slow(config.slow_start_config.as_ref()),
            _ => None,
        }),
        1 => match &message.lb_config {
            Some(LbConfig::LeastRequestLbConfig(config)) => Policy::LeastRequest {
                choices: config.choice_count.as_ref().map_or(2, |count| count.value.max(2)),
                slow_start: slow(config.slow_start_config.as_ref()),
            },
            _ => Policy::LeastRequest { choices: 2, slow_start: None },
        },
        2 => match &message.lb_config {
            Some(LbConfig::RingHashLbConfig(config)) => Policy::RingHash {
                minimum: config.minimum_ring_size.as_ref().map_or(1024, |size| size.value).clamp(1, 8 << 20),
                maximum: config
                    .maximum_ring_size
                    .as_ref()
                    .map_or(8 << 20, |size| size.value)
                    .clamp(1, 8 << 20),
            },
            _ => Policy::RingHash { minimum: 1024, maximum: 8 << 20 },
        },
        3 => Policy::Random,
        5 => match &message.lb_config {
            Some(LbConfig::MaglevLbConfig(config)) => Policy::Maglev {
                size: config.table_size.as_ref().map_or(65_537, |size| size.value).clamp(1, 5_000_011),
            },
            _ => Policy::Maglev { size: 65_537 },
        },
        // The cluster decides itself; only ORIGINAL_DST does.
        6 => Policy::Random,
        other => return Err(CompileError::unsupported("lb_policy", format!("policy {other}"))),
    })
}

fn slow_start(config: &cluster::SlowStartConfig) -> Option<SlowStart> {
    Some(SlowStart {
        window: duration(config.slow_start_window.as_ref())?,
        aggression: config.aggression.as_ref().map_or(1.0, |aggression| aggression.default_value),
        minimum: config.min_weight_percent.as_ref().map_or(0.1, |percent| percent.value / 100.0),
    })
}

fn sharing(message: &pb::Cluster) -> Result<Sharing, CompileError> {
    use cluster::common_lb_config::LocalityConfigSpecifier as Locality;
    let common = message.common_lb_config.as_ref();
    let by_locality = match common.and_then(|common| common.locality_config_specifier.as_ref()) {
        None => false,
        Some(Locality::LocalityWeightedLbConfig(_)) => true,
        Some(Locality::ZoneAwareLbConfig(_)) => {
            return Err(CompileError::unsupported(
                "common_lb_config.zone_aware_lb_config",
                "zone aware routing",
            ));
        }
    };
    let panic = common.and_then(|common| common.healthy_panic_threshold.as_ref());
    Ok(Sharing {
        overprovisioning: 140,
        panic_threshold: panic.map_or(50.0, |percent| percent.value),
        by_locality,
    })
}

/// What the various HTTP options of a cluster amount to.
struct HttpOptions {
    protocol: HttpProtocol,
    header_case: HeaderCase,
    http2: Http2Settings,
    idle_timeout: Option<Duration>,
    max_requests: Option<u32>,
    max_response_headers: usize,
    auto_sni: bool,
    auto_san_validation: bool,
}

fn http_options(message: &pb::Cluster) -> Result<HttpOptions, CompileError> {
    let mut typed = None;
    for (name, any) in &message.typed_extension_protocol_options {
        let field = format!("typed_extension_protocol_options[\"{name}\"]");
        match name.as_str() {
            HTTP_OPTIONS => typed = Some(unpack::<http_pb::HttpProtocolOptions>(any, &field)?),
            other => return Err(CompileError::unsupported(field, format!("'{other}'"))),
        }
    }
    let at = |error: CompileError| error.at("typed_extension_protocol_options");
    let mut common = message.common_http_protocol_options;
    let mut upstream = message.upstream_http_protocol_options.clone();
    let (mut http1, mut http2) =
        (message.http_protocol_options.clone(), message.http2_protocol_options.clone());
    let mut protocol = match (&http2, message.protocol_selection) {
        (_, 1) => HttpProtocol::SameAsClient,
        (Some(_), _) => HttpProtocol::Http2,
        (None, _) => HttpProtocol::Http1,
    };
    if let Some(typed) = typed {
        refuse_typed(&typed).map_err(at)?;
        common = typed.common_http_protocol_options.or(common);
        upstream = typed.upstream_http_protocol_options.or(upstream);
        match typed.upstream_protocol_options {
            None => return Err(at(CompileError::missing("upstream_protocol_options"))),
            Some(choice::UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => {
                use choice::explicit_http_config::ProtocolConfig;
                match explicit.protocol_config {
                    Some(ProtocolConfig::Http2ProtocolOptions(options)) => {
                        (protocol, http2) = (HttpProtocol::Http2, Some(options));
                    }
                    Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                        return Err(at(CompileError::unsupported("explicit_http_config", "HTTP/3")));
                    }
                    Some(ProtocolConfig::HttpProtocolOptions(options)) => {
                        (protocol, http1) = (HttpProtocol::Http1, Some(options));
                    }
                    None => protocol = HttpProtocol::Http1,
                }
            }
            Some(choice::UpstreamProtocolOptions::UseDownstreamProtocolConfig(same)) => {
                protocol = HttpProtocol::SameAsClient;
                (http1, http2) = (same.http_protocol_options, same.http2_protocol_options);
            }
            Some(choice::UpstreamProtocolOptions::AutoConfig(auto)) => {
                if auto.http3_protocol_options.is_some() || auto.alternate_protocols_cache_options.is_some() {
                    return Err(at(CompileError::unsupported("auto_config", "HTTP/3")));
                }
                protocol = HttpProtocol::Negotiated;
                (http1, http2) = (auto.http_protocol_options, auto.http2_protocol_options);
            }
        }
    }
    let common = common.unwrap_or_default();
    refuse_common(&common)?;
    let upstream = upstream.unwrap_or_default();
    refuse_upstream(&upstream)?;
    let idle = match common.idle_timeout.as_ref() {
        None => Some(Duration::from_secs(3600)),
        Some(limit) => duration(Some(limit)).filter(|limit| !limit.is_zero()),
    };
    let limit =
        |value: &Option<UInt32Value>| value.as_ref().map(|value| value.value).filter(|value| *value > 0);
    Ok(HttpOptions {
        protocol,
        header_case: http1.as_ref().map_or(Ok(HeaderCase::Lower), header_case)?,
        http2: http2.as_ref().map(http2_settings).unwrap_or_default(),
        idle_timeout: idle,
        max_requests: limit(&common.max_requests_per_connection)
            .or_else(|| limit(&message.max_requests_per_connection)),
        max_response_headers: limit(&common.max_headers_count)
            .map_or(MAX_RESPONSE_HEADERS, |count| count as usize),
        auto_sni: upstream.auto_sni,
        auto_san_validation: upstream.auto_san_validation,
    })
}

fn refuse_typed(typed: &http_pb::HttpProtocolOptions) -> Result<(), CompileError> {
    for (set, field) in [
        (!typed.http_filters.is_empty(), "http_filters"),
        (typed.header_validation_config.is_some(), "header_validation_config"),
        (typed.outlier_detection.is_some(), "outlier_detection"),
        (!typed.request_mirror_policies.is_empty(), "request_mirror_policies"),
        (!typed.hash_policy.is_empty(), "hash_policy"),
        (typed.retry_policy.is_some(), "retry_policy"),
    ] {
        if set {
            return Err(CompileError::unsupported(field, "this option of a cluster"));
        }
    }
    Ok(())
}

fn refuse_common(common: &CommonOptions) -> Result<(), CompileError> {
    if common.max_connection_duration.is_some() {
        return Err(CompileError::unsupported(
            "common_http_protocol_options.max_connection_duration",
            "a longest life of upstream connections",
        ));
    }
    if common.max_stream_duration.is_some() {
        return Err(CompileError::unsupported(
            "common_http_protocol_options.max_stream_duration",
            "a longest life of upstream streams",
        ));
    }
    Ok(())
}

fn refuse_upstream(upstream: &UpstreamHttpProtocolOptions) -> Result<(), CompileError> {
    if !upstream.override_auto_sni_header.is_empty() {
        return Err(CompileError::unsupported(
            "upstream_http_protocol_options.override_auto_sni_header",
            "a header for SNI",
        ));
    }
    Ok(())
}

/// How HTTP/1 header names are written.
pub(super) fn header_case(options: &Http1ProtocolOptions) -> Result<HeaderCase, CompileError> {
    let format = options.header_key_format.as_ref().and_then(|format| format.header_format.as_ref());
    Ok(match format {
        None => HeaderCase::Lower,
        Some(HeaderFormat::ProperCaseWords(_)) => HeaderCase::Proper,
        Some(HeaderFormat::StatefulFormatter(formatter)) => match formatter.name.as_str() {
            "preserve_case" | "envoy.http.stateful_header_formatters.preserve_case" => HeaderCase::Preserved,
            other => {
                let what = format!("the header formatter '{other}'");
                return Err(CompileError::unsupported("header_key_format.stateful_formatter", what));
            }
        },
    })
}

fn http2_settings(options: &Http2ProtocolOptions) -> Http2Settings {
    let number = |value: &Option<UInt32Value>| value.as_ref().map(|value| value.value);
    Http2Settings {
        max_concurrent_streams: number(&options.max_concurrent_streams),
        stream_window: number(&options.initial_stream_window_size),
        connection_window: number(&options.initial_connection_window_size),
        keepalive: pings(options),
    }
}

/// Interval and timeout of HTTP/2 pings.
pub(super) fn pings(options: &Http2ProtocolOptions) -> Option<(Duration, Duration)> {
    let keepalive = options.connection_keepalive.as_ref()?;
    let interval = duration(keepalive.interval.as_ref())?;
    let timeout = duration(keepalive.timeout.as_ref()).unwrap_or(interval);
    Some((interval, timeout)).filter(|(interval, _)| !interval.is_zero())
}

fn source(message: &pb::Cluster) -> Result<Option<IpAddr>, CompileError> {
    let Some(bind) = &message.upstream_bind_config else { return Ok(None) };
    if !bind.extra_source_addresses.is_empty()
        || !bind.additional_source_addresses.is_empty()
        || !bind.socket_options.is_empty()
    {
        return Err(CompileError::unsupported(
            "upstream_bind_config",
            "more than one source address, or socket options",
        ));
    }
    let Some(source) = &bind.source_address else { return Ok(None) };
    source.address.parse().map(Some).map_err(|_| {
        CompileError::invalid(
            "upstream_bind_config.source_address.address",
            format!("'{}' is not an address", source.address),
        )
    })
}

fn keepalive(message: &pb::Cluster) -> Option<Keepalive> {
    let keepalive = message.upstream_connection_options.as_ref()?.tcp_keepalive.as_ref()?;
    let seconds =
        |value: &Option<UInt32Value>| value.as_ref().map(|value| Duration::from_secs(value.value.into()));
    Some(Keepalive {
        time: seconds(&keepalive.keepalive_time),
        interval: seconds(&keepalive.keepalive_interval),
        probes: keepalive.keepalive_probes.as_ref().map(|probes| probes.value),
    })
}

fn transports(
    message: &pb::Cluster,
    verify_name: bool,
    context: &Context,
) -> Result<Transports, CompileError> {
    let mut matches = Vec::new();
    for (index, candidate) in message.transport_socket_matches.iter().enumerate() {
        let at = |error: CompileError| error.at(format!("transport_socket_matches[{index}]"));
        let criteria = candidate.r#match.as_ref().map(|criteria| {
            let mut criteria: Vec<_> =
                criteria.fields.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            criteria.sort_by(|(left, _), (right, _)| left.cmp(right));
            criteria
        });
        matches.push(TransportMatch {
            name: candidate.name.as_str().into(),
            criteria: criteria.unwrap_or_default(),
            connector: upstream_socket(candidate.transport_socket.as_ref(), verify_name, context)
                .map_err(at)?
                .map(Arc::new),
        });
    }
    let default = upstream_socket(message.transport_socket.as_ref(), verify_name, context)?.map(Arc::new);
    Ok(Transports { matches, default })
}

/// `metadata.filter_metadata["istio"].services[0]`
fn service(metadata: Option<&Metadata>, context: &Context) -> Id {
    let services =
        metadata.and_then(|metadata| metadata.filter_metadata.get("istio")?.fields.get("services"));
    let Some(Kind::ListValue(services)) = services.and_then(|services| services.kind.as_ref()) else {
        return Id::UNKNOWN;
    };
    let Some(Kind::StructValue(first)) = services.values.first().and_then(|first| first.kind.as_ref()) else {
        return Id::UNKNOWN;
    };
    let text = |name: &str| match first.fields.get(name).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text.clone(),
        _ => String::new(),
    };
    let service = Service { host: text("host"), name: text("name"), namespace: text("namespace") };
    context.telemetry.names().services.id(&service)
}

fn dns(message: &pb::Cluster) -> Result<DnsSettings, CompileError> {
    let family = match message.dns_lookup_family {
        0 => Family::Auto,
        1 => Family::V4,
        2 => Family::V6,
        3 => Family::V4Preferred,
        4 => Family::All,
        other => return Err(CompileError::invalid("dns_lookup_family", format!("{other} is not a family"))),
    };
    let failure =
        message.dns_failure_refresh_rate.as_ref().and_then(|rate| duration(rate.base_interval.as_ref()));
    Ok(DnsSettings {
        refresh: time(&message.dns_refresh_rate, "dns_refresh_rate")?.unwrap_or(Duration::from_secs(5)),
        failure_refresh: failure,
        respect_ttl: message.respect_dns_ttl,
        family,
    })
}

/// A duration that must not be negative.
pub(super) fn time(message: &Option<ProtoDuration>, field: &str) -> Result<Option<Duration>, CompileError> {
    match message {
        None => Ok(None),
        Some(message) => match duration(Some(message)) {
            Some(duration) => Ok(Some(duration)),
            None => Err(CompileError::invalid(field, "is negative")),
        },
    }
}
