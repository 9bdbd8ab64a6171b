//! `HttpConnectionManager` → [`crate::http::HttpConnectionManager`].

use super::cluster::{header_case, pings, time};
use super::{CompileError, Context, decode, http_filter, route, unpack, wire};
use crate::http::matcher::Fraction;
use crate::http::normalize::{EscapedSlashes, PathRules};
use crate::http::{
    Captured, ClientCertDetails, Codec, ForwardClientCert, Http1Options, Http2Options, HttpConnectionManager,
    RouteSource, ServerHeader, StripPort, Timeouts,
};
use crate::telemetry::access_log::Format;
use crate::telemetry::tracing::{Tag, Tracer, Tracing};
use crate::upstream::HeaderCase;
use envoy_types::pb::envoy::config::core::v3::{HttpProtocolOptions, grpc_service};
use envoy_types::pb::envoy::config::trace::v3::{OpenTelemetryConfig, tracing};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    self as pb, http_connection_manager as hcm,
};
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;

/// What the listener around it is, for filters whose behaviour depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// Which way traffic flows.
    pub direction: crate::listener::Direction,
}

/// The number of `route_config` in an `HttpConnectionManager`.
const ROUTE_CONFIG: u32 = 4;

/// Compiles one encoded HTTP connection manager.
pub fn compile(
    body: &[u8],
    _around: Around,
    context: &Context,
) -> Result<HttpConnectionManager, CompileError> {
    let parted = wire::part(body, ROUTE_CONFIG)?;
    let message: &pb::HttpConnectionManager = &decode(&parted.rest)?;
    refuse(message)?;
    let (filters, stats) = http_filter::compile(&message.http_filters, context)?;
    let access_logs = super::access_log::compile(&message.access_log, context)?;
    let mut captured = Captured::default();
    for log in &access_logs {
        captured.request.extend(log.format().request_headers());
        captured.response.extend(log.format().response_headers());
        captured.trailers |= log.format().needs_trailers();
    }
    for names in [&mut captured.request, &mut captured.response] {
        names.sort_by(|left, right| left.as_str().cmp(right.as_str()));
        names.dedup();
    }
    let default = HttpProtocolOptions::default();
    let common = message.common_http_protocol_options.as_ref().unwrap_or(&default);
    let server_name = match message.server_name.as_str() {
        "" => "envoy",
        name => name,
    };
    let flag = |flag: &Option<envoy_types::pb::google::protobuf::BoolValue>, default: bool| {
        flag.as_ref().map_or(default, |flag| flag.value)
    };
    Ok(HttpConnectionManager {
        codec: match message.codec_type {
            0 => Codec::Auto,
            1 => Codec::Http1,
            2 => Codec::Http2,
            _ => return Err(CompileError::unsupported("codec_type", "HTTP/3")),
        },
        counts: context.telemetry.manager_counts(&message.stat_prefix),
        routes: routes(message, &parted.values, context)?,
        filters,
        stats,
        access_logs,
        captured,
        tracing: message
            .tracing
            .as_ref()
            .map(|tracing| trace(tracing, context))
            .transpose()
            .map_err(|error| error.at("tracing"))?
            .flatten(),
        timeouts: timeouts(message, common)?,
        http1: http1(message)?,
        http2: http2(message),
        max_headers: common.max_headers_count.as_ref().map_or(100, |count| count.value as usize),
        max_header_bytes: message.max_request_headers_kb.as_ref().map_or(60, |limit| limit.value as usize)
            * 1024,
        max_requests_per_connection: common
            .max_requests_per_connection
            .as_ref()
            .map(|limit| limit.value)
            .filter(|limit| *limit > 0),
        underscores: match common.headers_with_underscores_action {
            1 => Some(true),
            2 => Some(false),
            _ => None,
        },
        path_rules: PathRules {
            normalize: flag(&message.normalize_path, false),
            merge_slashes: message.merge_slashes,
            escaped_slashes: match message.path_with_escaped_slashes_action {
                2 => EscapedSlashes::Reject,
                3 => EscapedSlashes::Redirect,
                4 => EscapedSlashes::Decode,
                _ => EscapedSlashes::Keep,
            },
        },
        strip_port: match (&message.strip_port_mode, message.strip_matching_host_port) {
            (Some(hcm_strip::StripAnyHostPort(true)), _) => Some(StripPort::Any),
            (_, true) => Some(StripPort::Matching),
            _ => None,
        },
        strip_host_dot: message.strip_trailing_host_dot,
        use_remote_address: flag(&message.use_remote_address, false),
        trusted_hops: usize::try_from(message.xff_num_trusted_hops).unwrap_or(usize::MAX),
        skip_forwarded_for: message.skip_xff_append,
        generate_request_id: flag(&message.generate_request_id, true),
        preserve_request_id: message.preserve_external_request_id,
        request_id_in_response: message.always_set_request_id_in_response,
        server_header: match message.server_header_transformation {
            1 => ServerHeader::AppendIfAbsent,
            2 => ServerHeader::PassThrough,
            _ => ServerHeader::Overwrite,
        },
        server_name: value(server_name, "server_name")?,
        via: if message.via.is_empty() { None } else { Some(value(&message.via, "via")?) },
        forward_client_cert: match message.forward_client_cert_details {
            1 => ForwardClientCert::ForwardOnly,
            2 => ForwardClientCert::AppendForward,
            3 => ForwardClientCert::SanitizeSet,
            4 => ForwardClientCert::AlwaysForwardOnly,
            _ => ForwardClientCert::Sanitize,
        },
        client_cert_details: client_cert(message)?,
        upgrades: upgrades(message)?,
    })
}

use hcm::StripPortMode as hcm_strip;

fn refuse(message: &pb::HttpConnectionManager) -> Result<(), CompileError> {
    for (set, field) in [
        (!message.original_ip_detection_extensions.is_empty(), "original_ip_detection_extensions"),
        (!message.early_header_mutation_extensions.is_empty(), "early_header_mutation_extensions"),
        (message.local_reply_config.is_some(), "local_reply_config"),
        (message.path_normalization_options.is_some(), "path_normalization_options"),
        (message.typed_header_validation_config.is_some(), "typed_header_validation_config"),
        (message.forward_client_cert_matcher.is_some(), "forward_client_cert_matcher"),
        (message.http3_protocol_options.is_some(), "http3_protocol_options"),
        (message.scheme_header_transformation.is_some(), "scheme_header_transformation"),
        (message.append_x_forwarded_port, "append_x_forwarded_port"),
        (message.proxy_100_continue, "proxy_100_continue"),
        (
            message.internal_address_config.as_ref().is_some_and(|config| !config.cidr_ranges.is_empty()),
            "internal_address_config.cidr_ranges",
        ),
    ] {
        if set {
            return Err(CompileError::unsupported(field, "this part of a connection manager"));
        }
    }
    Ok(())
}

/// `inline` is the encoded `route_config`, which `message` is without.
fn routes(
    message: &pb::HttpConnectionManager,
    inline: &[&[u8]],
    context: &Context,
) -> Result<RouteSource, CompileError> {
    match (&message.route_specifier, inline) {
        (Some(hcm::RouteSpecifier::Rds(rds)), []) => {
            Ok(RouteSource::Named(rds.route_config_name.as_str().into()))
        }
        (None, [config]) => {
            let at = |error: CompileError| error.at("route_config");
            let table = route::compile(config, None, &[], context).map_err(at)?;
            if table.discovers {
                return Err(at(CompileError::unsupported("vhds", "virtual hosts beside routes in place")));
            }
            Ok(RouteSource::Inline(Arc::new(table)))
        }
        (Some(hcm::RouteSpecifier::ScopedRoutes(_)), []) => {
            Err(CompileError::unsupported("scoped_routes", "scoped routes"))
        }
        (None, []) => Err(CompileError::missing("route_specifier")),
        _ => Err(CompileError::invalid("route_specifier", "is there more than once")),
    }
}

fn timeouts(
    message: &pb::HttpConnectionManager,
    common: &HttpProtocolOptions,
) -> Result<Timeouts, CompileError> {
    let limit = |value: Option<Duration>, default: Option<Duration>| match value {
        None => default,
        Some(value) => Some(value).filter(|value| !value.is_zero()),
    };
    Ok(Timeouts {
        idle: limit(
            time(&common.idle_timeout, "common_http_protocol_options.idle_timeout")?,
            Some(Duration::from_secs(3600)),
        ),
        max_connection: limit(
            time(&common.max_connection_duration, "common_http_protocol_options.max_connection_duration")?,
            None,
        ),
        stream_idle: limit(
            time(&message.stream_idle_timeout, "stream_idle_timeout")?,
            Some(Duration::from_secs(300)),
        ),
        max_stream: limit(
            time(&common.max_stream_duration, "common_http_protocol_options.max_stream_duration")?,
            None,
        ),
        request: limit(time(&message.request_timeout, "request_timeout")?, None),
        request_headers: limit(time(&message.request_headers_timeout, "request_headers_timeout")?, None),
    })
}

fn http1(message: &pb::HttpConnectionManager) -> Result<Http1Options, CompileError> {
    let Some(options) = &message.http_protocol_options else { return Ok(Http1Options::default()) };
    let at = |error: CompileError| error.at("http_protocol_options");
    if options.allow_chunked_length {
        return Err(at(CompileError::unsupported(
            "allow_chunked_length",
            "both content-length and transfer-encoding",
        )));
    }
    let case = header_case(options).map_err(at)?;
    let default_host = match options.default_host_for_http_10.as_str() {
        "" => None,
        host => Some(value(host, "default_host_for_http_10").map_err(at)?),
    };
    Ok(Http1Options {
        accept_http_10: options.accept_http_10,
        default_host,
        preserve_case: case == HeaderCase::Preserved,
        proper_case: case == HeaderCase::Proper,
    })
}

fn http2(message: &pb::HttpConnectionManager) -> Http2Options {
    let Some(options) = &message.http2_protocol_options else { return Http2Options::default() };
    let number = |value: &Option<envoy_types::pb::google::protobuf::UInt32Value>| {
        value.as_ref().map(|value| value.value)
    };
    Http2Options {
        max_concurrent_streams: number(&options.max_concurrent_streams),
        stream_window: number(&options.initial_stream_window_size),
        connection_window: number(&options.initial_connection_window_size),
        keepalive: pings(options),
    }
}

fn client_cert(message: &pb::HttpConnectionManager) -> Result<ClientCertDetails, CompileError> {
    let Some(details) = &message.set_current_client_cert_details else {
        return Ok(ClientCertDetails::default());
    };
    if details.chain || details.issuer || details.format != 0 {
        return Err(CompileError::unsupported(
            "set_current_client_cert_details",
            "the chain, the issuer or another format",
        ));
    }
    Ok(ClientCertDetails {
        subject: details.subject.as_ref().is_some_and(|subject| subject.value),
        cert: details.cert,
        uri: details.uri,
        dns: details.dns,
    })
}

fn upgrades(message: &pb::HttpConnectionManager) -> Result<Vec<(String, bool)>, CompileError> {
    let mut upgrades = Vec::new();
    for (index, upgrade) in message.upgrade_configs.iter().enumerate() {
        let field = format!("upgrade_configs[{index}]");
        if !upgrade.filters.is_empty() {
            return Err(CompileError::unsupported(format!("{field}.filters"), "filters of an upgrade"));
        }
        let kind = upgrade.upgrade_type.to_ascii_lowercase();
        let enabled = upgrade.enabled.as_ref().is_none_or(|enabled| enabled.value);
        if kind == "connect" && enabled {
            return Err(CompileError::unsupported(field, "CONNECT"));
        }
        upgrades.push((kind, enabled));
    }
    Ok(upgrades)
}

fn trace(message: &hcm::Tracing, context: &Context) -> Result<Option<Tracing>, CompileError> {
    if message.spawn_upstream_span.as_ref().is_some_and(|spawn| spawn.value) {
        return Err(CompileError::unsupported("spawn_upstream_span", "a span for the upstream alone"));
    }
    if !message.operation.is_empty() || !message.upstream_operation.is_empty() {
        return Err(CompileError::unsupported("operation", "a format for the operation's name"));
    }
    let Some(provider) = &message.provider else { return Ok(None) };
    let config: OpenTelemetryConfig = match &provider.config_type {
        Some(tracing::http::ConfigType::TypedConfig(any)) => unpack(any, "provider.typed_config")?,
        None => return Err(CompileError::missing("provider.typed_config")),
    };
    let tracer = tracer(&config, context).map_err(|error| error.at("provider"))?;
    let percent = |percent: &Option<envoy_types::pb::envoy::r#type::v3::Percent>| {
        percent.as_ref().map_or(Fraction::ALWAYS, |percent| Fraction::percent(percent.value))
    };
    let mut tags = Vec::new();
    for (index, tag) in message.custom_tags.iter().enumerate() {
        let compiled = custom_tag(tag).map_err(|error| error.at(format!("custom_tags[{index}]")))?;
        tags.extend(compiled.map(|value| (tag.tag.clone(), value)));
    }
    Ok(Some(Tracing {
        tracer: Arc::new(tracer),
        random: percent(&message.random_sampling),
        overall: percent(&message.overall_sampling),
        max_path: message.max_path_tag_length.as_ref().map_or(256, |length| length.value as usize),
        tags,
        no_propagation: message.no_context_propagation,
    }))
}

fn tracer(config: &OpenTelemetryConfig, context: &Context) -> Result<Tracer, CompileError> {
    for (set, field) in [
        (config.http_service.is_some(), "http_service"),
        (config.exporter.is_some(), "exporter"),
        (!config.resource_detectors.is_empty(), "resource_detectors"),
        (config.sampler.is_some(), "sampler"),
    ] {
        if set {
            return Err(CompileError::unsupported(field, "this part of OpenTelemetry tracing"));
        }
    }
    let service = config.grpc_service.as_ref().ok_or_else(|| CompileError::missing("grpc_service"))?;
    let Some(grpc_service::TargetSpecifier::EnvoyGrpc(target)) = &service.target_specifier else {
        return Err(CompileError::unsupported("grpc_service", "a target other than envoy_grpc"));
    };
    let registry = context.telemetry.registry();
    let name = match config.service_name.as_str() {
        "" => "unknown_service:envoy",
        name => name,
    };
    Ok(Tracer {
        cluster: target.cluster_name.as_str().into(),
        authority: if target.authority.is_empty() {
            authority(&target.cluster_name)
        } else {
            target.authority.clone()
        },
        service: name.to_owned(),
        dropped: registry.counter("tracing.opentelemetry.spans_dropped"),
        sent: registry.counter("tracing.opentelemetry.spans_sent"),
    })
}

/// A name for requests to a cluster: the host of `outbound|4317||host`, else the cluster's own name.
fn authority(cluster: &str) -> String {
    cluster.rsplit('|').next().unwrap_or(cluster).to_owned()
}

fn custom_tag(tag: &CustomTag) -> Result<Option<Tag>, CompileError> {
    use custom_tag::Type;
    Ok(match &tag.r#type {
        None => return Err(CompileError::missing("type")),
        Some(Type::Literal(literal)) => Some(Tag::Literal(literal.value.clone())),
        Some(Type::Environment(variable)) => {
            let value = std::env::var(&variable.name).unwrap_or_else(|_| variable.default_value.clone());
            Some(value).filter(|value| !value.is_empty()).map(Tag::Literal)
        }
        Some(Type::RequestHeader(header)) => {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|_| CompileError::invalid("request_header.name", "is not a header name"))?;
            let default = (!header.default_value.is_empty()).then(|| header.default_value.clone());
            Some(Tag::Header(name, default))
        }
        Some(Type::Value(format)) => {
            Some(Tag::Format(Format::text(format).map_err(|reason| CompileError::invalid("value", reason))?))
        }
        // Istio asks for tags of authorization dry-runs, which exist only where a filter set them.
        Some(Type::Metadata(_)) => None,
    })
}

fn value(text: &str, field: &str) -> Result<HeaderValue, CompileError> {
    HeaderValue::from_str(text)
        .map_err(|_| CompileError::invalid(field, format!("'{text}' cannot be a header's value")))
}
