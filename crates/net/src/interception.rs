//! Istio's sidecar interception as nftables: what a pod sends goes to the proxy's outbound port,
//! what a pod is sent goes to its inbound port, and the proxy's own traffic goes straight.
//!
//! Source: Istio's `tools/istio-nftables` and `tools/istio-iptables`: same order, same exceptions.
//! The proxy is told apart by the mark on its sockets, and by user or group id where given.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::nft::{
    self, ApplyError, Chain, ChainKind, Comparison, Family, HookPoint, PRIORITY_DESTINATION_NAT, Protocol,
    Rule, Table, Verdict,
};
use Comparison::{Equal, NotEqual};

/// The name of our table; there is one in a namespace.
pub const TABLE: &str = "mizzen-interception";

/// HBONE is never redirected: its listener takes it as it comes.
const HBONE_PORT: u16 = 15008;
const DNS_PORT: u16 = 53;

/// Which ports are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// All of them (`*`).
    All,
    /// Only these; an empty list means none.
    Only(Vec<u16>),
}

/// Which destinations are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Networks {
    /// All of them (`*`).
    All,
    /// Only these; an empty list means none.
    Only(Vec<IpNet>),
}

/// What to intercept. The default is what Istio's injection asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterceptionRules {
    /// Where outbound TCP goes (`-p`, 15001).
    pub outbound_port: u16,
    /// Where inbound TCP goes (`-z`, 15006).
    pub inbound_port: u16,
    /// Where DNS over UDP and TCP goes when the proxy answers it (15053); not captured when absent.
    pub dns_port: Option<u16>,
    /// The mark of the proxy's own sockets.
    pub mark: u32,
    /// User ids of the proxy (`-u`, 1337). A user namespace must map them.
    pub proxy_users: Vec<u32>,
    /// Group ids of the proxy (`-g`, 1337). A user namespace must map them.
    pub proxy_groups: Vec<u32>,
    /// Inbound ports to capture (`-b`, annotation `includeInboundPorts`).
    pub include_inbound_ports: Ports,
    /// Inbound ports to leave alone (`-d`, annotation `excludeInboundPorts`).
    pub exclude_inbound_ports: Vec<u16>,
    /// Outbound networks to capture (`-i`, annotation `includeOutboundIPRanges`).
    pub include_outbound_networks: Networks,
    /// Outbound networks to leave alone (`-x`, annotation `excludeOutboundIPRanges`).
    pub exclude_outbound_networks: Vec<IpNet>,
    /// Outbound ports to capture whatever the network (`-q`, annotation `includeOutboundPorts`).
    pub include_outbound_ports: Vec<u16>,
    /// Outbound ports to leave alone (`-o`, annotation `excludeOutboundPorts`).
    pub exclude_outbound_ports: Vec<u16>,
    /// Interfaces whose incoming traffic is left alone (`-c`, annotation `excludeInterfaces`).
    pub exclude_interfaces: Vec<String>,
}

impl Default for InterceptionRules {
    fn default() -> Self {
        Self {
            outbound_port: 15001,
            inbound_port: 15006,
            dns_port: None,
            mark: crate::PROXY_MARK,
            proxy_users: Vec::new(),
            proxy_groups: Vec::new(),
            include_inbound_ports: Ports::All,
            exclude_inbound_ports: vec![15090, 15021, 15020],
            include_outbound_networks: Networks::All,
            exclude_outbound_networks: Vec::new(),
            include_outbound_ports: Vec::new(),
            exclude_outbound_ports: Vec::new(),
            exclude_interfaces: Vec::new(),
        }
    }
}

/// Installs the rules in the calling thread's network namespace, in place of earlier ones.
pub fn install(rules: &InterceptionRules) -> Result<(), ApplyError> {
    table(rules).replace()
}

/// Removes the rules from the calling thread's network namespace.
pub fn remove() -> Result<(), ApplyError> {
    nft::delete(Family::Inet, TABLE)
}

/// The rules as a table.
pub fn table(rules: &InterceptionRules) -> Table {
    let nat = |name, point, rules| Chain::base(name, ChainKind::Nat, point, PRIORITY_DESTINATION_NAT, rules);
    Table {
        family: Family::Inet,
        name: TABLE.to_owned(),
        chains: vec![
            nat("prerouting", HookPoint::Prerouting, prerouting(rules)),
            nat("output", HookPoint::Output, output(rules)),
            Chain::regular("inbound", inbound(rules)),
            Chain::regular("outbound", outbound(rules)),
            Chain::regular("to-inbound", vec![tcp().counter().redirect(rules.inbound_port)]),
            Chain::regular("to-outbound", vec![tcp().counter().redirect(rules.outbound_port)]),
        ],
    }
}

fn tcp() -> Rule {
    Rule::new().protocol(Protocol::Tcp)
}

fn jump(chain: &str) -> Verdict {
    Verdict::Jump(chain.to_owned())
}

fn prerouting(rules: &InterceptionRules) -> Vec<Rule> {
    let excluded = rules
        .exclude_interfaces
        .iter()
        .map(|name| Rule::new().input_interface(Equal, name).verdict(Verdict::Return));
    excluded.chain([tcp().verdict(jump("inbound"))]).collect()
}

fn inbound(rules: &InterceptionRules) -> Vec<Rule> {
    let port = |port: u16| tcp().destination_port(Equal, port);
    let skipped = std::iter::once(HBONE_PORT).chain(rules.exclude_inbound_ports.iter().copied());
    let mut chain: Vec<Rule> = skipped.map(|skip| port(skip).verdict(Verdict::Return)).collect();
    match &rules.include_inbound_ports {
        Ports::All => chain.push(tcp().verdict(jump("to-inbound"))),
        Ports::Only(ports) => {
            chain.extend(ports.iter().map(|included| port(*included).verdict(jump("to-inbound"))));
        }
    }
    chain
}

fn output(rules: &InterceptionRules) -> Vec<Rule> {
    let mut chain = Vec::new();
    if let Some(port) = rules.dns_port {
        let udp = || Rule::new().protocol(Protocol::Udp).destination_port(Equal, DNS_PORT);
        chain.extend(proxies(rules).map(|proxy| proxy.matches(udp()).verdict(Verdict::Return)));
        chain.push(udp().counter().redirect(port));
    }
    chain.push(tcp().verdict(jump("outbound")));
    chain
}

fn outbound(rules: &InterceptionRules) -> Vec<Rule> {
    let looped = || tcp().output_interface(Equal, "lo");
    // The inbound side of the proxy dials its application from here: never twice through the proxy.
    let mut chain: Vec<Rule> = passthrough_sources()
        .map(|source| looped().source(Equal, IpNet::from(source)).verdict(Verdict::Return))
        .into();
    for proxy in proxies(rules) {
        // The outbound side chose this very pod: the connection enters through the inbound side.
        for loopback in loopbacks() {
            let to_self = looped().destination(NotEqual, IpNet::from(loopback));
            let to_self = to_self.destination_port(NotEqual, HBONE_PORT);
            let to_self = match rules.dns_port {
                Some(_) => to_self.destination_port(NotEqual, DNS_PORT),
                None => to_self,
            };
            chain.push(proxy.matches(to_self).verdict(jump("to-inbound")));
        }
        chain.push(proxy.matches(tcp()).verdict(Verdict::Return));
    }
    if let Some(port) = rules.dns_port {
        chain.push(tcp().destination_port(Equal, DNS_PORT).counter().redirect(port));
    }
    // The application talks to itself: not the mesh's business.
    chain.push(looped().verdict(Verdict::Return));
    chain.extend(
        loopbacks().map(|loopback| tcp().destination(Equal, IpNet::from(loopback)).verdict(Verdict::Return)),
    );
    let port = |port: &u16| tcp().destination_port(Equal, *port);
    let network = |network: &IpNet| tcp().destination(Equal, *network);
    let outward = || jump("to-outbound");
    chain.extend(rules.exclude_outbound_ports.iter().map(|skip| port(skip).verdict(Verdict::Return)));
    chain.extend(rules.exclude_outbound_networks.iter().map(|skip| network(skip).verdict(Verdict::Return)));
    chain.extend(rules.include_outbound_ports.iter().map(|include| port(include).verdict(outward())));
    match &rules.include_outbound_networks {
        Networks::All => chain.push(tcp().verdict(outward())),
        Networks::Only(networks) => {
            chain.extend(networks.iter().map(|include| network(include).verdict(outward())));
        }
    }
    chain
}

/// How a packet of the proxy is recognised.
#[derive(Clone, Copy)]
enum Proxy {
    Mark(u32),
    User(u32),
    Group(u32),
}

impl Proxy {
    fn matches(self, rule: Rule) -> Rule {
        match self {
            Proxy::Mark(mark) => rule.mark(Equal, mark),
            Proxy::User(user) => rule.user(Equal, user),
            Proxy::Group(group) => rule.group(Equal, group),
        }
    }
}

fn proxies(rules: &InterceptionRules) -> impl Iterator<Item = Proxy> {
    let users = rules.proxy_users.iter().copied().map(Proxy::User);
    let groups = rules.proxy_groups.iter().copied().map(Proxy::Group);
    std::iter::once(Proxy::Mark(rules.mark)).chain(users).chain(groups)
}

/// Where Istio's inbound passthrough clusters dial from.
fn passthrough_sources() -> [IpAddr; 2] {
    [IpAddr::from([127, 0, 0, 6]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 6])]
}

fn loopbacks() -> std::array::IntoIter<IpAddr, 2> {
    [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])].into_iter()
}

#[cfg(test)]
#[path = "interception_tests.rs"]
mod tests;
