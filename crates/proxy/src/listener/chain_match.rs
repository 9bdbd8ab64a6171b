//! Which filter chain serves a connection.
//!
//! Envoy's order of criteria (`config.listener.v3.FilterChainMatch`): destination port, destination
//! address, server name, transport protocol, application protocols, directly connected source
//! address, source type, source address, source port. At each step the most specific value wins and
//! the others are out of the running, even if a later step then matches nothing. So the rules become
//! one tree of lookups, walked once.

use ahash::AHashMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Which connections a rule's source must be of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceType {
    /// Any.
    #[default]
    Any,
    /// From the same address or loopback.
    Local,
    /// From elsewhere.
    External,
}

/// One chain's criteria; an empty list or `None` means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Destination port.
    pub destination_port: Option<u16>,
    /// Destination networks.
    pub destinations: Vec<IpNet>,
    /// Server names in lower case; `*.example.com` for any name below.
    pub server_names: Vec<String>,
    /// `tls`, `raw_buffer`, or empty.
    pub transport_protocol: String,
    /// Application protocols.
    pub application_protocols: Vec<Vec<u8>>,
    /// Networks of the socket's other end.
    pub direct_sources: Vec<IpNet>,
    /// Whether the client must be local.
    pub source_type: SourceType,
    /// Networks of the client.
    pub sources: Vec<IpNet>,
    /// The client's ports.
    pub source_ports: Vec<u16>,
}

/// What is known of a connection when its chain is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Criteria<'a> {
    /// Where it goes (the original destination when restored).
    pub destination: SocketAddr,
    /// SNI in lower case.
    pub server_name: Option<&'a str>,
    /// `tls` or `raw_buffer`.
    pub transport_protocol: &'a str,
    /// ALPN offers, or what the HTTP inspector found.
    pub application_protocols: &'a [Vec<u8>],
    /// The socket's other end.
    pub direct_source: IpAddr,
    /// The client.
    pub source: SocketAddr,
}

/// Two chains ask for the same connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has the same criteria as filter_chains[{first}], so it could never be chosen")]
pub struct Overlap {
    /// The earlier chain.
    pub first: usize,
    /// The later one.
    pub second: usize,
}

/// The compiled rules of a listener.
#[derive(Debug, Default)]
pub struct ChainMatcher {
    ports: Keyed<u16, Networks<Names>>,
}

type Names = Keyed<String, Keyed<String, Keyed<Vec<u8>, Networks<SourceTypes>>>>;
type Sources = Networks<Keyed<u16, Leaf>>;

/// Lookup by an exact key, with a place for rules that do not care.
#[derive(Debug)]
struct Keyed<K, V> {
    exact: AHashMap<K, V>,
    any: Option<Box<V>>,
}

/// Lookup by longest prefix; rules that do not care have the shortest.
#[derive(Debug)]
struct Networks<V> {
    /// Sorted by prefix length, longest first.
    networks: Vec<(IpNet, V)>,
    any: Option<Box<V>>,
}

#[derive(Debug, Default)]
struct SourceTypes {
    any: Option<Sources>,
    local: Option<Sources>,
    external: Option<Sources>,
}

#[derive(Debug, Default)]
struct Leaf(Option<usize>);

impl ChainMatcher {
    /// Compiles the rules of all chains; a rule's position is what [`ChainMatcher::find`] returns.
    pub fn new(rules: &[Rule]) -> Result<Self, Overlap> {
        let mut matcher = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            matcher.insert(rule, index)?;
        }
        Ok(matcher)
    }

    fn insert(&mut self, rule: &Rule, index: usize) -> Result<(), Overlap> {
        let port = self.ports.entry(rule.destination_port);
        for destination in options(&rule.destinations) {
            let names = port.entry(destination.copied());
            for name in options(&rule.server_names) {
                // `*.example.com` is kept as `.example.com`.
                let name = name.map(|name| name.strip_prefix('*').unwrap_or(name).to_owned());
                let transport = Some(rule.transport_protocol.clone()).filter(|name| !name.is_empty());
                let transports = names.entry(name).entry(transport);
                for protocol in options(&rule.application_protocols) {
                    let direct = transports.entry(protocol.cloned());
                    for network in options(&rule.direct_sources) {
                        direct.entry(network.copied()).entry(rule.source_type).insert(rule, index)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The chain for a connection.
    pub fn find(&self, criteria: &Criteria<'_>) -> Option<usize> {
        let destinations = self.ports.get(&criteria.destination.port())?;
        let names = destinations.get(criteria.destination.ip())?;
        let transports = find_name(names, criteria.server_name.unwrap_or_default())?;
        let protocols = transports.get(criteria.transport_protocol)?;
        let offered = criteria.application_protocols.iter().find_map(|name| protocols.exact.get(name));
        let direct = offered.or(protocols.any.as_deref())?;
        let types = direct.get(criteria.direct_source)?;
        let sources = types.get(is_local(criteria))?;
        sources.get(criteria.source.ip())?.get(&criteria.source.port())?.0
    }
}

fn find_name<'a, V>(names: &'a Keyed<String, V>, name: &str) -> Option<&'a V> {
    if !name.is_empty() {
        if let Some(found) = names.exact.get(name) {
            return Some(found);
        }
        // From the second character: a wildcard needs a label before its dot.
        for (position, _) in name.match_indices('.').filter(|(position, _)| *position > 0) {
            if let Some(found) = name.get(position..).and_then(|suffix| names.exact.get(suffix)) {
                return Some(found);
            }
        }
    }
    names.any.as_deref()
}

/// Envoy's meaning of a local client: loopback, or the same address on both ends.
fn is_local(criteria: &Criteria<'_>) -> bool {
    let source = criteria.source.ip();
    source.is_loopback() || source == criteria.destination.ip()
}

/// Each value of a list, or once "any" for an empty one.
fn options<T>(list: &[T]) -> impl Iterator<Item = Option<&T>> {
    let any = list.is_empty().then_some(None);
    list.iter().map(Some).chain(any)
}

// === impl Keyed ===

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self { exact: AHashMap::new(), any: None }
    }
}

impl<K: std::hash::Hash + Eq, V: Default> Keyed<K, V> {
    fn entry(&mut self, key: Option<K>) -> &mut V {
        match key {
            Some(key) => self.exact.entry(key).or_default(),
            None => self.any.get_or_insert_default(),
        }
    }

    fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: std::hash::Hash + Eq + ?Sized,
    {
        self.exact.get(key).or(self.any.as_deref())
    }
}

// === impl Networks ===

impl<V> Default for Networks<V> {
    fn default() -> Self {
        Self { networks: Vec::new(), any: None }
    }
}

impl<V: Default> Networks<V> {
    fn entry(&mut self, network: Option<IpNet>) -> &mut V {
        let Some(network) = network.map(|network| network.trunc()) else {
            return self.any.get_or_insert_default();
        };
        let position = self.networks.iter().position(|(existing, _)| *existing == network);
        let position = position.unwrap_or_else(|| {
            let place =
                self.networks.partition_point(|(existing, _)| existing.prefix_len() >= network.prefix_len());
            self.networks.insert(place, (network, V::default()));
            place
        });
        &mut self.networks[position].1
    }

    fn get(&self, address: IpAddr) -> Option<&V> {
        let found = self.networks.iter().find(|(network, _)| network.contains(&address));
        found.map(|(_, value)| value).or(self.any.as_deref())
    }
}

// === impl SourceTypes ===

impl SourceTypes {
    fn entry(&mut self, kind: SourceType) -> &mut Sources {
        let place = match kind {
            SourceType::Any => &mut self.any,
            SourceType::Local => &mut self.local,
            SourceType::External => &mut self.external,
        };
        place.get_or_insert_default()
    }

    fn get(&self, local: bool) -> Option<&Sources> {
        let specific = if local { &self.local } else { &self.external };
        specific.as_ref().or(self.any.as_ref())
    }
}

impl Sources {
    fn insert(&mut self, rule: &Rule, index: usize) -> Result<(), Overlap> {
        for source in options(&rule.sources) {
            let ports = self.entry(source.copied());
            for port in options(&rule.source_ports) {
                let leaf = ports.entry(port.copied());
                if let Some(first) = leaf.0 {
                    return Err(Overlap { first, second: index });
                }
                leaf.0 = Some(index);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "chain_match_tests.rs"]
mod tests;
