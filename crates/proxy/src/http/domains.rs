//! Which virtual host serves which host: the exact one, then the longest wildcard at the front, then the
//! longest at the end. Source: Envoy's `envoy.config.route.v3.VirtualHost`.

use super::routes::VirtualHost;
use ahash::RandomState;
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Finds virtual hosts by their domains. It holds places in the list of virtual hosts only; the names are
/// theirs, so that the table of thousands is made again in a moment when one of them changes.
#[derive(Debug, Default)]
pub struct Domains {
    places: HashTable<Place>,
    hashes: RandomState,
    /// Lengths of what follows a wildcard, longest first.
    suffixes: BTreeSet<Reverse<usize>>,
    /// Lengths of what a wildcard follows, longest first.
    prefixes: BTreeSet<Reverse<usize>>,
}

/// Where a domain is: in which virtual host, the how manyeth of its domains.
#[derive(Clone, Copy, Debug)]
struct Place {
    host: u32,
    number: u32,
}

impl Place {
    fn domain(self, hosts: &[Arc<VirtualHost>]) -> Option<Domain<'_>> {
        Some(Domain::of(hosts.get(self.host as usize)?.domains.get(self.number as usize)?))
    }
}

/// A domain taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Domain<'a> {
    Exact(&'a str),
    /// What follows a wildcard.
    Suffix(&'a str),
    /// What a wildcard follows.
    Prefix(&'a str),
    Any,
}

impl<'a> Domain<'a> {
    fn of(text: &'a str) -> Self {
        match (text, text.strip_prefix('*'), text.strip_suffix('*')) {
            ("*", ..) => Self::Any,
            (_, Some(suffix), _) => Self::Suffix(suffix),
            (_, _, Some(prefix)) => Self::Prefix(prefix),
            _ => Self::Exact(text),
        }
    }
}

/// A domain that two virtual hosts want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The second virtual host, by its place.
    pub host: usize,
    /// The domain's place in it.
    pub number: usize,
    /// The domain.
    pub domain: Box<str>,
}

impl Domains {
    /// The domains of these virtual hosts.
    pub fn of(hosts: &[Arc<VirtualHost>]) -> Result<Self, Taken> {
        let count = hosts.iter().map(|host| host.domains.len()).sum();
        let mut domains = Self { places: HashTable::with_capacity(count), ..Self::default() };
        for (host, virtual_host) in (0u32..).zip(hosts) {
            for (number, text) in (0u32..).zip(&virtual_host.domains) {
                if !domains.insert(hosts, Domain::of(text), Place { host, number }) {
                    let (host, number) = (host as usize, number as usize);
                    return Err(Taken { host, number, domain: text.clone() });
                }
            }
        }
        Ok(domains)
    }

    /// The domains of these virtual hosts, of which the first `last` come last: to each one its first domain,
    /// then the others to whoever comes first.
    pub fn shared(hosts: &[Arc<VirtualHost>], last: usize) -> Self {
        let count = hosts.iter().map(|host| host.domains.len()).sum();
        let mut domains = Self { places: HashTable::with_capacity(count), ..Self::default() };
        let numbered = || (0u32..).zip(hosts);
        let places = |(host, virtual_host): (u32, &Arc<VirtualHost>)| {
            let count = u32::try_from(virtual_host.domains.len()).unwrap_or(u32::MAX);
            (0..count).map(move |number| Place { host, number })
        };
        let firsts = numbered().skip(last).filter_map(|host| places(host).next());
        let others = numbered().skip(last).flat_map(|host| places(host).skip(1));
        let own = numbered().take(last).flat_map(places);
        for place in firsts.chain(others).chain(own) {
            if let Some(domain) = place.domain(hosts) {
                domains.insert(hosts, domain, place);
            }
        }
        domains
    }

    /// False when the domain is there already.
    fn insert(&mut self, hosts: &[Arc<VirtualHost>], domain: Domain<'_>, place: Place) -> bool {
        if self.place(hosts, domain).is_some() {
            return false;
        }
        match domain {
            Domain::Suffix(suffix) => {
                self.suffixes.insert(Reverse(suffix.len()));
            }
            Domain::Prefix(prefix) => {
                self.prefixes.insert(Reverse(prefix.len()));
            }
            Domain::Exact(_) | Domain::Any => {}
        }
        let hashes = &self.hashes;
        self.places
            .insert_unique(hashes.hash_one(domain), place, |place| hashes.hash_one(place.domain(hosts)));
        true
    }

    fn place(&self, hosts: &[Arc<VirtualHost>], domain: Domain<'_>) -> Option<usize> {
        let same = |place: &Place| place.domain(hosts) == Some(domain);
        self.places.find(self.hashes.hash_one(domain), same).map(|place| place.host as usize)
    }

    /// The place of the virtual host for a host in lower case; `hosts` are those this was made of.
    pub fn find(&self, hosts: &[Arc<VirtualHost>], host: &str) -> Option<usize> {
        // A wildcard stands for at least one letter.
        let shorter = |length: &&Reverse<usize>| length.0 < host.len();
        let suffixes = || {
            self.suffixes
                .iter()
                .filter(shorter)
                .find_map(|length| self.place(hosts, Domain::Suffix(host.get(host.len() - length.0..)?)))
        };
        let prefixes = || {
            self.prefixes
                .iter()
                .filter(shorter)
                .find_map(|length| self.place(hosts, Domain::Prefix(host.get(..length.0)?)))
        };
        self.place(hosts, Domain::Exact(host))
            .or_else(suffixes)
            .or_else(prefixes)
            .or_else(|| self.place(hosts, Domain::Any))
    }
}

#[cfg(test)]
#[path = "domains_tests.rs"]
mod tests;
