//! The filter that makes HTTP of a connection.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager as parts;
use mizzen_model::Protocol;

use crate::{
    access_log,
    context::Context,
    envoy::{self as e, core, hcm, listener, route},
    filters::{self, Place},
    tracing, wire,
};

/// What the mesh's proxies call themselves.
const SERVER_NAME: &str = "istio-envoy";

/// Where the routes are.
pub(crate) enum Routes {
    /// Asked for by name.
    Named(String),
    /// Given right here.
    Inline(Box<route::RouteConfiguration>),
}

/// HTTP of a connection, as a network filter.
pub(crate) fn filter(
    context: &Context<'_>,
    place: Place,
    stat_prefix: &str,
    routes: Routes,
    protocol: Protocol,
) -> listener::Filter {
    let manager = manager(context, place, stat_prefix, routes, protocol);
    let config = e::any_of(&manager, &wire::CONNECTION_MANAGER);
    e::network_filter("envoy.filters.network.http_connection_manager", config)
}

fn manager(
    context: &Context<'_>,
    place: Place,
    stat_prefix: &str,
    routes: Routes,
    protocol: Protocol,
) -> hcm::HttpConnectionManager {
    let route_specifier = match routes {
        Routes::Named(name) => {
            parts::RouteSpecifier::Rds(hcm::Rds { config_source: Some(e::ads()), route_config_name: name })
        }
        Routes::Inline(configuration) => parts::RouteSpecifier::RouteConfig(*configuration),
    };
    let certificate_details = parts::SetCurrentClientCertDetails {
        subject: Some(e::boolean(true)),
        cert: place == Place::Gateway,
        dns: true,
        uri: true,
        ..Default::default()
    };
    let (forward, details) = match place {
        Place::Outbound => (parts::ForwardClientCertDetails::Sanitize, None),
        Place::Inbound => (parts::ForwardClientCertDetails::AppendForward, Some(certificate_details)),
        Place::Gateway => (parts::ForwardClientCertDetails::SanitizeSet, Some(certificate_details)),
    };
    hcm::HttpConnectionManager {
        codec_type: parts::CodecType::Auto as i32,
        stat_prefix: stat_prefix.to_owned(),
        http_filters: filters::http(context, place),
        tracing: tracing::of_side(context, place.side()),
        http_protocol_options: context
            .proxy
            .http10
            .then(|| core::Http1ProtocolOptions { accept_http_10: true, ..Default::default() }),
        http2_protocol_options: (protocol == Protocol::Grpc).then(core::Http2ProtocolOptions::default),
        server_name: SERVER_NAME.to_owned(),
        server_header_transformation: match place {
            // The application's own header goes through to clients in the mesh.
            Place::Inbound => parts::ServerHeaderTransformation::PassThrough as i32,
            _ => parts::ServerHeaderTransformation::Overwrite as i32,
        },
        // Streams may be quiet for as long as they like.
        stream_idle_timeout: Some(e::duration(Duration::ZERO)),
        access_log: access_log::of_side(context, place.side()),
        use_remote_address: Some(e::boolean(place == Place::Gateway)),
        forward_client_cert_details: forward as i32,
        set_current_client_cert_details: details,
        upgrade_configs: vec![parts::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..Default::default()
        }],
        normalize_path: Some(e::boolean(true)),
        path_with_escaped_slashes_action: parts::PathWithEscapedSlashesAction::KeepUnchanged as i32,
        route_specifier: Some(route_specifier),
        ..Default::default()
    }
}
