//! One rule: matches and statements in the order they are run, built by chaining.
//!
//! Every match loads a value into register 1 and compares it there, so rules need no register
//! planning; address translation uses register 1 for the address and 2 for the port.

use std::net::IpAddr;

use ipnet::IpNet;

/// The register loads and comparisons go through.
pub(super) const VALUE: u32 = 1;
/// The register that holds the port of a translation.
pub(super) const PORT: u32 = 2;

/// What the kernel runs, in its own terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Meta { key: MetaKey },
    SetMeta { key: MetaKey },
    Payload { base: PayloadBase, offset: u32, length: u32 },
    Bitwise { mask: Vec<u8> },
    Compare { how: Comparison, value: Vec<u8> },
    Immediate { register: u32, value: Vec<u8> },
    Verdict(Verdict),
    Redirect,
    DestinationNat { v6: bool, port: bool },
    Masquerade,
    Counter,
    Conntrack { key: u32 },
    SetConntrackMark,
    Random { modulus: u32 },
    RejectReset,
    RejectPort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaKey {
    Mark = 3,
    InputInterface = 6,
    OutputInterface = 7,
    UserId = 10,
    GroupId = 11,
    NetworkProtocol = 15,
    TransportProtocol = 16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PayloadBase {
    Network = 1,
    Transport = 2,
}

const CONNTRACK_STATUS: u32 = 2;
const CONNTRACK_MARK: u32 = 3;
const STATUS_DESTINATION_NAT: u32 = 1 << 5;
const PROTOCOL_IPV4: u8 = 2;
const PROTOCOL_IPV6: u8 = 10;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same.
    Equal = 0,
    /// Not the same.
    NotEqual = 1,
    /// Less; for numbers in network order.
    Less = 2,
    /// Less or the same.
    LessOrEqual = 3,
    /// Greater.
    Greater = 4,
    /// Greater or the same.
    GreaterOrEqual = 5,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp = 6,
    /// UDP.
    Udp = 17,
}

/// What becomes of the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It is gone.
    Drop,
    /// Back to the chain that jumped here; in a base chain, accept.
    Return,
    /// On with another chain, then back.
    Jump(String),
    /// On with another chain, not back.
    Goto(String),
}

/// One rule. Build it from matches, then end it with one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub(super) expressions: Vec<Expression>,
}

impl Rule {
    /// A rule that matches every packet.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, expressions: impl IntoIterator<Item = Expression>) -> Self {
        self.expressions.extend(expressions);
        self
    }

    fn meta(self, key: MetaKey, how: Comparison, value: Vec<u8>) -> Self {
        self.with([Expression::Meta { key }, Expression::Compare { how, value }])
    }

    /// Matches the transport protocol.
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.meta(MetaKey::TransportProtocol, Comparison::Equal, vec![protocol as u8])
    }

    /// Matches IPv4 packets.
    pub fn ipv4(self) -> Self {
        self.meta(MetaKey::NetworkProtocol, Comparison::Equal, vec![PROTOCOL_IPV4])
    }

    /// Matches IPv6 packets.
    pub fn ipv6(self) -> Self {
        self.meta(MetaKey::NetworkProtocol, Comparison::Equal, vec![PROTOCOL_IPV6])
    }

    /// Compares the packet's mark (the socket's `SO_MARK` for local packets).
    pub fn mark(self, how: Comparison, mark: u32) -> Self {
        self.meta(MetaKey::Mark, how, mark.to_ne_bytes().into())
    }

    /// Compares the user id of the sending socket.
    pub fn user(self, how: Comparison, user: u32) -> Self {
        self.meta(MetaKey::UserId, how, user.to_ne_bytes().into())
    }

    /// Compares the group id of the sending socket.
    pub fn group(self, how: Comparison, group: u32) -> Self {
        self.meta(MetaKey::GroupId, how, group.to_ne_bytes().into())
    }

    /// Compares the interface a packet came in by. Names longer than 15 bytes never match.
    pub fn input_interface(self, how: Comparison, name: &str) -> Self {
        self.meta(MetaKey::InputInterface, how, interface_name(name))
    }

    /// Compares the interface a packet leaves by.
    pub fn output_interface(self, how: Comparison, name: &str) -> Self {
        self.meta(MetaKey::OutputInterface, how, interface_name(name))
    }

    /// Compares the source address with a network; matches the network's IP version first.
    pub fn source(self, how: Comparison, network: impl Into<IpNet>) -> Self {
        self.address(how, network.into(), 12, 8)
    }

    /// Compares the destination address with a network; matches the network's IP version first.
    pub fn destination(self, how: Comparison, network: impl Into<IpNet>) -> Self {
        self.address(how, network.into(), 16, 24)
    }

    fn address(self, how: Comparison, network: IpNet, v4_offset: u32, v6_offset: u32) -> Self {
        let (rule, offset) = match network {
            IpNet::V4(_) => (self.ipv4(), v4_offset),
            IpNet::V6(_) => (self.ipv6(), v6_offset),
        };
        let value = octets(network.network());
        let length = value.len() as u32;
        let rule = rule.with([Expression::Payload { base: PayloadBase::Network, offset, length }]);
        let rule = if network.prefix_len() == network.max_prefix_len() {
            rule
        } else {
            rule.with([Expression::Bitwise { mask: octets(network.netmask()) }])
        };
        rule.with([Expression::Compare { how, value }])
    }

    /// Compares the destination port. Match the protocol first.
    pub fn destination_port(self, how: Comparison, port: u16) -> Self {
        self.with([
            Expression::Payload { base: PayloadBase::Transport, offset: 2, length: 2 },
            Expression::Compare { how, value: port.to_be_bytes().into() },
        ])
    }

    /// Matches one in `modulus` packets at random; a modulus of 0 or 1 matches all.
    pub fn one_in(self, modulus: u32) -> Self {
        if modulus < 2 {
            return self;
        }
        self.with([
            Expression::Random { modulus },
            Expression::Compare { how: Comparison::Equal, value: 0_u32.to_ne_bytes().into() },
        ])
    }

    /// Matches packets of connections whose destination was translated.
    pub fn destination_was_translated(self) -> Self {
        self.with([
            Expression::Conntrack { key: CONNTRACK_STATUS },
            Expression::Bitwise { mask: STATUS_DESTINATION_NAT.to_ne_bytes().into() },
            Expression::Compare { how: Comparison::NotEqual, value: 0_u32.to_ne_bytes().into() },
        ])
    }

    /// Compares the mark of the connection.
    pub fn connection_mark(self, how: Comparison, mark: u32) -> Self {
        self.with([
            Expression::Conntrack { key: CONNTRACK_MARK },
            Expression::Compare { how, value: mark.to_ne_bytes().into() },
        ])
    }

    /// Marks the packet and goes on.
    pub fn set_mark(self, mark: u32) -> Self {
        self.with([
            Expression::Immediate { register: VALUE, value: mark.to_ne_bytes().into() },
            Expression::SetMeta { key: MetaKey::Mark },
        ])
    }

    /// Marks the connection and goes on.
    pub fn set_connection_mark(self, mark: u32) -> Self {
        self.with([
            Expression::Immediate { register: VALUE, value: mark.to_ne_bytes().into() },
            Expression::SetConntrackMark,
        ])
    }

    /// Counts packets and bytes and goes on.
    pub fn counter(self) -> Self {
        self.with([Expression::Counter])
    }

    /// Sends the connection to a port of this namespace instead.
    pub fn redirect(self, port: u16) -> Self {
        self.with([
            Expression::Immediate { register: VALUE, value: port.to_be_bytes().into() },
            Expression::Redirect,
        ])
    }

    /// Sends the connection to another address, and port if given.
    pub fn translate_destination(self, address: IpAddr, port: Option<u16>) -> Self {
        let rule = self.with([Expression::Immediate { register: VALUE, value: octets(address) }]);
        let rule = match port {
            Some(port) => {
                rule.with([Expression::Immediate { register: PORT, value: port.to_be_bytes().into() }])
            }
            None => rule,
        };
        rule.with([Expression::DestinationNat { v6: address.is_ipv6(), port: port.is_some() }])
    }

    /// Gives the connection this namespace's address as its source.
    pub fn masquerade(self) -> Self {
        self.with([Expression::Masquerade])
    }

    /// Refuses a TCP connection with a reset. Only in filter chains.
    pub fn reject_with_reset(self) -> Self {
        self.with([Expression::RejectReset])
    }

    /// Refuses with "port unreachable". Only in filter chains.
    pub fn reject_with_port_unreachable(self) -> Self {
        self.with([Expression::RejectPort])
    }

    /// Ends with a verdict.
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.with([Expression::Verdict(verdict)])
    }
}

/// Interface names are compared as the kernel's 16 zero-padded bytes.
fn interface_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}
