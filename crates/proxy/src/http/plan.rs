//! What will be done with a request, decided before anything is: a pure function over the compiled
//! routes and the request. The data path executes it; `mizzen explain` prints it.

use super::filter::Filters;
use super::filter::cors::Decision as Cors;
use super::filter::fault::Faults;
use super::filter::rbac::{Request as PolicyRequest, Subject, Verdict};
use super::routes::{
    Action, ClusterChoice, Forward, Redirect, RedirectPath, RequestView, RequireTls, Route, RouteTable,
    VirtualHost, replace_matched,
};
use http::{HeaderMap, Method, StatusCode};
use std::sync::Arc;

/// The decision about one request.
#[derive(Debug)]
pub struct Plan<'t> {
    /// The virtual host, when one serves the request's host.
    pub virtual_host: Option<&'t Arc<VirtualHost>>,
    /// The route, when one takes the request.
    pub route: Option<&'t Arc<Route>>,
    /// What the policies that are only counted say, each.
    pub shadow: Vec<Verdict>,
    /// Whether any policy was asked.
    pub polices: bool,
    /// Headers for the response, from CORS.
    pub response_marks: Option<HeaderMap>,
    /// What befalls the request before it is forwarded.
    pub faults: Faults,
    /// What is done.
    pub step: Step<'t>,
}

/// What is done with a request.
#[derive(Debug)]
pub enum Step<'t> {
    /// No virtual host or no route: 404, NR.
    NoRoute,
    /// Refused by policy: 403.
    Denied(Verdict),
    /// It must come over TLS: 301 to here.
    Secure(String),
    /// A CORS preflight that is answered here.
    Preflight(HeaderMap),
    /// Sent elsewhere: a status, and where.
    Redirect(StatusCode, String),
    /// Answered by configuration.
    Respond(&'t super::routes::DirectResponse),
    /// Sent to a cluster.
    Forward(&'t Forward),
}

/// What is known of the connection that decides about a request.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The connection and the request, as policy sees them.
    pub subject: Subject<'a>,
    /// Whether the request came over TLS.
    pub secure: bool,
    /// Whether it came from inside.
    pub internal: bool,
}

/// Decides about one request.
pub fn plan<'t>(
    table: &'t RouteTable,
    filters: &Filters,
    view: &RequestView<'_>,
    ground: &Ground<'_>,
) -> Plan<'t> {
    let virtual_host = table.virtual_host(view.host);
    let route = virtual_host.and_then(|host| host.route(view, table.ignore_path_parameters));
    let mut plan = Plan {
        virtual_host,
        route,
        shadow: Vec::new(),
        polices: false,
        response_marks: None,
        faults: Faults::default(),
        step: Step::NoRoute,
    };
    if let Some(denied) = policy(&mut plan, filters, view, ground) {
        plan.step = Step::Denied(denied);
        return plan;
    }
    let Some(virtual_host) = virtual_host else { return plan };
    let must_be_secure = match virtual_host.require_tls {
        RequireTls::None => false,
        RequireTls::External => !ground.internal,
        RequireTls::All => true,
    };
    if must_be_secure && !ground.secure {
        let query = if view.query.is_empty() { String::new() } else { format!("?{}", view.query) };
        let host = super::normalize::without_port(view.header.authority);
        plan.step = Step::Secure(format!("https://{host}{}{query}", view.path));
        return plan;
    }
    let Some(route) = route else { return plan };
    if filters.fault.is_some() || route.filters.fault.is_some() || virtual_host.filters.fault.is_some() {
        let scoped = route.filters.fault.as_ref().or(virtual_host.filters.fault.as_ref());
        if let Some(fault) = scoped.or(filters.fault.as_ref()) {
            let cluster = match &route.action {
                Action::Forward(forward) => match &forward.cluster {
                    ClusterChoice::Named(name) => name,
                    _ => "",
                },
                _ => "",
            };
            plan.faults = fault.decide(&view.header, cluster, view.random);
        }
    }
    if filters.cors
        && let Some(cors) = route.filters.cors.as_ref().or(virtual_host.filters.cors.as_ref())
    {
        let method = Method::from_bytes(view.header.method.as_bytes()).unwrap_or_default();
        match cors.decide(&method, view.header.headers, view.random) {
            Cors::Ignore => {}
            Cors::Mark(headers) => plan.response_marks = Some(headers),
            Cors::Preflight(headers) => {
                plan.step = Step::Preflight(headers);
                return plan;
            }
        }
    }
    plan.step = match &route.action {
        Action::Forward(forward) => Step::Forward(forward),
        Action::Respond(response) => Step::Respond(response),
        Action::Redirect(redirect) => {
            Step::Redirect(redirect.status, location(redirect, route, view, ground.secure))
        }
    };
    plan
}

/// Asks every policy; the first that refuses decides. A route's own policy replaces the filter's.
fn policy(
    plan: &mut Plan<'_>,
    filters: &Filters,
    view: &RequestView<'_>,
    ground: &Ground<'_>,
) -> Option<Verdict> {
    if filters.rbac.is_empty() {
        return None;
    }
    plan.polices = true;
    let request = PolicyRequest { header: &view.header, path: view.path };
    let subject = Subject { request: Some(request), ..ground.subject };
    let scoped = plan
        .route
        .and_then(|route| route.filters.rbac.as_ref())
        .or_else(|| plan.virtual_host.and_then(|host| host.filters.rbac.as_ref()));
    let rules = match scoped {
        Some(own) => std::slice::from_ref(own),
        None => &filters.rbac,
    };
    for rbac in rules {
        plan.shadow.extend(rbac.check_shadow(&subject));
        let verdict = rbac.check(&subject);
        if matches!(verdict, Verdict::Denied(_)) {
            return Some(verdict);
        }
    }
    None
}

/// Where a redirect leads.
fn location(redirect: &Redirect, route: &Route, view: &RequestView<'_>, secure: bool) -> String {
    let old_scheme = if secure { "https" } else { "http" };
    let scheme = redirect.scheme.as_deref().unwrap_or(old_scheme);
    let authority = view.header.authority;
    let host = redirect.host.as_deref().unwrap_or_else(|| super::normalize::without_port(authority));
    let port = match (redirect.port, &redirect.host) {
        (Some(port), _) => Some(port),
        (None, Some(_)) => None,
        (None, None) => super::normalize::port(authority),
    };
    // A port that the new scheme implies is left out, also one that the old scheme implied.
    let implied = |scheme: &str| if scheme == "https" { 443 } else { 80 };
    let port = port.filter(|port| *port != implied(scheme));
    let port =
        port.filter(|port| redirect.port.is_some() || scheme == old_scheme || *port != implied(old_scheme));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = match &redirect.path {
        RedirectPath::Keep => view.path.to_owned(),
        RedirectPath::Replace(path) => path.to_string(),
        RedirectPath::Prefix(replacement) => replace_matched(&route.matcher.path, view.path, replacement),
        RedirectPath::Regex(substitution) => substitution.apply(view.path),
    };
    // A path with a query of its own replaces the request's.
    let query = if redirect.strip_query || view.query.is_empty() || path.contains('?') {
        String::new()
    } else {
        format!("?{}", view.query)
    };
    format!("{scheme}://{host}{port}{path}{query}")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
