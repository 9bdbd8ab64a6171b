//! What arrives for a sidecar's application: one listener, with filter chains by port and by what the first
//! bytes say. Which there are follows from PeerAuthentication: mutual TLS only, both, or none.

use mizzen_model::{Protocol, ServerTls};

use super::{
    PLAIN_HTTP, RAW_BUFFER, TLS, any_address, detection_timeout, http_inspector, original_destination,
    strings, tcp, tls_inspector,
};
use crate::{
    access_log,
    context::Context,
    envoy::{self as e, core, listener as pb, route, tls as tls_pb},
    filters::Place,
    http_connection_manager::{self, Routes},
    inbound::{self, InboundPort},
    name,
    proxy::Interception,
    route::{action, configuration, everything, sidecar},
    tls::{self, ServerAlpn},
};

/// The port all inbound connections are redirected to.
const INBOUND_PORT: u16 = 15006;

/// The inbound listener of a sidecar.
pub(crate) fn listener(context: &Context<'_>) -> pb::Listener {
    let policy = context.snapshot().peer_policy(&context.proxy.namespace, &context.labels);
    let mut filter_chains = vec![black_hole(context)];
    let ports = inbound::ports(context);
    for port in &ports {
        filter_chains.extend(chains(context, &Target::Port(port), policy.of_port(port.number)));
    }
    // Ports no service is on, but something is said of.
    for (number, mode) in policy.ports().filter(|(number, _)| ports.iter().all(|port| port.number != *number))
    {
        filter_chains.extend(chains(context, &Target::Undeclared(Some(number)), mode));
    }
    filter_chains.extend(chains(context, &Target::Undeclared(None), policy.mode()));
    let timeout = detection_timeout(context);
    pb::Listener {
        name: name::VIRTUAL_INBOUND.to_owned(),
        address: Some(e::socket_address(any_address(context), INBOUND_PORT)),
        use_original_dst: None,
        transparent: (context.proxy.interception == Interception::Tproxy).then(|| e::boolean(true)),
        filter_chains,
        listener_filters: vec![original_destination(), tls_inspector(), http_inspector()],
        listener_filters_timeout: Some(e::duration(timeout)),
        continue_on_listener_filters_timeout: true,
        traffic_direction: core::TrafficDirection::Inbound as i32,
        access_log: access_log::of_unmatched(context, Place::Inbound.side()),
        ..Default::default()
    }
}

/// Connections to the listener itself would go round in circles.
fn black_hole(context: &Context<'_>) -> pb::FilterChain {
    pb::FilterChain {
        name: "virtualInbound-blackhole".to_owned(),
        filter_chain_match: Some(pb::FilterChainMatch {
            destination_port: Some(e::uint32(u32::from(INBOUND_PORT))),
            ..Default::default()
        }),
        filters: tcp::to_cluster(context, Place::Inbound, name::BLACK_HOLE_CLUSTER),
        ..Default::default()
    }
}

/// What a group of chains is for.
enum Target<'a> {
    /// A port that a service is on.
    Port(&'a InboundPort),
    /// Some other port, or any.
    Undeclared(Option<u16>),
}

impl Target<'_> {
    fn port(&self) -> Option<u16> {
        match self {
            Self::Port(port) => Some(port.number),
            Self::Undeclared(port) => *port,
        }
    }

    fn protocol(&self) -> Protocol {
        match self {
            Self::Port(port) => port.protocol,
            Self::Undeclared(_) => Protocol::Unsupported,
        }
    }

    fn name(&self, context: &Context<'_>) -> String {
        match self {
            Self::Port(port) => format!("{}_{}", any_address(context), port.number),
            Self::Undeclared(_) => "virtualInbound".to_owned(),
        }
    }

    fn cluster(&self, context: &Context<'_>) -> String {
        match self {
            Self::Port(port) => name::inbound_cluster(port.number),
            Self::Undeclared(_) if context.proxy.addresses.first().is_some_and(std::net::IpAddr::is_ipv6) => {
                name::INBOUND_PASSTHROUGH_CLUSTER_IPV6.to_owned()
            }
            Self::Undeclared(_) => name::INBOUND_PASSTHROUGH_CLUSTER.to_owned(),
        }
    }
}

/// How a chain recognises its connections.
struct Recognised {
    transport: &'static str,
    protocols: Vec<String>,
    /// Whether the chain ends mutual TLS.
    mutual: bool,
    http: bool,
}

/// The chains of one port: first what is recognised most narrowly.
fn chains(context: &Context<'_>, target: &Target<'_>, mode: ServerTls) -> Vec<pb::FilterChain> {
    if let Target::Port(port) = target
        && let Some(settings) = &port.tls
    {
        return own_tls(context, target, settings);
    }
    let istio = context.proxy.istio_filters;
    recognised(target.protocol(), mode, istio).into_iter().map(|how| chain(context, target, how)).collect()
}

fn recognised(protocol: Protocol, mode: ServerTls, peer_exchange: bool) -> Vec<Recognised> {
    let tcp_protocols = if peer_exchange {
        strings(&[tls::ALPN_PEER_EXCHANGE, tls::ALPN_MESH])
    } else {
        strings(&[tls::ALPN_MESH])
    };
    let http_protocols = strings(&tls::ALPN_MESH_HTTP);
    let all_protocols: Vec<String> = tcp_protocols.iter().chain(&http_protocols).cloned().collect();
    let how = |transport, protocols, mutual, http| Recognised { transport, protocols, mutual, http };
    let plain_http = || how(RAW_BUFFER, Vec::new(), false, true);
    let plain_tcp = || how(RAW_BUFFER, Vec::new(), false, false);
    let plain_sniffed_http = || how(RAW_BUFFER, strings(&PLAIN_HTTP), false, true);
    // TLS that is the application's own business.
    let foreign_tls = || how(TLS, Vec::new(), false, false);
    match (kind(protocol), mode) {
        (Kind::Http, ServerTls::Disable) => vec![plain_http(), foreign_tls()],
        (Kind::Http, ServerTls::Strict) => vec![how(TLS, Vec::new(), true, true)],
        (Kind::Http, ServerTls::Permissive) => {
            vec![how(TLS, all_protocols, true, true), plain_http(), foreign_tls()]
        }
        (Kind::Tcp, ServerTls::Disable) => vec![how("", Vec::new(), false, false)],
        (Kind::Tcp, ServerTls::Strict) => vec![how(TLS, Vec::new(), true, false)],
        (Kind::Tcp, ServerTls::Permissive) => {
            vec![how(TLS, all_protocols, true, false), plain_tcp(), foreign_tls()]
        }
        (Kind::Sniffed, ServerTls::Disable) => vec![plain_sniffed_http(), how("", Vec::new(), false, false)],
        (Kind::Sniffed, ServerTls::Strict) => {
            vec![how(TLS, http_protocols, true, true), how(TLS, Vec::new(), true, false)]
        }
        (Kind::Sniffed, ServerTls::Permissive) => vec![
            how(TLS, http_protocols, true, true),
            plain_sniffed_http(),
            how(TLS, tcp_protocols, true, false),
            plain_tcp(),
            foreign_tls(),
        ],
    }
}

enum Kind {
    Http,
    Tcp,
    Sniffed,
}

fn kind(protocol: Protocol) -> Kind {
    if protocol.is_http() {
        Kind::Http
    } else if protocol.is_sniffed() {
        Kind::Sniffed
    } else {
        Kind::Tcp
    }
}

fn chain(context: &Context<'_>, target: &Target<'_>, how: Recognised) -> pb::FilterChain {
    let socket = how.mutual.then(|| {
        let alpn = if how.http {
            ServerAlpn::Http
        } else {
            ServerAlpn::Tcp { peer_exchange: context.proxy.istio_filters }
        };
        e::transport_socket(tls::TLS_SOCKET, &tls::mesh_server(context.proxy, &alpn))
    });
    let base = target.name(context);
    let name = match (target, how.http) {
        (Target::Port(_), _) => base,
        (Target::Undeclared(_), true) => format!("{base}-catchall-http"),
        (Target::Undeclared(_), false) => base,
    };
    pb::FilterChain {
        name,
        filter_chain_match: Some(pb::FilterChainMatch {
            destination_port: target.port().map(|port| e::uint32(u32::from(port))),
            transport_protocol: how.transport.to_owned(),
            application_protocols: how.protocols,
            ..Default::default()
        }),
        filters: filters(context, target, how.http),
        transport_socket: socket,
        ..Default::default()
    }
}

fn filters(context: &Context<'_>, target: &Target<'_>, http: bool) -> Vec<pb::Filter> {
    if !http {
        return tcp::to_cluster(context, Place::Inbound, &target.cluster(context));
    }
    let routes = match target {
        Target::Port(port) => sidecar::inbound(context, port),
        Target::Undeclared(_) => passthrough_routes(&target.cluster(context)),
    };
    vec![http_connection_manager::filter(
        context,
        Place::Inbound,
        &format!("inbound_{}", target.name(context)),
        Routes::Inline(Box::new(routes)),
        target.protocol(),
    )]
}

fn passthrough_routes(cluster: &str) -> route::RouteConfiguration {
    let mut action = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    action::set_timeout(&mut action, std::time::Duration::ZERO);
    let virtual_host = route::VirtualHost {
        name: "inbound|http|0".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route::Route {
            name: "default".to_owned(),
            r#match: Some(everything()),
            decorator: Some(route::Decorator { operation: ":0/*".to_owned(), ..Default::default() }),
            action: Some(route::route::Action::Route(action)),
            ..Default::default()
        }],
        ..Default::default()
    };
    configuration(cluster.to_owned(), vec![virtual_host])
}

/// TLS of the Sidecar's own ingress listener, for clients from outside the mesh.
fn own_tls(
    context: &Context<'_>,
    target: &Target<'_>,
    settings: &mizzen_api::networking::ServerTls,
) -> Vec<pb::FilterChain> {
    let http = matches!(target.protocol(), Protocol::Https) || target.protocol().is_http();
    let server: Option<tls_pb::DownstreamTlsContext> = tls::gateway_server(context.proxy, settings, http);
    vec![pb::FilterChain {
        name: target.name(context),
        filter_chain_match: Some(pb::FilterChainMatch {
            destination_port: target.port().map(|port| e::uint32(u32::from(port))),
            transport_protocol: TLS.to_owned(),
            ..Default::default()
        }),
        filters: filters(context, target, http && server.is_some()),
        transport_socket: server.map(|server| e::transport_socket(tls::TLS_SOCKET, &server)),
        ..Default::default()
    }]
}
