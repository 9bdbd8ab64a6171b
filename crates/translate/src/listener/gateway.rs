//! The listeners of a gateway: one a port, with a filter chain for each TLS server.

use std::collections::{BTreeMap, BTreeSet};

use mizzen_api::networking::ServerTlsMode;
use mizzen_model::{GatewayServer, Host};

use super::{TLS, any_address, tcp, tls_inspector};
use crate::{
    access_log,
    context::Context,
    envoy::{self as e, core, listener as pb},
    filters::Place,
    http_connection_manager::{self, Routes},
    route::http,
    tls,
};

/// The servers of a gateway.
pub(crate) fn servers(context: &Context<'_>) -> Vec<GatewayServer> {
    context.snapshot().gateway_servers(&context.proxy.namespace, &context.proxy.name, &context.labels)
}

/// All listeners of a gateway.
pub(crate) fn all(context: &Context<'_>) -> Vec<pb::Listener> {
    let servers = servers(context);
    let mut ports: BTreeMap<(String, u16), Vec<&GatewayServer>> = BTreeMap::new();
    for server in &servers {
        let bind = server.server.bind.clone().filter(|bind| !bind.is_empty());
        let address = bind.unwrap_or_else(|| any_address(context).to_owned());
        ports.entry((address, server.listen_port)).or_default().push(server);
    }
    ports
        .into_iter()
        .filter_map(|((address, port), servers)| listener(context, &address, port, &servers))
        .collect()
}

/// A listener of the servers that can share a port with the first of them.
fn listener(
    context: &Context<'_>,
    address: &str,
    port: u16,
    servers: &[&GatewayServer],
) -> Option<pb::Listener> {
    let first = servers.first()?;
    let plain_http = |server: &GatewayServer| server.protocol.is_http() && !server.terminates_tls();
    let filter_chains = if plain_http(first) {
        vec![pb::FilterChain {
            filters: vec![manager(context, first, &format!("outbound_{address}_{port}"))],
            ..Default::default()
        }]
    } else if first.protocol.is_tcp() && !first.protocol.is_tls() && !first.terminates_tls() {
        plain_tcp(context, servers)
    } else {
        let mut taken = BTreeSet::new();
        servers
            .iter()
            .filter(|server| server.protocol.is_tls() || server.terminates_tls())
            .flat_map(|server| tls_chains(context, server, &mut taken))
            .collect()
    };
    if filter_chains.is_empty() {
        return None;
    }
    let by_server_name = !plain_http(first) && (first.protocol.is_tls() || first.terminates_tls());
    Some(pb::Listener {
        name: format!("{address}_{port}"),
        address: Some(e::socket_address(address, port)),
        filter_chains,
        listener_filters: if by_server_name { vec![tls_inspector()] } else { Vec::new() },
        traffic_direction: core::TrafficDirection::Outbound as i32,
        access_log: access_log::of_unmatched(context, Place::Gateway.side()),
        ..Default::default()
    })
}

fn manager(context: &Context<'_>, server: &GatewayServer, stat_prefix: &str) -> pb::Filter {
    let routes = Routes::Named(server.route_name());
    http_connection_manager::filter(context, Place::Gateway, stat_prefix, routes, server.protocol)
}

/// The server names a server's chain matches. One for every name is matched by none.
fn server_names(server: &GatewayServer, taken: &mut BTreeSet<String>) -> Option<Vec<String>> {
    let names: BTreeSet<String> = server.hosts.iter().map(|host| host.host.as_str().to_owned()).collect();
    // A name another server has is that one's: two chains must not match alike.
    let free: Vec<String> = names.into_iter().filter(|name| taken.insert(name.clone())).collect();
    match free.as_slice() {
        [] => None,
        names if names.iter().any(|name| name == "*") => Some(Vec::new()),
        _ => Some(free),
    }
}

fn tls_chains(
    context: &Context<'_>,
    server: &GatewayServer,
    taken: &mut BTreeSet<String>,
) -> Vec<pb::FilterChain> {
    let mode = server.server.tls.as_ref().and_then(|tls| tls.mode).unwrap_or_default();
    if matches!(mode, ServerTlsMode::Passthrough) {
        return passthrough(context, server, taken);
    }
    let settings = server.server.tls.as_ref();
    let socket = settings.and_then(|settings| tls::gateway_server(context.proxy, settings, server.is_http()));
    let Some(socket) = socket else { return Vec::new() };
    let Some(names) = server_names(server, taken) else { return Vec::new() };
    let filters = if server.is_http() {
        let prefix = format!("outbound_{}_{}", any_address(context), server.listen_port);
        vec![manager(context, server, &prefix)]
    } else {
        match tcp_rule(context, server) {
            Some(filters) => filters,
            None => return Vec::new(),
        }
    };
    vec![pb::FilterChain {
        name: server.route_name(),
        filter_chain_match: Some(pb::FilterChainMatch {
            server_names: names,
            transport_protocol: TLS.to_owned(),
            ..Default::default()
        }),
        filters,
        transport_socket: Some(e::transport_socket(tls::TLS_SOCKET, &socket)),
        ..Default::default()
    }]
}

/// TLS that goes through unopened, by the server names of VirtualServices' TLS rules.
fn passthrough(
    context: &Context<'_>,
    server: &GatewayServer,
    taken: &mut BTreeSet<String>,
) -> Vec<pb::FilterChain> {
    let mut chains = Vec::new();
    let at = http::At { gateway: Some(&server.gateway), port: server.port };
    for rules in context.snapshot().gateway_routes(&server.gateway) {
        let hosts = server.hosts_of(rules);
        if !rules.visibility.includes(&context.proxy.namespace) || hosts.is_empty() {
            continue;
        }
        for rule in &rules.tls {
            for matching in &rule.matches {
                let here = matching.port.is_none_or(|port| port == u32::from(server.port))
                    && http::is_for(
                        context,
                        &at,
                        &matching.gateways,
                        &matching.source_labels,
                        matching.source_namespace.as_deref(),
                    );
                let names: Vec<String> = matching
                    .sni_hosts
                    .iter()
                    .map(|name| Host::new(name))
                    .filter(|name| hosts.iter().any(|host| host.overlaps(name)))
                    .map(|name| name.as_str().to_owned())
                    .filter(|name| here && taken.insert(name.clone()))
                    .collect();
                if names.is_empty() {
                    continue;
                }
                chains.push(pb::FilterChain {
                    filter_chain_match: Some(pb::FilterChainMatch {
                        server_names: names.into_iter().filter(|name| name != "*").collect(),
                        transport_protocol: TLS.to_owned(),
                        ..Default::default()
                    }),
                    filters: tcp::to_destinations(context, Place::Gateway, &rule.route, server.port),
                    ..Default::default()
                });
            }
        }
    }
    chains
}

/// The first TCP rule for a server.
fn tcp_rule(context: &Context<'_>, server: &GatewayServer) -> Option<Vec<pb::Filter>> {
    let at = http::At { gateway: Some(&server.gateway), port: server.port };
    let rules = context.snapshot().gateway_routes(&server.gateway).iter();
    let bound = rules.filter(|rules| {
        rules.visibility.includes(&context.proxy.namespace) && !server.hosts_of(rules).is_empty()
    });
    bound
        .flat_map(|rules| &rules.tcp)
        .find(|rule| {
            rule.matches.is_empty()
                || rule.matches.iter().any(|matching| {
                    matching.port.is_none_or(|port| port == u32::from(server.port))
                        && http::is_for(
                            context,
                            &at,
                            &matching.gateways,
                            &matching.source_labels,
                            matching.source_namespace.as_deref(),
                        )
                })
        })
        .map(|rule| tcp::to_destinations(context, Place::Gateway, &rule.route, server.port))
}

fn plain_tcp(context: &Context<'_>, servers: &[&GatewayServer]) -> Vec<pb::FilterChain> {
    let filters = servers.iter().find_map(|server| tcp_rule(context, server));
    filters.map(|filters| pb::FilterChain { filters, ..Default::default() }).into_iter().collect()
}
