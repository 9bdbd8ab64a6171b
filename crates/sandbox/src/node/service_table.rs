//! Cluster addresses as nftables rules of the node: each connection to a Service goes to one of its
//! backends at random, connections to a Service without backends are refused, and TCP to the world
//! outside goes to the relay.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use ipnet::IpNet;
use mizzen_net::nft::{
    Chain, ChainKind, Comparison, Family, HookPoint, PRIORITY_DESTINATION_NAT, PRIORITY_FILTER,
    PRIORITY_SOURCE_NAT, Protocol, Rule, Table, Verdict,
};

use super::network::{NODE_ADDRESS, POD_RANGE, SERVICE_RANGE};
use crate::controllers::{Forward, Frontend, ServiceTable, Transport};

const SERVICES: &str = "services";
const EMPTY: &str = "without-backends";

/// The kernel's table of the node's network namespace, which the process must be in.
#[derive(Debug, Default)]
pub struct KernelServiceTable;

impl ServiceTable for KernelServiceTable {
    fn replace(&self, forwards: &[Forward]) -> io::Result<()> {
        services(forwards).replace().map_err(io::Error::other)
    }
}

/// The rules for all Services.
fn services(forwards: &[Forward]) -> Table {
    let (served, empty): (Vec<&Forward>, Vec<&Forward>) =
        forwards.iter().partition(|forward| !forward.backends.is_empty());
    let enter = |name: &str, kind, point, priority, to: &str| {
        Chain::base(name, kind, point, priority, vec![Rule::new().verdict(Verdict::Jump(to.to_owned()))])
    };
    let dispatch = served.iter().enumerate();
    let dispatch =
        dispatch.map(|(index, forward)| matching(forward).verdict(Verdict::Goto(chain_name(index))));
    let refusals = empty.iter().map(|forward| match forward.transport {
        Transport::Tcp => matching(forward).reject_with_reset(),
        Transport::Udp => matching(forward).reject_with_port_unreachable(),
    });
    let nat = PRIORITY_DESTINATION_NAT;
    let mut chains = vec![
        enter("arriving", ChainKind::Nat, HookPoint::Prerouting, nat, SERVICES),
        enter("sent", ChainKind::Nat, HookPoint::Output, nat, SERVICES),
        // Before translation: a Service that has backends must not come here.
        enter("refuse-arriving", ChainKind::Filter, HookPoint::Prerouting, nat - 10, EMPTY),
        enter("refuse-sent", ChainKind::Filter, HookPoint::Output, PRIORITY_FILTER, EMPTY),
        Chain::base(
            "leaving",
            ChainKind::Nat,
            HookPoint::Postrouting,
            PRIORITY_SOURCE_NAT,
            hairpins(&served),
        ),
        Chain::regular(SERVICES, dispatch.collect()),
        Chain::regular(EMPTY, refusals.collect()),
    ];
    for (index, forward) in served.iter().enumerate() {
        chains.push(Chain::regular(chain_name(index), spread(forward)));
    }
    Table { family: Family::Ipv4, name: "mizzen-services".to_owned(), chains }
}

fn chain_name(index: usize) -> String {
    format!("service-{index}")
}

fn matching(forward: &Forward) -> Rule {
    let protocol = match forward.transport {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
    };
    let (address, port) = match forward.frontend {
        Frontend::Address(address) => (*address.ip(), address.port()),
        Frontend::NodePort(port) => (NODE_ADDRESS, port),
    };
    Rule::new()
        .protocol(protocol)
        .destination(Comparison::Equal, single(address))
        .destination_port(Comparison::Equal, port)
}

/// One rule a backend: the first takes one in n, the next one in n-1 of the rest, the last all.
fn spread(forward: &Forward) -> Vec<Rule> {
    let count = forward.backends.len() as u32;
    let to = |rule: Rule, backend: &SocketAddrV4| {
        rule.translate_destination((*backend.ip()).into(), Some(backend.port()))
    };
    let protocol = match forward.transport {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
    };
    let rule = |rest: u32| Rule::new().protocol(protocol).one_in(rest);
    (1..=count).rev().zip(&forward.backends).map(|(rest, backend)| to(rule(rest), backend)).collect()
}

/// A pod that reaches itself through a Service must see another source than its own address, or
/// it would answer itself past the translation.
fn hairpins(served: &[&Forward]) -> Vec<Rule> {
    let backends = served.iter().flat_map(|forward| &forward.backends);
    let addresses: BTreeSet<Ipv4Addr> = backends.map(|backend| *backend.ip()).collect();
    let hairpin = |address: Ipv4Addr| {
        Rule::new()
            .source(Comparison::Equal, single(address))
            .destination(Comparison::Equal, single(address))
            .destination_was_translated()
            .masquerade()
    };
    addresses.into_iter().map(hairpin).collect()
}

fn single(address: Ipv4Addr) -> IpNet {
    IpNet::from(IpAddr::V4(address))
}

/// TCP from pods to addresses outside the cluster goes to the relay at `port` of the node.
pub(super) fn egress(port: u16) -> Table {
    let outside =
        [POD_RANGE, SERVICE_RANGE].into_iter().fold(Rule::new().protocol(Protocol::Tcp), |rule, range| {
            rule.destination(Comparison::NotEqual, IpNet::V4(range))
        });
    // After the Services, whose external addresses are outside the ranges too.
    let priority = PRIORITY_DESTINATION_NAT + 10;
    let rules = vec![outside.translate_destination(NODE_ADDRESS.into(), Some(port))];
    Table {
        family: Family::Ipv4,
        name: "mizzen-egress".to_owned(),
        chains: vec![Chain::base("arriving", ChainKind::Nat, HookPoint::Prerouting, priority, rules)],
    }
}

#[cfg(test)]
#[path = "service_table_tests.rs"]
mod tests;
