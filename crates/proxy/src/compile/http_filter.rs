//! HTTP filters of a connection manager, and their configuration by route.

use super::{CompileError, Context, unpack, unpack_named};
use crate::http::filter::cors::CorsPolicy;
use crate::http::filter::fault::Fault;
use crate::http::filter::rbac::Rbac;
use crate::http::filter::{Alpn, Filters, MetadataExchange, Router};
use crate::http::routes::RouteFilters;
use crate::telemetry::HttpStats;
use envoy_types::pb::envoy::config::route::v3 as route_pb;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3 as cors_pb;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::grpc_stats::v3::FilterConfig as GrpcStats;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::{Rbac as HttpRbac, RbacPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router as RouterProto;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::pb::google::protobuf::Any;
use mizzen_proto::alpn::FilterConfig as AlpnProto;
use mizzen_proto::peer_metadata::Config as PeerMetadata;
use prost::Name;
use std::collections::HashMap;
use std::sync::Arc;

/// Configuration of a filter that a route switches on or off, or leaves alone.
const FILTER_CONFIG: &str = "type.googleapis.com/envoy.config.route.v3.FilterConfig";

/// The place of a filter in the order this proxy runs them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    MetadataExchange,
    Rbac,
    GrpcStats,
    Alpn,
    Fault,
    Cors,
    Stats,
    Router,
}

/// Compiles the list of filters. They must stand in the order in which this proxy runs them, since a
/// different order would mean something else.
pub fn compile(
    filters: &[HttpFilter],
    context: &Context,
) -> Result<(Filters, Option<HttpStats>), CompileError> {
    let mut compiled = Filters::default();
    let mut stats = None;
    let mut last = None;
    for (index, filter) in filters.iter().enumerate() {
        let at = |error: CompileError| error.at(format!("http_filters[{index}] ({})", filter.name));
        if filter.disabled {
            return Err(at(CompileError::unsupported("disabled", "a filter that only routes switch on")));
        }
        let any = match &filter.config_type {
            Some(http_filter::ConfigType::TypedConfig(any)) => any,
            Some(http_filter::ConfigType::ConfigDiscovery(_)) => {
                return Err(at(CompileError::unsupported("config_discovery", "discovery of filters")));
            }
            None => return Err(at(CompileError::missing("typed_config"))),
        };
        let place = match one(any, &mut compiled, &mut stats, context) {
            Ok(place) => place,
            Err(_) if filter.is_optional => continue,
            Err(error) => return Err(at(error)),
        };
        if last.is_some_and(|last| place < last) {
            let reason =
                format!("must not stand after {last:?}; this proxy runs its filters in the order of Istio");
            return Err(at(CompileError::invalid("", reason)));
        }
        last = Some(place);
    }
    if last != Some(Place::Router) {
        return Err(CompileError::invalid(
            "http_filters",
            "the last filter must be envoy.filters.http.router",
        ));
    }
    Ok((compiled, stats))
}

fn one(
    any: &Any,
    compiled: &mut Filters,
    stats: &mut Option<HttpStats>,
    context: &Context,
) -> Result<Place, CompileError> {
    let field = "typed_config";
    if any.type_url == mizzen_proto::type_url::PEER_METADATA {
        let config: PeerMetadata = unpack_named(any, mizzen_proto::type_url::PEER_METADATA, field)?;
        compiled.metadata_exchange = Some(metadata_exchange(&config)?);
        return Ok(Place::MetadataExchange);
    }
    if any.type_url == mizzen_proto::type_url::STATS {
        *stats = Some(HttpStats::compile(any, &context.telemetry)?);
        return Ok(Place::Stats);
    }
    if any.type_url == mizzen_proto::type_url::ALPN {
        compiled.alpn = Some(alpn(&unpack_named(any, mizzen_proto::type_url::ALPN, field)?));
        return Ok(Place::Alpn);
    }
    if any.type_url == HttpRbac::type_url() {
        let rbac = Rbac::compile_http(&unpack::<HttpRbac>(any, field)?)?;
        compiled.rbac.push(Arc::new(rbac));
        return Ok(Place::Rbac);
    }
    if any.type_url == GrpcStats::type_url() {
        compiled.grpc_stats = true;
        return Ok(Place::GrpcStats);
    }
    if any.type_url == HttpFault::type_url() {
        compiled.fault = Some(Arc::new(Fault::compile(&unpack::<HttpFault>(any, field)?)?));
        return Ok(Place::Fault);
    }
    if any.type_url == cors_pb::Cors::type_url() {
        compiled.cors = true;
        return Ok(Place::Cors);
    }
    if any.type_url == RouterProto::type_url() {
        compiled.router = router(&unpack::<RouterProto>(any, field)?)?;
        return Ok(Place::Router);
    }
    Err(CompileError::unsupported(field, format!("the HTTP filter type '{}'", any.type_url)))
}

fn metadata_exchange(config: &PeerMetadata) -> Result<MetadataExchange, CompileError> {
    use mizzen_proto::peer_metadata::config::discovery_method::MethodSpecifier as Discovery;
    use mizzen_proto::peer_metadata::config::propagation_method::MethodSpecifier as Propagation;
    let mut exchange = MetadataExchange::default();
    for (methods, found, name) in [
        (&config.downstream_discovery, &mut exchange.discover_downstream, "downstream_discovery"),
        (&config.upstream_discovery, &mut exchange.discover_upstream, "upstream_discovery"),
    ] {
        for (index, method) in methods.iter().enumerate() {
            match &method.method_specifier {
                Some(Discovery::IstioHeaders(_)) => *found = true,
                // Endpoints carry what is known of their workload; there is nothing to look up.
                Some(Discovery::WorkloadDiscovery(_)) => {}
                Some(Discovery::Baggage(_)) => {
                    return Err(CompileError::unsupported(
                        format!("{name}[{index}]"),
                        "discovery by baggage",
                    ));
                }
                None => return Err(CompileError::missing(format!("{name}[{index}].method_specifier"))),
            }
        }
    }
    for method in &config.downstream_propagation {
        if let Some(Propagation::IstioHeaders(_)) = &method.method_specifier {
            exchange.tell_downstream = true;
        }
    }
    for method in &config.upstream_propagation {
        if let Some(Propagation::IstioHeaders(headers)) = &method.method_specifier {
            exchange.tell_upstream = true;
            exchange.skip_external = headers.skip_external_clusters;
        }
    }
    if !config.additional_labels.is_empty() {
        return Err(CompileError::unsupported("additional_labels", "further labels"));
    }
    Ok(exchange)
}

fn alpn(config: &AlpnProto) -> Alpn {
    use crate::upstream::balance::stable_hash;
    let mut alpn = Alpn::default();
    let mut identity = Vec::new();
    for choice in &config.alpn_override {
        let protocols: Vec<Vec<u8>> =
            choice.alpn_override.iter().map(|protocol| protocol.clone().into_bytes()).collect();
        identity.extend_from_slice(choice.alpn_override.join(",").as_bytes());
        identity.push(b';');
        match choice.upstream_protocol {
            2 => alpn.http2 = protocols,
            1 => alpn.http1 = protocols,
            // HTTP/1.0 is never spoken to an upstream.
            _ => {}
        }
    }
    alpn.identity = stable_hash(&identity).max(1);
    alpn
}

fn router(config: &RouterProto) -> Result<Router, CompileError> {
    for (set, field) in [
        (!config.upstream_log.is_empty(), "upstream_log"),
        (!config.upstream_http_filters.is_empty(), "upstream_http_filters"),
        (!config.strict_check_headers.is_empty(), "strict_check_headers"),
        (config.start_child_span, "start_child_span"),
    ] {
        if set {
            return Err(CompileError::unsupported(field, "this option of the router"));
        }
    }
    Ok(Router {
        suppress_envoy_headers: config.suppress_envoy_headers,
        respect_expected_timeout: config.respect_expected_rq_timeout,
    })
}

/// Compiles `typed_per_filter_config` of a route or virtual host.
pub fn route_filters(configs: &HashMap<String, Any>) -> Result<RouteFilters, CompileError> {
    let mut filters = RouteFilters::default();
    for (name, any) in configs {
        route_filter(any, &mut filters)
            .map_err(|error| error.at(format!("typed_per_filter_config[\"{name}\"]")))?;
    }
    Ok(filters)
}

fn route_filter(any: &Any, filters: &mut RouteFilters) -> Result<(), CompileError> {
    if any.type_url == FILTER_CONFIG {
        let wrapper: route_pb::FilterConfig = unpack(any, "")?;
        if wrapper.disabled {
            return Err(CompileError::unsupported("disabled", "switching a filter off"));
        }
        return match &wrapper.config {
            Some(inner) => route_filter(inner, filters).map_err(|error| error.at("config")),
            None => Ok(()),
        };
    }
    if any.type_url == cors_pb::CorsPolicy::type_url() {
        filters.cors = Some(Arc::new(CorsPolicy::compile(&unpack(any, "")?)?));
        return Ok(());
    }
    if any.type_url == HttpFault::type_url() {
        filters.fault = Some(Arc::new(Fault::compile(&unpack(any, "")?)?));
        return Ok(());
    }
    if any.type_url == RbacPerRoute::type_url() {
        let per_route: RbacPerRoute = unpack(any, "")?;
        let rbac = per_route.rbac.as_ref().map(Rbac::compile_http).transpose()?.unwrap_or_default();
        filters.rbac = Some(Arc::new(rbac));
        return Ok(());
    }
    Err(CompileError::unsupported("", format!("the type '{}'", any.type_url)))
}

/// CORS as it stood in routes before it became a filter's configuration.
pub fn old_cors(message: &route_pb::CorsPolicy) -> Result<Arc<CorsPolicy>, CompileError> {
    let filter_enabled = message
        .enabled_specifier
        .as_ref()
        .map(|route_pb::cors_policy::EnabledSpecifier::FilterEnabled(enabled)| enabled.clone());
    let newer = cors_pb::CorsPolicy {
        allow_origin_string_match: message.allow_origin_string_match.clone(),
        allow_methods: message.allow_methods.clone(),
        allow_headers: message.allow_headers.clone(),
        expose_headers: message.expose_headers.clone(),
        max_age: message.max_age.clone(),
        allow_credentials: message.allow_credentials,
        filter_enabled,
        shadow_enabled: message.shadow_enabled.clone(),
        allow_private_network_access: message.allow_private_network_access,
        forward_not_matching_preflights: message.forward_not_matching_preflights,
    };
    CorsPolicy::compile(&newer).map(Arc::new)
}
