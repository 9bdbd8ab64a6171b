//! What a rule does with a request: where it goes and what is changed about it.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::{
    common::fault::v3::{FaultDelay as PbDelay, fault_delay},
    http::{
        cors::v3::CorsPolicy as PbCors,
        fault::v3::{FaultAbort as PbAbort, HttpFault as PbFault, fault_abort},
    },
};
use mizzen_api::networking::{
    ConsistentHash, CorsPolicy, Destination, HeaderChanges, HeaderOperations, HttpDirectResponse, HttpFault,
    HttpRedirect, HttpRoute, HttpRouteDestination, RedirectPort, UnmatchedPreflights, grpc_status,
};
use mizzen_model::{Host, Service};

use super::{FilterSettings, header_option, matching, retry};
use crate::{
    context::Context,
    envoy::{self as e, core, matcher, route as pb},
    name,
    traffic_policy::ClusterPolicy,
};

/// The cluster a destination leads to. A destination without a port means the service's only port, else the
/// port the request came by.
pub(crate) fn cluster_of(context: &Context<'_>, destination: &Destination, listen_port: u16) -> String {
    let host = Host::new(&destination.host);
    let port = port_of(context, destination, &host, listen_port);
    name::outbound_cluster(port, destination.subset.as_deref().unwrap_or_default(), &host)
}

fn port_of(context: &Context<'_>, destination: &Destination, host: &Host, listen_port: u16) -> u16 {
    let declared =
        destination.port.as_ref().and_then(|port| u16::try_from(port.number).ok()).filter(|port| *port > 0);
    declared
        .or_else(|| {
            let service = context.snapshot().service(host, context.scope.namespace())?;
            service.only_port().map(|port| port.number)
        })
        .unwrap_or(listen_port)
}

/// Forwards to one of the destinations.
pub(crate) fn forward(context: &Context<'_>, rule: &HttpRoute, listen_port: u16, route: &mut pb::Route) {
    let hash = rule.route.iter().find_map(|target| hash_of(context, &target.destination, listen_port));
    let mut action = pb::RouteAction {
        retry_policy: retry::policy(
            rule.retries.as_ref(),
            context.snapshot().mesh().default_retry.as_ref(),
            hash.is_some(),
        ),
        hash_policy: hash.iter().filter_map(hash_policy).collect(),
        request_mirror_policies: mirrors(context, rule, listen_port),
        ..Default::default()
    };
    set_timeout(&mut action, rule.timeout.map_or(Duration::ZERO, mizzen_api::Duration::as_std));
    rewrite(rule, &mut action);
    let used: Vec<&HttpRouteDestination> = match rule.route.as_slice() {
        [only] => vec![only],
        several if several.iter().all(|target| target.weight == 0) => several.iter().collect(),
        several => several.iter().filter(|target| target.weight > 0).collect(),
    };
    match used.as_slice() {
        [only] => {
            change_headers(only.headers.as_ref(), route, &mut action);
            let cluster = cluster_of(context, &only.destination, listen_port);
            action.cluster_specifier = Some(pb::route_action::ClusterSpecifier::Cluster(cluster));
        }
        several => {
            let clusters = several.iter().map(|target| weighted(context, target, listen_port)).collect();
            action.cluster_specifier =
                Some(pb::route_action::ClusterSpecifier::WeightedClusters(pb::WeightedCluster {
                    clusters,
                    ..Default::default()
                }));
        }
    }
    change_headers(rule.headers.as_ref(), route, &mut action);
    route.action = Some(pb::route::Action::Route(action));
}

/// Forwards to a service no rule is about.
pub(crate) fn forward_to(context: &Context<'_>, service: &Service, port: u16) -> pb::RouteAction {
    let rule = context.scope.destination_rule(service).map(|rule| &**rule);
    let policy = ClusterPolicy::of(rule, port, None);
    let hash = policy.load_balancer.as_ref().and_then(|balancer| balancer.consistent_hash.as_ref());
    let mut action = pb::RouteAction {
        cluster_specifier: Some(pb::route_action::ClusterSpecifier::Cluster(name::outbound_cluster(
            port,
            "",
            &service.host,
        ))),
        retry_policy: retry::policy(None, context.snapshot().mesh().default_retry.as_ref(), policy.hashes()),
        hash_policy: hash.and_then(hash_policy).into_iter().collect(),
        ..Default::default()
    };
    set_timeout(&mut action, Duration::ZERO);
    action
}

/// The limit of a whole request. Zero is none, for gRPC's own deadline header too.
#[allow(deprecated)]
pub(crate) fn set_timeout(action: &mut pb::RouteAction, timeout: Duration) {
    action.timeout = Some(e::duration(timeout));
    action.max_grpc_timeout = Some(e::duration(timeout));
}

fn weighted(
    context: &Context<'_>,
    target: &HttpRouteDestination,
    listen_port: u16,
) -> pb::weighted_cluster::ClusterWeight {
    let mut cluster = pb::weighted_cluster::ClusterWeight {
        name: cluster_of(context, &target.destination, listen_port),
        weight: Some(e::uint32(target.weight.max(1))),
        ..Default::default()
    };
    let changes = Changes::of(target.headers.as_ref());
    cluster.request_headers_to_add = changes.request_add;
    cluster.request_headers_to_remove = changes.request_remove;
    cluster.response_headers_to_add = changes.response_add;
    cluster.response_headers_to_remove = changes.response_remove;
    cluster.host_rewrite_specifier =
        changes.host.map(pb::weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral);
    cluster
}

// === load balancing by request ===

fn hash_of(context: &Context<'_>, destination: &Destination, listen_port: u16) -> Option<ConsistentHash> {
    let host = Host::new(&destination.host);
    let service = context.snapshot().service(&host, context.scope.namespace())?;
    let port = port_of(context, destination, &host, listen_port);
    let rule = context.scope.destination_rule(service).map(|rule| &**rule);
    ClusterPolicy::of(rule, port, destination.subset.as_deref()).load_balancer?.consistent_hash
}

fn hash_policy(hash: &ConsistentHash) -> Option<pb::route_action::HashPolicy> {
    use pb::route_action::hash_policy as h;
    let specifier = if let Some(name) = &hash.http_header_name {
        h::PolicySpecifier::Header(h::Header { header_name: name.clone(), ..Default::default() })
    } else if let Some(cookie) = &hash.http_cookie {
        h::PolicySpecifier::Cookie(h::Cookie {
            name: cookie.name.clone(),
            path: cookie.path.clone().unwrap_or_default(),
            ttl: cookie.ttl.map(|ttl| e::duration(ttl.as_std())),
            attributes: cookie
                .attributes
                .iter()
                .map(|attribute| h::CookieAttribute {
                    name: attribute.name.clone(),
                    value: attribute.value.clone().unwrap_or_default(),
                })
                .collect(),
        })
    } else if hash.use_source_ip == Some(true) {
        h::PolicySpecifier::ConnectionProperties(h::ConnectionProperties { source_ip: true })
    } else if let Some(name) = &hash.http_query_parameter_name {
        h::PolicySpecifier::QueryParameter(h::QueryParameter { name: name.clone() })
    } else {
        return None;
    };
    Some(pb::route_action::HashPolicy { policy_specifier: Some(specifier), ..Default::default() })
}

// === mirrors ===

fn mirrors(
    context: &Context<'_>,
    rule: &HttpRoute,
    listen_port: u16,
) -> Vec<pb::route_action::RequestMirrorPolicy> {
    let legacy = rule.mirror.iter().map(|destination| {
        let percent = rule.mirror_percentage.as_ref().map(|percentage| percentage.value);
        (destination, percent.or_else(|| rule.mirror_percent.map(f64::from)))
    });
    let listed = rule
        .mirrors
        .iter()
        .map(|mirror| (&mirror.destination, mirror.percentage.as_ref().map(|percentage| percentage.value)));
    legacy
        .chain(listed)
        .map(|(destination, percent)| (destination, percent.unwrap_or(100.0)))
        .filter(|(_, percent)| *percent > 0.0)
        .map(|(destination, percent)| pb::route_action::RequestMirrorPolicy {
            cluster: cluster_of(context, destination, listen_port),
            runtime_fraction: Some(core::RuntimeFractionalPercent {
                default_value: Some(e::fractional_percent(percent)),
                ..Default::default()
            }),
            trace_sampled: Some(e::boolean(false)),
            ..Default::default()
        })
        .collect()
}

// === rewrite and headers ===

fn rewrite(rule: &HttpRoute, action: &mut pb::RouteAction) {
    let Some(rewrite) = &rule.rewrite else { return };
    if let Some(uri) = &rewrite.uri {
        action.prefix_rewrite.clone_from(uri);
    } else if let Some(regex) = &rewrite.uri_regex_rewrite {
        action.regex_rewrite = Some(matcher::RegexMatchAndSubstitute {
            pattern: Some(e::regex_matcher(&regex.pattern)),
            substitution: regex.rewrite.clone(),
        });
    }
    if let Some(authority) = &rewrite.authority {
        action.host_rewrite_specifier =
            Some(pb::route_action::HostRewriteSpecifier::HostRewriteLiteral(authority.clone()));
    }
}

/// Changes of headers as Envoy takes them.
#[derive(Default)]
struct Changes {
    request_add: Vec<core::HeaderValueOption>,
    request_remove: Vec<String>,
    response_add: Vec<core::HeaderValueOption>,
    response_remove: Vec<String>,
    /// A new host: it is not a header like others.
    host: Option<String>,
}

impl Changes {
    fn of(changes: Option<&HeaderChanges>) -> Self {
        let Some(changes) = changes else { return Self::default() };
        let request = changes.request.clone().unwrap_or_default();
        let response = changes.response.clone().unwrap_or_default();
        let is_host =
            |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
        let host = request.set.iter().find(|(name, _)| is_host(name)).map(|(_, value)| value.clone());
        let mut plain = request;
        plain.set.retain(|name, _| !is_host(name));
        Self {
            request_add: additions(&plain),
            request_remove: plain.remove,
            response_add: additions(&response),
            response_remove: response.remove,
            host,
        }
    }
}

fn additions(operations: &HeaderOperations) -> Vec<core::HeaderValueOption> {
    use core::header_value_option::HeaderAppendAction as Action;
    let set =
        operations.set.iter().map(|(name, value)| header_option(name, value, Action::OverwriteIfExistsOrAdd));
    let add =
        operations.add.iter().map(|(name, value)| header_option(name, value, Action::AppendIfExistsOrAdd));
    set.chain(add).collect()
}

fn change_headers(changes: Option<&HeaderChanges>, route: &mut pb::Route, action: &mut pb::RouteAction) {
    if let Some(host) = add_headers(changes, route) {
        action.host_rewrite_specifier =
            Some(pb::route_action::HostRewriteSpecifier::HostRewriteLiteral(host));
    }
}

/// Adds changes of headers to a route; answers the new host, if one is set.
pub(crate) fn add_headers(changes: Option<&HeaderChanges>, route: &mut pb::Route) -> Option<String> {
    let changes = Changes::of(changes);
    route.request_headers_to_add.extend(changes.request_add);
    route.request_headers_to_remove.extend(changes.request_remove);
    route.response_headers_to_add.extend(changes.response_add);
    route.response_headers_to_remove.extend(changes.response_remove);
    changes.host
}

// === answers of the proxy's own ===

pub(crate) fn redirect(redirect: &HttpRedirect, listen_port: u16) -> pb::route::Action {
    use pb::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
    let code = match redirect.redirect_code.unwrap_or(301) {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    let path = match (&redirect.uri, &redirect.prefix_rewrite) {
        (Some(uri), _) => Some(PathRewriteSpecifier::PathRedirect(uri.clone())),
        (None, Some(prefix)) => Some(PathRewriteSpecifier::PrefixRewrite(prefix.clone())),
        (None, None) => None,
    };
    let port = match (redirect.port, redirect.derive_port) {
        (Some(port), _) => port,
        (None, Some(RedirectPort::FromRequestPort)) => u32::from(listen_port),
        (None, _) => 0,
    };
    // The scheme's own port is not written out.
    let implied = matches!((redirect.scheme.as_deref(), port), (Some("http"), 80) | (Some("https"), 443));
    pb::route::Action::Redirect(pb::RedirectAction {
        host_redirect: redirect.authority.clone().unwrap_or_default(),
        port_redirect: if implied { 0 } else { port },
        response_code: code as i32,
        scheme_rewrite_specifier: redirect.scheme.clone().map(SchemeRewriteSpecifier::SchemeRedirect),
        path_rewrite_specifier: path,
        ..Default::default()
    })
}

pub(crate) fn direct_response(response: &HttpDirectResponse) -> pb::route::Action {
    let body = response.body.as_ref().and_then(|body| {
        let specifier = match (&body.string, &body.bytes) {
            (Some(text), _) => core::data_source::Specifier::InlineString(text.clone()),
            (None, Some(encoded)) => core::data_source::Specifier::InlineBytes(decode_base64(encoded)?),
            (None, None) => return None,
        };
        Some(core::DataSource { specifier: Some(specifier), ..Default::default() })
    });
    pb::route::Action::DirectResponse(pb::DirectResponseAction {
        status: response.status,
        body,
        ..Default::default()
    })
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

// === settings of filters ===

pub(crate) fn filter_settings(rule: &HttpRoute) -> FilterSettings {
    let mut settings = FilterSettings::new();
    if let Some(fault) = &rule.fault {
        settings.insert("envoy.filters.http.fault".to_owned(), e::any(&fault_settings(fault)));
    }
    if let Some(cors) = &rule.cors_policy {
        settings.insert("envoy.filters.http.cors".to_owned(), e::any(&cors_settings(cors)));
    }
    settings
}

fn fault_settings(fault: &HttpFault) -> PbFault {
    // Without a percentage a fault never happens.
    let delay = fault.delay.as_ref().and_then(|delay| {
        let length = delay.fixed_delay?;
        let percent = delay
            .percentage
            .as_ref()
            .map(|percentage| percentage.value)
            .or_else(|| delay.percent.map(f64::from));
        Some(PbDelay {
            percentage: Some(e::fractional_percent(percent.unwrap_or_default())),
            fault_delay_secifier: Some(fault_delay::FaultDelaySecifier::FixedDelay(e::duration(
                length.as_std(),
            ))),
        })
    });
    let abort = fault.abort.as_ref().and_then(|abort| {
        let kind = match (abort.http_status, abort.grpc_status.as_deref()) {
            (Some(status), _) => fault_abort::ErrorType::HttpStatus(status),
            (None, Some(status)) => fault_abort::ErrorType::GrpcStatus(grpc_status(status)?),
            (None, None) => return None,
        };
        let percent = abort.percentage.as_ref().map(|percentage| percentage.value).unwrap_or_default();
        Some(PbAbort {
            percentage: Some(e::fractional_percent(percent)),
            error_type: Some(kind),
            ..Default::default()
        })
    });
    PbFault { delay, abort, ..Default::default() }
}

fn cors_settings(cors: &CorsPolicy) -> PbCors {
    let legacy =
        cors.allow_origin.iter().map(|origin| if origin == "*" { e::regex(".*") } else { e::exact(origin) });
    let forward = match cors.unmatched_preflights.unwrap_or_default() {
        UnmatchedPreflights::Unspecified | UnmatchedPreflights::Forward => true,
        UnmatchedPreflights::Ignore => false,
    };
    PbCors {
        allow_origin_string_match: cors
            .allow_origins
            .iter()
            .map(matching::string_matcher)
            .chain(legacy)
            .collect(),
        allow_methods: cors.allow_methods.join(","),
        allow_headers: cors.allow_headers.join(","),
        expose_headers: cors.expose_headers.join(","),
        max_age: cors.max_age.map(|age| age.as_std().as_secs().to_string()).unwrap_or_default(),
        allow_credentials: cors.allow_credentials.map(e::boolean),
        filter_enabled: Some(core::RuntimeFractionalPercent {
            default_value: Some(e::fractional_percent(100.0)),
            ..Default::default()
        }),
        forward_not_matching_preflights: Some(e::boolean(forward)),
        ..Default::default()
    }
}
