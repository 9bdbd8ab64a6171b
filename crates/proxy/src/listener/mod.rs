//! From an accepted socket to the filter chain that serves it.

pub mod accept;
pub mod chain_match;
pub mod client_hello;
pub mod http_inspector;
mod inspect;
mod statistics;

pub use statistics::Statistics;

use crate::http::HttpConnectionManager;
use crate::tcp::{NetworkFilter, TcpProxy};
use crate::telemetry::AccessLog;
use crate::tls::Acceptor;
use chain_match::{ChainMatcher, Criteria};
use envoy_types::pb::envoy::config::core::v3::Metadata;
use mizzen_base::drain::{self, DrainTrigger, DrainWatcher};
use mizzen_net::socket::Keepalive;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Which way traffic flows through a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Not said: a gateway, or a plain proxy.
    Unspecified,
    /// Towards the workload beside this proxy.
    Inbound,
    /// From the workload beside this proxy.
    Outbound,
}

/// A compiled listener.
pub struct Listener {
    /// The resource's name.
    pub name: Arc<str>,
    /// Addresses it binds, or stands for when `bind_to_port` is false.
    pub addresses: Vec<SocketAddr>,
    /// Prefix of its statistics, for example `0.0.0.0_15006`.
    pub stat_prefix: Arc<str>,
    /// Which way traffic flows.
    pub direction: Direction,
    /// The resource's metadata.
    pub metadata: Option<Arc<Metadata>>,
    /// False for listeners that are only reached by a hand-over from one with `use_original_dst`.
    pub bind_to_port: bool,
    /// Hands connections to the listener that matches their original destination.
    pub use_original_dst: bool,
    /// How its sockets are opened.
    pub socket: SocketSettings,
    /// What is done before a chain is chosen.
    pub inspection: Inspection,
    /// Chooses a chain by its position in `chains`.
    pub matcher: ChainMatcher,
    /// Filter chains in the resource's order.
    pub chains: Vec<Arc<FilterChain>>,
    /// Takes what no other chain does.
    pub default_chain: Option<Arc<FilterChain>>,
    /// Stands for the chain in the record of a connection that none takes.
    pub unmatched: Arc<FilterChain>,
    /// Log of connections that no filter chain took.
    pub access_logs: Vec<Arc<AccessLog>>,
    /// Counters, which outlive changes of the listener.
    pub statistics: Arc<Statistics>,
}

/// How a listener's sockets are opened and what accepted ones get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketSettings {
    /// One socket a worker (`SO_REUSEPORT`); otherwise all workers accept from one.
    pub reuse_port: bool,
    /// `IP_TRANSPARENT`.
    pub transparent: bool,
    /// IPv6 listeners take IPv4 clients too.
    pub ipv4_compatible: bool,
    /// Connections the kernel holds before they are accepted.
    pub backlog: i32,
    /// `SO_KEEPALIVE` on accepted connections.
    pub keepalive: Option<Keepalive>,
}

/// What is looked at before a filter chain is chosen: the listener filters.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Restore the destination from before interception.
    pub original_destination: bool,
    /// Read a PROXY protocol header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Look for a ClientHello.
    pub tls: Option<Enabled>,
    /// Look for HTTP.
    pub http: Option<Enabled>,
    /// Longest time for all of it. `None`: no limit until the first byte.
    pub timeout: Option<Duration>,
    /// Go on with what is known when the time is over, rather than close.
    pub continue_on_timeout: bool,
}

/// Settings of the PROXY protocol listener filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Take connections that have no header.
    pub optional: bool,
}

/// For which destination ports an inspector runs (the complement of `filter_disabled`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// Always.
    Always,
    /// Unless this holds.
    Unless(PortPredicate),
}

/// `ListenerFilterChainMatchPredicate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortPredicate {
    /// Any connection.
    Any,
    /// Destination port in `start..end`.
    Range(u32, u32),
    /// None of them.
    Not(Box<PortPredicate>),
    /// At least one.
    Or(Vec<PortPredicate>),
    /// All.
    And(Vec<PortPredicate>),
}

/// A compiled filter chain.
pub struct FilterChain {
    /// The chain's name; empty when it has none.
    pub name: Arc<str>,
    /// The chain's metadata.
    pub metadata: Option<Arc<Metadata>>,
    /// Terminates TLS, when the chain has a TLS transport socket.
    pub tls: Option<Acceptor>,
    /// Longest time for TLS: 15 s unless the chain says otherwise.
    pub handshake_timeout: Duration,
    /// Network filters before the last, in order.
    pub filters: Vec<NetworkFilter>,
    /// What serves the connection.
    pub network: Network,
    /// Asks its connections to finish.
    pub drain: ChainDrain,
}

/// The end of a filter chain.
pub enum Network {
    /// HTTP.
    Http(Arc<HttpConnectionManager>),
    /// Bytes as they are.
    Tcp(Arc<TcpProxy>),
    /// Nothing: the connection is closed.
    Closed,
}

/// Tells the connections of one chain to finish, when it was changed or removed, or the proxy ends.
pub struct ChainDrain {
    trigger: DrainTrigger,
    watcher: DrainWatcher,
}

impl Default for ChainDrain {
    fn default() -> Self {
        let (trigger, watcher) = drain::channel();
        Self { trigger, watcher }
    }
}

impl ChainDrain {
    /// Asks all connections of the chain to finish.
    pub fn start(&self) {
        self.trigger.start();
    }

    /// For one connection.
    pub fn watch(&self) -> DrainWatcher {
        self.watcher.clone()
    }
}

impl FilterChain {
    /// A chain that serves nobody.
    pub fn none() -> Self {
        Self {
            name: "".into(),
            metadata: None,
            tls: None,
            handshake_timeout: Duration::ZERO,
            filters: Vec::new(),
            network: Network::Closed,
            drain: ChainDrain::default(),
        }
    }
}

impl Enabled {
    fn at(&self, port: u16) -> bool {
        match self {
            Enabled::Always => true,
            Enabled::Unless(predicate) => !predicate.holds(port),
        }
    }
}

impl PortPredicate {
    /// Whether it holds for a connection to `port`.
    pub fn holds(&self, port: u16) -> bool {
        match self {
            PortPredicate::Any => true,
            PortPredicate::Range(start, end) => (*start..*end).contains(&u32::from(port)),
            PortPredicate::Not(inner) => !inner.holds(port),
            PortPredicate::Or(inner) => inner.iter().any(|predicate| predicate.holds(port)),
            PortPredicate::And(inner) => inner.iter().all(|predicate| predicate.holds(port)),
        }
    }
}

impl Listener {
    /// The chain that serves a connection.
    pub fn find_chain(&self, criteria: &Criteria<'_>) -> Option<&Arc<FilterChain>> {
        let found = self.matcher.find(criteria).and_then(|index| self.chains.get(index));
        found.or(self.default_chain.as_ref())
    }

    /// All chains, the default one last.
    pub fn all_chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.chains.iter().chain(&self.default_chain)
    }

    /// The route configurations that its HTTP connection managers take from RDS.
    pub fn route_config_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.all_chains().filter_map(|chain| match &chain.network {
            Network::Http(manager) => manager.route_config_name(),
            Network::Tcp(_) | Network::Closed => None,
        })
    }
}
