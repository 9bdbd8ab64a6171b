//! Routes: what becomes of a request, by port of a sidecar or server of a gateway.

pub(crate) mod action;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod matching;
pub(crate) mod retry;
pub(crate) mod sidecar;

use std::collections::HashMap;

use crate::{
    context::Context,
    envoy::{self as e, core, route as pb},
    name,
};

/// The name of routes that no rule names.
pub(crate) const DEFAULT_ROUTE: &str = "default";

/// Everything under `/`.
pub(crate) fn everything() -> pb::RouteMatch {
    pb::RouteMatch {
        path_specifier: Some(pb::route_match::PathSpecifier::Prefix("/".to_owned())),
        ..Default::default()
    }
}

/// What tracing calls requests to a service.
pub(crate) fn decorator(host: &str, port: u16) -> pb::Decorator {
    pb::Decorator { operation: format!("{host}:{port}/*"), ..Default::default() }
}

/// A route configuration whose hosts match whatever port they are asked for with.
pub(crate) fn configuration(name: String, virtual_hosts: Vec<pb::VirtualHost>) -> pb::RouteConfiguration {
    pb::RouteConfiguration {
        name,
        virtual_hosts,
        // Routes name clusters that may not exist: that is an answer (503, NC), not a broken configuration.
        validate_clusters: Some(e::boolean(false)),
        max_direct_response_body_size_bytes: Some(e::uint32(1 << 20)),
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}

/// The same, whose virtual hosts are asked for beside it, in the collection of its name.
pub(crate) fn discovered(name: String, fixed: Vec<pb::VirtualHost>) -> pb::RouteConfiguration {
    let config_source = Some(e::ads());
    pb::RouteConfiguration { vhds: Some(pb::Vhds { config_source }), ..configuration(name, fixed) }
}

/// Where requests for hosts nobody knows go.
pub(crate) fn unknown_hosts(context: &Context<'_>) -> pb::VirtualHost {
    let (name, action) = if context.scope.allows_any() {
        let action = pb::RouteAction {
            cluster_specifier: Some(pb::route_action::ClusterSpecifier::Cluster(
                name::PASSTHROUGH_CLUSTER.to_owned(),
            )),
            timeout: Some(e::duration(std::time::Duration::ZERO)),
            ..Default::default()
        };
        ("allow_any", pb::route::Action::Route(action))
    } else {
        let refusal = pb::DirectResponseAction { status: 502, ..Default::default() };
        ("block_all", pb::route::Action::DirectResponse(refusal))
    };
    pb::VirtualHost {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![pb::Route {
            name: name.to_owned(),
            r#match: Some(everything()),
            action: Some(action),
            ..Default::default()
        }],
        include_request_attempt_count: context.scope.allows_any(),
        ..Default::default()
    }
}

/// Settings of HTTP filters for one route.
pub(crate) type FilterSettings = HashMap<String, envoy_types::pb::google::protobuf::Any>;

/// A header that is set or added.
pub(crate) fn header_option(
    name: &str,
    value: &str,
    action: core::header_value_option::HeaderAppendAction,
) -> core::HeaderValueOption {
    core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        append_action: action as i32,
        ..Default::default()
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
