//! nftables by netlink: typed tables, chains and rules, encoded by hand and applied in one atomic
//! batch. No `nft` binary is needed, and no capability beyond `CAP_NET_ADMIN` in the user
//! namespace that owns the network namespace, so it works rootless.
//!
//! Source: `include/uapi/linux/netfilter/nf_tables.h`, `nfnetlink.h`.

mod encode;
mod rule;
mod transport;

pub use rule::{Comparison, Protocol, Rule, Verdict};
pub use transport::ApplyError;

/// What packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 only.
    Ipv4,
    /// IPv4 and IPv6.
    Inet,
}

/// A whole table. Applying it replaces the table of the same family and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What packets it sees.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Its chains. A chain that others jump to may come in any place.
    pub chains: Vec<Chain>,
}

/// A chain: rules in order, entered from a hook or by a jump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where packets enter; none for a chain that is only jumped to.
    pub hook: Option<Hook>,
    /// The rules, first match decides.
    pub rules: Vec<Rule>,
}

/// Where a base chain hangs in the packet's way. Packets that no rule decides are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What the chain may do.
    pub kind: ChainKind,
    /// The place.
    pub point: HookPoint,
    /// Order among chains at the same place; lower comes first.
    pub priority: i32,
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Accept and drop.
    Filter,
    /// Translate addresses; sees only the first packet of a connection.
    Nat,
    /// Filter that makes locally sent packets be routed anew when their mark changes.
    Route,
}

/// The place of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPoint {
    /// Packets that arrived, before routing.
    Prerouting,
    /// Packets for this namespace.
    Input,
    /// Packets passing through.
    Forward,
    /// Packets sent by a process of this namespace.
    Output,
    /// Packets about to leave.
    Postrouting,
}

/// The usual priority of destination translation (`dstnat`).
pub const PRIORITY_DESTINATION_NAT: i32 = -100;
/// The usual priority of source translation (`srcnat`).
pub const PRIORITY_SOURCE_NAT: i32 = 100;
/// The usual priority of filters.
pub const PRIORITY_FILTER: i32 = 0;

impl Chain {
    /// A chain that others jump to.
    pub fn regular(name: impl Into<String>, rules: Vec<Rule>) -> Self {
        Self { name: name.into(), hook: None, rules }
    }

    /// A chain that packets enter at `point`.
    pub fn base(
        name: impl Into<String>,
        kind: ChainKind,
        point: HookPoint,
        priority: i32,
        rules: Vec<Rule>,
    ) -> Self {
        Self { name: name.into(), hook: Some(Hook { kind, point, priority }), rules }
    }
}

impl Table {
    /// Replaces the table in the calling thread's network namespace, all or nothing. Connections
    /// that were translated before keep their translation.
    pub fn replace(&self) -> Result<(), ApplyError> {
        transport::send(&encode::replace(self))
    }
}

/// Removes a table from the calling thread's network namespace; one that is not there is fine.
pub fn delete(family: Family, name: &str) -> Result<(), ApplyError> {
    transport::send(&encode::delete(family, name))
}

#[cfg(test)]
#[path = "nft_tests.rs"]
mod tests;
