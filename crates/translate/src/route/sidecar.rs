//! Routes of a sidecar: by port, or by host and port where the port's protocol is found out by sniffing.

use std::collections::BTreeSet;

use mizzen_api::Kind;
use mizzen_model::{Host, Port, Registry, Service, VirtualService};

use super::{DEFAULT_ROUTE, action, configuration, decorator, discovered, everything, http, unknown_hosts};
use crate::{
    context::Context,
    envoy::{self as e, route as pb},
    inbound::InboundPort,
    metadata, name,
};

/// The port that rules for hosts nobody knows apply on.
const UNKNOWN_HOST_PORT: u16 = 80;

/// The names of all route configurations a sidecar's listeners ask for.
pub(crate) fn names(context: &Context<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for service in context.scope.services() {
        for port in service.ports.iter().filter(|port| context.scope.sees_port(service, port.number)) {
            if port.protocol.is_http() {
                names.insert(port.number.to_string());
            } else if port.protocol.is_sniffed() {
                names.insert(sniffed_name(service, port));
            }
        }
    }
    names
}

/// The name of the routes of a port whose protocol is found out.
pub(crate) fn sniffed_name(service: &Service, port: &Port) -> String {
    format!("{}:{}", service.host, port.number)
}

/// The routes of this name; nothing where no listener of the sidecar asks for them.
pub(crate) fn of_name(context: &Context<'_>, name: &str) -> Option<pb::RouteConfiguration> {
    if let Some((host, port)) = name.rsplit_once(':') {
        let service = context.scope.service(&Host::new(host))?;
        let port =
            service.port(port.parse().ok()?).filter(|port| context.scope.sees_port(service, port.number))?;
        let mut virtual_host = of_service(context, service, port);
        virtual_host.domains = vec!["*".to_owned()];
        return Some(configuration(name.to_owned(), vec![virtual_host]));
    }
    let number: u16 = name.parse().ok()?;
    if context.proxy.virtual_host_discovery {
        return Some(discovered(number.to_string(), vec![unknown_hosts(context)]));
    }
    Some(of_port(context, number))
}

/// The virtual hosts of all ports, each with the name of its route configuration.
pub(crate) fn virtual_hosts(context: &Context<'_>) -> Vec<(String, pb::VirtualHost)> {
    let of_services = context.scope.services().flat_map(|service| of_all_ports(context, service));
    let unknown = context.scope.virtual_services().filter_map(|(host, rules)| of_rule(context, host, rules));
    of_services.chain(unknown).collect()
}

/// Those of one host.
pub(crate) fn virtual_hosts_of(context: &Context<'_>, host: &Host) -> Vec<(String, pb::VirtualHost)> {
    match context.scope.service(host) {
        Some(service) => of_all_ports(context, service),
        None => {
            let rules = context.scope.own_virtual_service(host);
            rules.and_then(|rules| of_rule(context, host, &rules)).into_iter().collect()
        }
    }
}

fn of_all_ports(context: &Context<'_>, service: &Service) -> Vec<(String, pb::VirtualHost)> {
    let ports = service.ports.iter().filter_map(|port| http_port(context, service, port.number));
    ports.map(|port| (port.number.to_string(), of_service(context, service, port))).collect()
}

/// The virtual host of a host that has rules of its own and no service.
fn of_rule(context: &Context<'_>, host: &Host, rules: &VirtualService) -> Option<(String, pb::VirtualHost)> {
    let found = !rules.http.is_empty() && !is_service(context, host);
    found.then(|| (UNKNOWN_HOST_PORT.to_string(), of_unknown_host(context, host, rules, UNKNOWN_HOST_PORT)))
}

/// The port of this number, if it is HTTP and the proxy sees it.
fn http_port<'a>(context: &Context<'_>, service: &'a Service, number: u16) -> Option<&'a Port> {
    let port = service.port(number).filter(|port| port.protocol.is_http());
    port.filter(|_| context.scope.sees_port(service, number))
}

/// The routes of all HTTP services on a port.
fn of_port(context: &Context<'_>, number: u16) -> pb::RouteConfiguration {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut virtual_hosts = Vec::new();
    for service in context.scope.services() {
        let Some(port) = http_port(context, service, number) else { continue };
        push(&mut virtual_hosts, &mut taken, of_service(context, service, port));
    }
    if number == UNKNOWN_HOST_PORT {
        let unknown =
            context.scope.virtual_services().filter_map(|(host, rules)| of_rule(context, host, rules));
        unknown.for_each(|(_, host)| push(&mut virtual_hosts, &mut taken, host));
    }
    if !taken.contains("*") {
        virtual_hosts.push(unknown_hosts(context));
    }
    configuration(number.to_string(), virtual_hosts)
}

/// Domains must be unique: who came first keeps one.
fn push(hosts: &mut Vec<pb::VirtualHost>, taken: &mut BTreeSet<String>, mut host: pb::VirtualHost) {
    host.domains.retain(|domain| taken.insert(domain.clone()));
    if !host.domains.is_empty() {
        hosts.push(host);
    }
}

fn is_service(context: &Context<'_>, host: &Host) -> bool {
    if host.is_wildcard() {
        return context.snapshot().declarations(host).iter().any(|service| service.host == *host)
            || context.scope.services().any(|service| host.covers(&service.host));
    }
    context.scope.service(host).is_some()
}

fn of_service(context: &Context<'_>, service: &Service, port: &Port) -> pb::VirtualHost {
    let rules = context.scope.virtual_service(&service.host).filter(|rules| !rules.http.is_empty());
    let at = http::At { gateway: None, port: port.number };
    let (routes, metadata) = match rules {
        Some(rules) => {
            let described = metadata::of_object(Kind::VirtualService, &rules.object_name());
            (http::routes(context, &rules, &at), Some(described))
        }
        None => (vec![default_route(context, service, port.number)], None),
    };
    pb::VirtualHost {
        name: format!("{}:{}", service.host, port.number),
        domains: domains(context, service),
        routes,
        include_request_attempt_count: true,
        metadata,
        ..Default::default()
    }
}

fn of_unknown_host(context: &Context<'_>, host: &Host, rules: &VirtualService, port: u16) -> pb::VirtualHost {
    pb::VirtualHost {
        name: format!("{host}:{port}"),
        domains: vec![host.as_str().to_owned()],
        routes: http::routes(context, rules, &http::At { gateway: None, port }),
        include_request_attempt_count: true,
        metadata: Some(metadata::of_object(Kind::VirtualService, &rules.object_name())),
        ..Default::default()
    }
}

/// The route of a service no rule is about.
pub(crate) fn default_route(context: &Context<'_>, service: &Service, port: u16) -> pb::Route {
    pb::Route {
        name: DEFAULT_ROUTE.to_owned(),
        r#match: Some(everything()),
        decorator: Some(decorator(service.host.as_str(), port)),
        action: Some(pb::route::Action::Route(action::forward_to(context, service, port))),
        ..Default::default()
    }
}

/// All names clients of the proxy's namespace may use for a service.
fn domains(context: &Context<'_>, service: &Service) -> Vec<String> {
    let host = service.host.as_str();
    let mut domains = vec![host.to_owned()];
    let mut short = Vec::new();
    if service.registry == Registry::Kubernetes {
        let (name, namespace) = (&service.name, &service.namespace);
        if *service.namespace == *context.proxy.namespace {
            short.push(name.to_string());
        }
        short.push(format!("{name}.{namespace}"));
        short.push(format!("{name}.{namespace}.svc"));
    }
    domains.extend(short);
    if !service.host.is_wildcard() {
        domains.push(format!("{host}."));
    }
    if service.headless {
        // The pods of a StatefulSet have names of their own below the service's.
        let below: Vec<String> = domains.iter().map(|domain| format!("*.{domain}")).collect();
        domains.extend(below);
    }
    for address in service.single_addresses().chain(service.allocated) {
        domains.push(if address.is_ipv6() { format!("[{address}]") } else { address.to_string() });
    }
    domains
}

/// The routes of one of the workload's own ports: all of it goes to the application.
pub(crate) fn inbound(_context: &Context<'_>, port: &InboundPort) -> pb::RouteConfiguration {
    let cluster = name::inbound_cluster(port.number);
    let mut action = pb::RouteAction {
        cluster_specifier: Some(pb::route_action::ClusterSpecifier::Cluster(cluster.clone())),
        ..Default::default()
    };
    action::set_timeout(&mut action, std::time::Duration::ZERO);
    let decorated = port.known_as.as_ref().map(|(host, port)| decorator(host.as_str(), *port));
    let virtual_host = pb::VirtualHost {
        name: format!("inbound|http|{}", port.service_port()),
        domains: vec!["*".to_owned()],
        routes: vec![pb::Route {
            name: DEFAULT_ROUTE.to_owned(),
            r#match: Some(everything()),
            decorator: decorated,
            action: Some(pb::route::Action::Route(action)),
            ..Default::default()
        }],
        ..Default::default()
    };
    pb::RouteConfiguration {
        name: cluster,
        virtual_hosts: vec![virtual_host],
        validate_clusters: Some(e::boolean(false)),
        ..Default::default()
    }
}
