//! What a sidecar's application dials: one listener that takes every connection, and one for each address
//! and port that something is known of. HTTP of a port is shared by all services; what is not HTTP is told
//! apart by address, and by server name where there is no address.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ipnet::IpNet;
use mizzen_model::{EndpointAddress, Port, Protocol, Resolution, Service, VirtualService};

use super::{
    PLAIN_HTTP, RAW_BUFFER, TLS, any_address, detection_timeout, http_inspector, strings, tcp, tls_inspector,
};
use crate::{
    access_log,
    context::Context,
    envoy::{self as e, core, listener as pb},
    filters::Place,
    http_connection_manager::{self, Routes},
    name,
    proxy::Interception,
    route::{http, sidecar},
};

/// The port all outbound connections are redirected to.
const OUTBOUND_PORT: u16 = 15001;

/// All outbound listeners of a sidecar.
pub(crate) fn all(context: &Context<'_>) -> Vec<pb::Listener> {
    let mut listeners = vec![virtual_outbound(context)];
    let planned = plan(context);
    listeners
        .extend(planned.into_iter().map(|((address, port), plan)| listener(context, &address, port, plan)));
    listeners
}

/// Takes every connection and hands it to the listener of its destination, or answers for unknown ones.
fn virtual_outbound(context: &Context<'_>) -> pb::Listener {
    let to_itself = pb::FilterChain {
        name: "virtualOutbound-blackhole".to_owned(),
        filter_chain_match: Some(pb::FilterChainMatch {
            destination_port: Some(e::uint32(u32::from(OUTBOUND_PORT))),
            ..Default::default()
        }),
        filters: tcp::to_cluster(context, Place::Outbound, name::BLACK_HOLE_CLUSTER),
        ..Default::default()
    };
    let anything = pb::FilterChain {
        name: "virtualOutbound-catchall-tcp".to_owned(),
        filters: tcp::to_cluster(context, Place::Outbound, unknown_destination(context)),
        ..Default::default()
    };
    pb::Listener {
        name: name::VIRTUAL_OUTBOUND.to_owned(),
        address: Some(e::socket_address(any_address(context), OUTBOUND_PORT)),
        use_original_dst: Some(e::boolean(true)),
        transparent: (context.proxy.interception == Interception::Tproxy).then(|| e::boolean(true)),
        filter_chains: vec![to_itself, anything],
        traffic_direction: core::TrafficDirection::Outbound as i32,
        access_log: access_log::of_unmatched(context, Place::Outbound.side()),
        ..Default::default()
    }
}

fn unknown_destination(context: &Context<'_>) -> &'static str {
    if context.scope.allows_any() { name::PASSTHROUGH_CLUSTER } else { name::BLACK_HOLE_CLUSTER }
}

/// What is known of an address and port.
#[derive(Default)]
struct Plan {
    /// The name of HTTP's routes.
    http: Option<String>,
    /// Chains for certain server names or destinations.
    narrow: Vec<Narrow>,
    /// What other connections are forwarded to.
    tcp: Option<Vec<pb::Filter>>,
    /// Whether HTTP has to be told from other protocols.
    sniffed: bool,
}

struct Narrow {
    server_names: Vec<String>,
    destinations: Vec<IpNet>,
    filters: Vec<pb::Filter>,
}

type Plans = BTreeMap<(String, u16), Plan>;

/// Goes over everything the sidecar sees, the declaration that counts first first.
fn plan(context: &Context<'_>) -> Plans {
    let mut plans = Plans::new();
    let mut services: Vec<_> = context.scope.services().collect();
    services.sort_by(|a, b| a.precedence(b));
    for service in services {
        for port in service.ports.iter().filter(|port| context.scope.sees_port(service, port.number)) {
            plan_port(context, service, port, &mut plans);
        }
    }
    plans
}

fn plan_port(context: &Context<'_>, service: &Service, port: &Port, plans: &mut Plans) {
    let any = any_address(context).to_owned();
    if port.protocol.is_http() {
        let plan = plans.entry((any, port.number)).or_default();
        plan.http.get_or_insert_with(|| port.number.to_string());
        return;
    }
    let addresses = dialled(context, service, port.number);
    if port.protocol.is_sniffed() {
        let routes = sidecar::sniffed_name(service, port);
        if addresses.is_empty() {
            let plan = plans.entry((any, port.number)).or_default();
            plan.sniffed = true;
            plan.http.get_or_insert_with(|| port.number.to_string());
            plan.add(context, service, port, &[]);
            return;
        }
        for address in addresses {
            let plan = plans.entry((address.to_string(), port.number)).or_default();
            plan.sniffed = true;
            plan.http.get_or_insert_with(|| routes.clone());
            plan.add(context, service, port, &[]);
        }
        return;
    }
    let ranges: Vec<IpNet> =
        service.addresses.iter().filter(|net| net.prefix_len() < net.max_prefix_len()).copied().collect();
    if addresses.is_empty() || !ranges.is_empty() {
        plans.entry((any, port.number)).or_default().add(context, service, port, &ranges);
    }
    for address in addresses {
        plans.entry((address.to_string(), port.number)).or_default().add(context, service, port, &[]);
    }
}

/// The addresses clients dial for a service: its own, the allocated one where the proxy answers DNS, and for
/// a headless service those of its endpoints.
fn dialled(context: &Context<'_>, service: &Service, port: u16) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = service.single_addresses().collect();
    if addresses.is_empty() && context.proxy.dns_capture {
        addresses.extend(service.allocated);
    }
    if service.headless && service.resolution == Resolution::Passthrough {
        let endpoints = context.snapshot().endpoints(&service.key());
        let of_port = endpoints.iter().flat_map(|endpoints| endpoints.of_port(port));
        let others = of_port.filter_map(|endpoint| match endpoint.address {
            EndpointAddress::Ip(address) => Some(address),
            _ => None,
        });
        addresses.extend(others);
    }
    // The proxy binds none of them, so families do not matter to it; but it is dialled by its own only.
    let ipv4 = context.proxy.addresses.iter().any(IpAddr::is_ipv4);
    let ipv6 = context.proxy.addresses.iter().any(IpAddr::is_ipv6);
    addresses.retain(|address| if address.is_ipv4() { ipv4 } else { ipv6 });
    addresses.dedup();
    addresses
}

impl Plan {
    /// What happens to connections of a service that are not HTTP: by its rules, else to its cluster.
    fn add(&mut self, context: &Context<'_>, service: &Service, port: &Port, ranges: &[IpNet]) {
        let rules = context.scope.virtual_service(&service.host);
        if let Some(rules) = rules.as_deref() {
            let at = http::At { gateway: None, port: port.number };
            if self.add_tls_rules(context, rules, &at) {
                return;
            }
            if self.add_tcp_rules(context, rules, &at, ranges) {
                return;
            }
        }
        let filters = forward(context, service, port);
        let has_address = service.single_addresses().next().is_some()
            || (context.proxy.dns_capture && service.allocated.is_some())
            || service.headless;
        if !ranges.is_empty() {
            self.narrow.push(Narrow {
                server_names: sni_of(service, port),
                destinations: ranges.to_vec(),
                filters,
            });
        } else if port.protocol.is_tls() && !has_address {
            let server_names = sni_of(service, port);
            self.push_named(server_names, Vec::new(), filters);
        } else if self.tcp.is_none() {
            self.tcp = Some(filters);
        }
    }

    /// A chain for server names nobody has taken yet: two chains with the same match are an error.
    fn push_named(&mut self, server_names: Vec<String>, destinations: Vec<IpNet>, filters: Vec<pb::Filter>) {
        let taken = |name: &String| {
            self.narrow
                .iter()
                .any(|chain| chain.destinations == destinations && chain.server_names.contains(name))
        };
        let server_names: Vec<String> = server_names.into_iter().filter(|name| !taken(name)).collect();
        if !server_names.is_empty() {
            self.narrow.push(Narrow { server_names, destinations, filters });
        }
    }

    /// Whether any TLS rule was for here.
    fn add_tls_rules(&mut self, context: &Context<'_>, rules: &VirtualService, at: &http::At<'_>) -> bool {
        let mut added = false;
        for rule in &rules.tls {
            for matching in &rule.matches {
                let here = matching.port.is_none_or(|port| port == u32::from(at.port))
                    && http::is_for(
                        context,
                        at,
                        &matching.gateways,
                        &matching.source_labels,
                        matching.source_namespace.as_deref(),
                    );
                if here {
                    let destinations =
                        matching.destination_subnets.iter().filter_map(|net| parse_net(net)).collect();
                    let filters = tcp::to_destinations(context, Place::Outbound, &rule.route, at.port);
                    let names = matching.sni_hosts.iter().map(|name| server_name(name)).collect();
                    self.push_named(names, destinations, filters);
                    added = true;
                }
            }
        }
        added
    }

    /// Whether any TCP rule was for here. The first that matches everything takes what is left.
    fn add_tcp_rules(
        &mut self,
        context: &Context<'_>,
        rules: &VirtualService,
        at: &http::At<'_>,
        ranges: &[IpNet],
    ) -> bool {
        let mut added = false;
        for rule in &rules.tcp {
            let filters = || tcp::to_destinations(context, Place::Outbound, &rule.route, at.port);
            if rule.matches.is_empty() {
                self.take_rest(ranges, filters());
                return true;
            }
            for matching in &rule.matches {
                let here = matching.port.is_none_or(|port| port == u32::from(at.port))
                    && http::is_for(
                        context,
                        at,
                        &matching.gateways,
                        &matching.source_labels,
                        matching.source_namespace.as_deref(),
                    );
                if !here {
                    continue;
                }
                added = true;
                let destinations: Vec<IpNet> =
                    matching.destination_subnets.iter().filter_map(|net| parse_net(net)).collect();
                if destinations.is_empty() {
                    self.take_rest(ranges, filters());
                    return true;
                }
                self.narrow.push(Narrow { server_names: Vec::new(), destinations, filters: filters() });
            }
        }
        added
    }

    fn take_rest(&mut self, ranges: &[IpNet], filters: Vec<pb::Filter>) {
        if !ranges.is_empty() {
            self.narrow.push(Narrow { server_names: Vec::new(), destinations: ranges.to_vec(), filters });
        } else if self.tcp.is_none() {
            self.tcp = Some(filters);
        }
    }
}

fn forward(context: &Context<'_>, service: &Service, port: &Port) -> Vec<pb::Filter> {
    use mizzen_api::{
        common::PortSelector,
        networking::{Destination, RouteDestination},
    };
    let destination = RouteDestination {
        destination: Destination {
            host: service.host.as_str().to_owned(),
            port: Some(PortSelector { number: u32::from(port.number) }),
            ..Destination::default()
        },
        ..RouteDestination::default()
    };
    tcp::to_destinations(context, Place::Outbound, &[destination], port.number)
}

/// The server names of a service's port: its host, where TLS shows one.
fn sni_of(service: &Service, port: &Port) -> Vec<String> {
    match port.protocol {
        Protocol::Https | Protocol::Tls => vec![server_name(service.host.as_str())],
        _ => Vec::new(),
    }
}

/// A server name as filter chains match it: `*` alone is every name, which is no match at all.
fn server_name(text: &str) -> String {
    text.to_ascii_lowercase()
}

fn parse_net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// A listener as planned. It binds nothing: connections are handed to it by their destination.
fn listener(context: &Context<'_>, address: &str, port: u16, plan: Plan) -> pb::Listener {
    let Plan { http, narrow, tcp, sniffed } = plan;
    let has_narrow = !narrow.is_empty();
    let mut filter_chains: Vec<pb::FilterChain> = narrow.into_iter().map(chain).collect();
    let by_bytes = http.is_some();
    if let Some(routes) = http {
        filter_chains.push(pb::FilterChain {
            filter_chain_match: Some(pb::FilterChainMatch {
                transport_protocol: RAW_BUFFER.to_owned(),
                application_protocols: strings(&PLAIN_HTTP),
                ..Default::default()
            }),
            filters: vec![http_connection_manager::filter(
                context,
                Place::Outbound,
                &format!("outbound_{address}_{port}"),
                Routes::Named(routes),
                Protocol::Http,
            )],
            ..Default::default()
        });
    }
    let rest = Some(match tcp {
        Some(filters) => pb::FilterChain { filters, ..Default::default() },
        None => pb::FilterChain {
            name: "PassthroughFilterChain".to_owned(),
            filters: tcp::to_cluster(context, Place::Outbound, unknown_destination(context)),
            ..Default::default()
        },
    });
    let mut listener_filters = Vec::new();
    if by_bytes || has_narrow {
        listener_filters.push(tls_inspector());
    }
    if by_bytes {
        listener_filters.push(http_inspector());
    }
    let timeout = detection_timeout(context);
    // A listener needs a chain of its own besides the one for what is left.
    let (filter_chains, default_filter_chain) =
        if filter_chains.is_empty() { (rest.into_iter().collect(), None) } else { (filter_chains, rest) };
    pb::Listener {
        name: format!("{address}_{port}"),
        address: Some(e::socket_address(address, port)),
        filter_chains,
        default_filter_chain,
        listener_filters_timeout: (!listener_filters.is_empty()).then(|| e::duration(timeout)),
        continue_on_listener_filters_timeout: !listener_filters.is_empty()
            && (sniffed || timeout > Duration::ZERO),
        listener_filters,
        bind_to_port: Some(e::boolean(false)),
        traffic_direction: core::TrafficDirection::Outbound as i32,
        access_log: access_log::of_unmatched(context, Place::Outbound.side()),
        ..Default::default()
    }
}

fn chain(narrow: Narrow) -> pb::FilterChain {
    let Narrow { server_names, destinations, filters } = narrow;
    let by_name: Vec<String> = server_names.into_iter().filter(|name| name != "*").collect();
    pb::FilterChain {
        filter_chain_match: Some(pb::FilterChainMatch {
            prefix_ranges: destinations.into_iter().map(e::cidr).collect(),
            transport_protocol: if by_name.is_empty() { String::new() } else { TLS.to_owned() },
            server_names: by_name,
            ..Default::default()
        }),
        filters,
        ..Default::default()
    }
}
