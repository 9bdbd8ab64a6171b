//! The HTTP and network filters of a proxy, in the one order they work in.
//!
//! Order: metadata exchange, authorization, gRPC statistics, ALPN, fault, CORS, statistics, router.
//! Source: Istio, `pilot/pkg/networking/core/listener_builder.go`.

use envoy_types::pb::envoy::extensions::filters::{
    http::{cors::v3::Cors, fault::v3::HttpFault, grpc_stats::v3 as grpc_stats, router::v3::Router},
    network::tcp_proxy::v3::TcpProxy,
};
use mizzen_model::Side;
use mizzen_proto::{alpn, peer_metadata, stats, tcp_metadata_exchange, type_url};

use crate::{
    context::Context,
    envoy::{self as e, hcm, listener},
    metrics, rbac,
    tls::ALPN_PEER_EXCHANGE,
};

/// Where a filter chain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A sidecar, towards other services.
    Outbound,
    /// A sidecar, towards its application.
    Inbound,
    /// A gateway.
    Gateway,
}

impl Place {
    pub(crate) fn side(self) -> Side {
        match self {
            Self::Inbound => Side::Server,
            Self::Outbound | Self::Gateway => Side::Client,
        }
    }

    /// Whether policies of the workload are enforced here.
    fn authorizes(self) -> bool {
        matches!(self, Self::Inbound | Self::Gateway)
    }
}

/// The filters of HTTP.
pub(crate) fn http(context: &Context<'_>, place: Place) -> Vec<hcm::HttpFilter> {
    let istio = context.proxy.istio_filters;
    let mut filters = Vec::new();
    if istio {
        filters.push(e::http_filter(
            "istio.metadata_exchange",
            e::any_named(type_url::PEER_METADATA, &http_metadata_exchange(place)),
        ));
    }
    if place.authorizes() {
        filters.extend(rbac::http_filters(context));
    }
    let grpc = grpc_stats::FilterConfig {
        emit_filter_state: true,
        per_method_stat_specifier: Some(
            grpc_stats::filter_config::PerMethodStatSpecifier::StatsForAllMethods(e::boolean(false)),
        ),
        ..Default::default()
    };
    filters.push(e::http_filter("envoy.filters.http.grpc_stats", e::any(&grpc)));
    if istio && place != Place::Inbound {
        filters.push(e::http_filter("istio.alpn", e::any_named(type_url::ALPN, &alpn_override())));
    }
    filters.push(e::http_filter("envoy.filters.http.fault", e::any(&HttpFault::default())));
    filters.push(e::http_filter("envoy.filters.http.cors", e::any(&Cors {})));
    if istio && let Some(config) = metrics::http(context, place.side()) {
        filters.push(e::http_filter("istio.stats", e::any_named(type_url::STATS, &config)));
    }
    filters.push(e::http_filter("envoy.filters.http.router", e::any(&Router::default())));
    filters
}

/// The filters of a plain connection, the one that forwards it last.
pub(crate) fn tcp(context: &Context<'_>, place: Place, proxy: &TcpProxy) -> Vec<listener::Filter> {
    let istio = context.proxy.istio_filters;
    let mut filters = Vec::new();
    if istio && place == Place::Inbound {
        filters.push(e::network_filter(
            "istio.metadata_exchange",
            e::any_named(type_url::TCP_METADATA_EXCHANGE, &tcp_metadata_exchange()),
        ));
    }
    if place.authorizes() {
        filters.extend(rbac::network_filters(context));
    }
    if istio && let Some(config) = metrics::tcp(context, place.side()) {
        filters.push(e::network_filter("istio.stats", e::any_named(type_url::STATS, &config)));
    }
    filters.push(e::network_filter("envoy.filters.network.tcp_proxy", e::any(proxy)));
    filters
}

fn http_metadata_exchange(place: Place) -> peer_metadata::Config {
    use peer_metadata::config as c;
    let headers = |skip_external_clusters| c::IstioHeaders { skip_external_clusters };
    let discovery = |method| c::DiscoveryMethod { method_specifier: Some(method) };
    let by_headers = || {
        vec![
            discovery(c::discovery_method::MethodSpecifier::IstioHeaders(headers(false))),
            discovery(c::discovery_method::MethodSpecifier::WorkloadDiscovery(c::WorkloadDiscovery {})),
        ]
    };
    let propagation = |skip| {
        vec![c::PropagationMethod {
            method_specifier: Some(c::propagation_method::MethodSpecifier::IstioHeaders(headers(skip))),
        }]
    };
    match place {
        Place::Inbound => peer_metadata::Config {
            downstream_discovery: by_headers(),
            downstream_propagation: propagation(false),
            ..Default::default()
        },
        Place::Outbound | Place::Gateway => peer_metadata::Config {
            upstream_discovery: by_headers(),
            // Who is outside the mesh is not told who asks.
            upstream_propagation: propagation(true),
            ..Default::default()
        },
    }
}

/// How a TCP proxy tells its peer what it is.
pub(crate) fn tcp_metadata_exchange() -> tcp_metadata_exchange::MetadataExchange {
    tcp_metadata_exchange::MetadataExchange {
        protocol: ALPN_PEER_EXCHANGE.to_owned(),
        enable_discovery: true,
        ..Default::default()
    }
}

/// What an upstream connection offers, by what the request speaks.
fn alpn_override() -> alpn::FilterConfig {
    use alpn::filter_config::{AlpnOverride, Protocol};
    let offer = |protocol: Protocol, offered: &[&str]| AlpnOverride {
        upstream_protocol: protocol as i32,
        alpn_override: offered.iter().map(|text| (*text).to_owned()).collect(),
    };
    alpn::FilterConfig {
        alpn_override: vec![
            offer(Protocol::Http10, &["istio-http/1.0", "istio", "http/1.0"]),
            offer(Protocol::Http11, &["istio-http/1.1", "istio", "http/1.1"]),
            offer(Protocol::Http2, &["istio-h2", "istio", "h2"]),
        ],
    }
}

/// What `istio.stats` does where nothing is overridden.
pub(crate) fn stats_defaults(place: Side) -> stats::PluginConfig {
    stats::PluginConfig { disable_host_header_fallback: place == Side::Server, ..Default::default() }
}
