//! `RouteConfiguration` → [`RouteTable`].

use super::http_filter::route_filters;
use super::route_action::{direct_response, forward, header_names, redirect, retry};
use super::{CompileError, Context, decode, wire};
use crate::http::matcher::{Fraction, HeaderMatcher, QueryMatcher, full_regex};
use crate::http::mutation::HeaderMutations;
use crate::http::routes::{Action, PathMatch, RequireTls, Route, RouteMatch, VirtualHost};
use crate::retry::RetryPolicy;
use ahash::AHashMap;
use envoy_types::pb::envoy::config::route::v3::{self as pb, route_match};
use std::sync::Arc;

pub use crate::http::routes::RouteTable;

/// The number of `virtual_hosts` in a `RouteConfiguration`.
const VIRTUAL_HOSTS: u32 = 2;

/// What served under this name before: the encoded message and what was made of it.
pub type Previous<'a> = (&'a [u8], &'a RouteTable);

/// Compiles one encoded route configuration. Virtual hosts that stand in `previous` as they are here are
/// taken over: of thousands, a change concerns a few, and the others are not even decoded. `discovered` are
/// those it has beside it, if it says so (VHDS).
pub fn compile(
    body: &[u8],
    previous: Option<Previous<'_>>,
    discovered: &[Arc<VirtualHost>],
    context: &Context,
) -> Result<RouteTable, CompileError> {
    let parted = wire::part(body, VIRTUAL_HOSTS)?;
    let message: pb::RouteConfiguration = decode(&parted.rest)?;
    let source = message.vhds.as_ref().map(|vhds| vhds.config_source.as_ref());
    super::bootstrap::aggregated(source.flatten(), "vhds.config_source")?;
    for (set, field) in [
        (!message.cluster_specifier_plugins.is_empty(), "cluster_specifier_plugins"),
        (!message.request_mirror_policies.is_empty(), "request_mirror_policies"),
        (!message.vhost_header.is_empty(), "vhost_header"),
        (!message.route_specifiers.is_empty(), "route_specifiers"),
        (!message.typed_per_filter_config.is_empty(), "typed_per_filter_config"),
    ] {
        if set {
            return Err(CompileError::unsupported(field, "this part of a route configuration"));
        }
    }
    let known = previous.map(known).transpose()?.unwrap_or_default();
    let mut hosts = Vec::with_capacity(parted.values.len());
    for (index, body) in parted.values.into_iter().enumerate() {
        hosts.push(match known.get(body) {
            Some(host) => Arc::clone(host),
            None => virtual_host(body, context).map_err(|error| error.at(at(index)))?,
        });
    }
    let mut table = RouteTable {
        name: message.name.as_str().into(),
        ignore_port: message.ignore_port_in_host_matching,
        ignore_path_parameters: message.ignore_path_parameters_in_path_matching,
        internal_only_headers: header_names(&message.internal_only_headers, "internal_only_headers")?,
        request_headers: HeaderMutations::compile(
            &message.request_headers_to_add,
            &message.request_headers_to_remove,
        )
        .map_err(|error| error.at("request"))?,
        response_headers: HeaderMutations::compile(
            &message.response_headers_to_add,
            &message.response_headers_to_remove,
        )
        .map_err(|error| error.at("response"))?,
        most_specific_wins: message.most_specific_header_mutations_wins,
        discovers: source.is_some(),
        ..RouteTable::default()
    };
    if table.discovers {
        table.serve_discovered(hosts, discovered);
        return Ok(table);
    }
    table.serve(hosts).map_err(|taken| {
        let reason = format!("'{}' is a domain of another virtual host too", taken.domain);
        CompileError::invalid(format!("domains[{}]", taken.number), reason).at(at(taken.host))
    })?;
    Ok(table)
}

fn at(index: usize) -> String {
    format!("virtual_hosts[{index}]")
}

/// The virtual hosts of a table by what they were compiled from.
fn known<'a>((body, table): Previous<'a>) -> Result<AHashMap<&'a [u8], &'a Arc<VirtualHost>>, CompileError> {
    Ok(wire::part(body, VIRTUAL_HOSTS)?.values.into_iter().zip(&table.hosts).collect())
}

/// Compiles one encoded `VirtualHost`. What comes of it depends on nothing but these bytes.
pub fn virtual_host(body: &[u8], context: &Context) -> Result<Arc<VirtualHost>, CompileError> {
    let message: pb::VirtualHost = decode(body)?;
    for (set, field) in [
        (message.matcher.is_some(), "matcher"),
        (!message.rate_limits.is_empty(), "rate_limits"),
        (message.retry_policy_typed_config.is_some(), "retry_policy_typed_config"),
        (message.hedge_policy.is_some(), "hedge_policy"),
        (message.include_is_timeout_retry_header, "include_is_timeout_retry_header"),
        (!message.request_mirror_policies.is_empty(), "request_mirror_policies"),
        (!message.route_specifiers.is_empty(), "route_specifiers"),
    ] {
        if set {
            return Err(CompileError::unsupported(field, "this part of a virtual host"));
        }
    }
    let mut filters = route_filters(&message.typed_per_filter_config)?;
    if let Some(cors) = &message.cors {
        filters.cors = Some(super::http_filter::old_cors(cors).map_err(|error| error.at("cors"))?);
    }
    let scope = Scope {
        retry: retry(message.retry_policy.as_ref())?,
        buffer_limit: buffer_limit(
            &message.per_request_buffer_limit_bytes,
            &message.request_body_buffer_limit,
        ),
    };
    let routes = message.routes.iter().enumerate().map(|(index, message)| {
        route(message, &scope, context).map(Arc::new).map_err(|error| error.at(format!("routes[{index}]")))
    });
    Ok(Arc::new(VirtualHost {
        name: message.name.as_str().into(),
        domains: message.domains.iter().map(|domain| domain.to_ascii_lowercase().into()).collect(),
        routes: routes.collect::<Result<_, _>>()?,
        require_tls: match message.require_tls {
            1 => RequireTls::External,
            2 => RequireTls::All,
            _ => RequireTls::None,
        },
        request_headers: HeaderMutations::compile(
            &message.request_headers_to_add,
            &message.request_headers_to_remove,
        )
        .map_err(|error| error.at("request"))?,
        response_headers: HeaderMutations::compile(
            &message.response_headers_to_add,
            &message.response_headers_to_remove,
        )
        .map_err(|error| error.at("response"))?,
        attempt_count: message.include_request_attempt_count,
        attempt_count_in_response: message.include_attempt_count_in_response,
        filters,
    }))
}

/// What routes inherit from their virtual host.
struct Scope {
    retry: Option<Arc<RetryPolicy>>,
    buffer_limit: Option<usize>,
}

fn buffer_limit(
    old: &Option<envoy_types::pb::google::protobuf::UInt32Value>,
    new: &Option<envoy_types::pb::google::protobuf::UInt64Value>,
) -> Option<usize> {
    let new = new.as_ref().map(|limit| limit.value);
    let limit = new.or_else(|| old.as_ref().map(|limit| limit.value.into()));
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

fn route(message: &pb::Route, scope: &Scope, _context: &Context) -> Result<Route, CompileError> {
    use pb::route::Action as Message;
    for (set, field) in
        [(!message.route_specifiers.is_empty(), "route_specifiers"), (message.tracing.is_some(), "tracing")]
    {
        if set {
            return Err(CompileError::unsupported(field, "this part of a route"));
        }
    }
    let matcher = message.r#match.as_ref().ok_or_else(|| CompileError::missing("match"))?;
    let mut filters = route_filters(&message.typed_per_filter_config)?;
    let action = match &message.action {
        None => return Err(CompileError::missing("action")),
        Some(Message::Route(action)) => {
            if let Some(cors) = &action.cors {
                filters.cors =
                    Some(super::http_filter::old_cors(cors).map_err(|error| error.at("route.cors"))?);
            }
            Action::Forward(Box::new(
                forward(action, scope.retry.as_ref()).map_err(|error| error.at("route"))?,
            ))
        }
        Some(Message::Redirect(redirect_message)) => {
            Action::Redirect(redirect(redirect_message).map_err(|error| error.at("redirect"))?)
        }
        Some(Message::DirectResponse(response)) => {
            Action::Respond(direct_response(response).map_err(|error| error.at("direct_response"))?)
        }
        Some(Message::FilterAction(_)) => {
            return Err(CompileError::unsupported("filter_action", "a filter's action"));
        }
        Some(Message::NonForwardingAction(_)) => {
            return Err(CompileError::unsupported("non_forwarding_action", "a route without an action"));
        }
    };
    let operation = message.decorator.as_ref().map(|decorator| decorator.operation.as_str());
    Ok(Route {
        name: message.name.as_str().into(),
        matcher: route_match(matcher).map_err(|error| error.at("match"))?,
        action,
        request_headers: HeaderMutations::compile(
            &message.request_headers_to_add,
            &message.request_headers_to_remove,
        )
        .map_err(|error| error.at("request"))?,
        response_headers: HeaderMutations::compile(
            &message.response_headers_to_add,
            &message.response_headers_to_remove,
        )
        .map_err(|error| error.at("response"))?,
        operation: operation.filter(|operation| !operation.is_empty()).map(Into::into),
        filters,
        buffer_limit: buffer_limit(
            &message.per_request_buffer_limit_bytes,
            &message.request_body_buffer_limit,
        )
        .or(scope.buffer_limit),
    })
}

fn route_match(message: &pb::RouteMatch) -> Result<RouteMatch, CompileError> {
    for (set, field) in [
        (!message.cookies.is_empty(), "cookies"),
        (!message.dynamic_metadata.is_empty(), "dynamic_metadata"),
        (!message.filter_state.is_empty(), "filter_state"),
    ] {
        if set {
            return Err(CompileError::unsupported(field, "this match"));
        }
    }
    use route_match::PathSpecifier;
    let ignore_case = message.case_sensitive.as_ref().is_some_and(|sensitive| !sensitive.value);
    let path = match &message.path_specifier {
        None => return Err(CompileError::missing("path_specifier")),
        Some(PathSpecifier::Prefix(prefix)) if prefix == "/" => PathMatch::Any,
        Some(PathSpecifier::Prefix(prefix)) => PathMatch::Prefix(prefix.as_str().into(), ignore_case),
        Some(PathSpecifier::Path(path)) => PathMatch::Exact(path.as_str().into(), ignore_case),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            PathMatch::Segments(prefix.as_str().into(), ignore_case)
        }
        Some(PathSpecifier::SafeRegex(regex)) => {
            PathMatch::Regex(full_regex(regex).map_err(|error| error.at("safe_regex"))?)
        }
        Some(PathSpecifier::ConnectMatcher(_)) => PathMatch::Connect,
        Some(PathSpecifier::PathMatchPolicy(_)) => {
            return Err(CompileError::unsupported("path_match_policy", "a path extension"));
        }
    };
    let headers = message.headers.iter().enumerate().map(|(index, header)| {
        HeaderMatcher::compile(header).map_err(|error| error.at(format!("headers[{index}]")))
    });
    let query = message.query_parameters.iter().enumerate().map(|(index, parameter)| {
        QueryMatcher::compile(parameter).map_err(|error| error.at(format!("query_parameters[{index}]")))
    });
    let flag =
        |flag: &Option<envoy_types::pb::google::protobuf::BoolValue>| flag.as_ref().map(|flag| flag.value);
    Ok(RouteMatch {
        path,
        headers: headers.collect::<Result<_, _>>()?,
        query: query.collect::<Result<_, _>>()?,
        fraction: message
            .runtime_fraction
            .as_ref()
            .map(|fraction| Fraction::of_runtime(Some(fraction), Fraction::ALWAYS)),
        grpc: message.grpc.is_some(),
        tls: message.tls_context.as_ref().map(|tls| (flag(&tls.presented), flag(&tls.validated))),
    })
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
