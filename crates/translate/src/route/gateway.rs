//! Routes of a gateway: of all plain servers of a port together, and of each server with TLS.

use std::collections::{BTreeMap, BTreeSet};

use mizzen_model::{GatewayServer, Host};

use super::{configuration, http, matching};
use crate::{context::Context, envoy::route as pb};

/// The names of all route configurations of a gateway.
pub(crate) fn names(servers: &[GatewayServer]) -> BTreeSet<String> {
    servers.iter().filter(|server| server.is_http()).map(GatewayServer::route_name).collect()
}

/// The routes of this name; nothing where no server has them.
pub(crate) fn of_name(
    context: &Context<'_>,
    servers: &[GatewayServer],
    name: &str,
) -> Option<pb::RouteConfiguration> {
    let servers: Vec<&GatewayServer> =
        servers.iter().filter(|server| server.is_http() && server.route_name() == name).collect();
    let first = servers.first()?;
    let mut hosts: BTreeMap<Host, Found> = BTreeMap::new();
    for server in &servers {
        collect(context, server, &mut hosts);
    }
    let mut virtual_hosts: Vec<pb::VirtualHost> =
        hosts.into_iter().map(|(host, found)| virtual_host(&host, first.port, found)).collect();
    if virtual_hosts.is_empty() {
        // No rule is bound: every request is answered with 404.
        virtual_hosts.push(pb::VirtualHost {
            name: format!("blackhole:{}", first.port),
            domains: vec!["*".to_owned()],
            ..Default::default()
        });
    }
    Some(configuration(name.to_owned(), virtual_hosts))
}

/// What is known of a host of a gateway.
#[derive(Default)]
struct Found {
    routes: Vec<pb::Route>,
    requires_tls: bool,
}

fn collect(context: &Context<'_>, server: &GatewayServer, hosts: &mut BTreeMap<Host, Found>) {
    let redirects = server.server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
    if redirects {
        // The redirect needs no rule.
        for host in &server.hosts {
            hosts.entry(host.host.clone()).or_default().requires_tls = true;
        }
    }
    for rules in context.snapshot().gateway_routes(&server.gateway) {
        if !rules.visibility.includes(&context.proxy.namespace) {
            continue;
        }
        let matching = server.hosts_of(rules);
        if matching.is_empty() || rules.http.is_empty() {
            continue;
        }
        let at = http::At { gateway: Some(&server.gateway), port: server.port };
        let routes = http::routes(context, rules, &at);
        for host in matching {
            let found = hosts.entry(host).or_default();
            found.requires_tls |= redirects;
            found.routes.extend(routes.iter().cloned());
        }
    }
}

fn virtual_host(host: &Host, port: u16, found: Found) -> pb::VirtualHost {
    let mut routes = found.routes;
    // Rules of several objects for one host are joined, the older first; what catches everything comes last.
    routes.sort_by_key(|route| route.r#match.as_ref().is_some_and(matching::is_catch_all));
    let require_tls = match found.requires_tls {
        true => pb::virtual_host::TlsRequirementType::All,
        false => pb::virtual_host::TlsRequirementType::None,
    };
    pb::VirtualHost {
        name: format!("{host}:{port}"),
        domains: vec![host.as_str().to_owned()],
        routes,
        require_tls: require_tls as i32,
        include_request_attempt_count: true,
        ..Default::default()
    }
}
