//! The HTTP rules of a VirtualService as routes.

use mizzen_api::{
    Kind,
    networking::{HttpMatch, HttpRoute},
};
use mizzen_model::{ObjectName, VirtualService, workload::selects};

use super::{DEFAULT_ROUTE, action, decorator, matching};
use crate::{context::Context, envoy::route as pb, metadata};

/// Where rules are applied.
#[derive(Clone, Debug)]
pub(crate) struct At<'a> {
    /// The Gateway, or the sidecar where there is none.
    pub(crate) gateway: Option<&'a ObjectName>,
    /// The port requests come by.
    pub(crate) port: u16,
}

/// The routes of a VirtualService, in its order, as far as they can be reached.
pub(crate) fn routes(context: &Context<'_>, rules: &VirtualService, at: &At<'_>) -> Vec<pb::Route> {
    let mut routes: Vec<pb::Route> = Vec::new();
    for rule in &rules.http {
        if rule.matches.is_empty() {
            routes.push(route(context, rules, rule, None, at));
            return routes;
        }
        for matching in rule.matches.iter().filter(|matching| applies(context, matching, at)) {
            let route = route(context, rules, rule, Some(matching), at);
            let catches_all = route.r#match.as_ref().is_some_and(matching::is_catch_all);
            routes.push(route);
            if catches_all {
                return routes;
            }
        }
    }
    routes
}

/// Whether a match is for this proxy and port: decided now, not by request.
fn applies(context: &Context<'_>, matching: &HttpMatch, at: &At<'_>) -> bool {
    if matching::needs_token(matching) || matching.port.is_some_and(|port| port != u32::from(at.port)) {
        return false;
    }
    is_for(context, at, &matching.gateways, &matching.source_labels, matching.source_namespace.as_deref())
}

/// Whether conditions on the client hold. Where gateways are named, labels are not looked at.
pub(crate) fn is_for(
    context: &Context<'_>,
    at: &At<'_>,
    gateways: &[String],
    labels: &mizzen_model::Labels,
    namespace: Option<&str>,
) -> bool {
    if !gateways.is_empty() {
        let here = at.gateway.map_or_else(|| "mesh".to_owned(), ObjectName::to_string);
        return gateways.contains(&here);
    }
    selects(labels, &context.labels)
        && namespace.is_none_or(|namespace| *namespace == *context.proxy.namespace)
}

fn route(
    context: &Context<'_>,
    rules: &VirtualService,
    rule: &HttpRoute,
    matching: Option<&HttpMatch>,
    at: &At<'_>,
) -> pb::Route {
    let mut route = pb::Route {
        name: route_name(rule, matching),
        r#match: Some(matching::route_match(matching)),
        metadata: Some(metadata::of_object(Kind::VirtualService, &rules.object_name())),
        typed_per_filter_config: action::filter_settings(rule),
        stat_prefix: matching.and_then(|matching| matching.stat_prefix.clone()).unwrap_or_default(),
        ..Default::default()
    };
    if let Some(redirect) = &rule.redirect {
        action::add_headers(rule.headers.as_ref(), &mut route);
        route.action = Some(action::redirect(redirect, at.port));
    } else if let Some(response) = &rule.direct_response {
        action::add_headers(rule.headers.as_ref(), &mut route);
        route.action = Some(action::direct_response(response));
    } else {
        let operation = rule.route.first().map(|target| &target.destination);
        route.decorator = operation.map(|destination| {
            let port =
                destination.port.as_ref().and_then(|port| u16::try_from(port.number).ok()).unwrap_or(at.port);
            decorator(&destination.host, port)
        });
        action::forward(context, rule, at.port, &mut route);
    }
    route
}

fn route_name(rule: &HttpRoute, matching: Option<&HttpMatch>) -> String {
    match (&rule.name, matching.and_then(|matching| matching.name.as_ref())) {
        (Some(rule), Some(matching)) => format!("{rule}.{matching}"),
        (Some(name), None) | (None, Some(name)) => name.clone(),
        (None, None) => DEFAULT_ROUTE.to_owned(),
    }
}
