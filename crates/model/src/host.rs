//! Host names: how short ones are completed, how wildcards match and which of several wins.
//!
//! Only a leading `*` is a wildcard, and it is a plain suffix match: `*.foo.com` does not match
//! `foo.com`, `*` matches everything. An exact host beats any wildcard, a longer wildcard a shorter.

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::map::{Map, Name, map};

/// A host name or wildcard, in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Arc<str>);

impl Host {
    /// The host in its canonical, lower-case form.
    pub fn new(text: &str) -> Self {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Self(text.to_ascii_lowercase().into())
        } else {
            Self(text.into())
        }
    }

    /// The text of the host.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn name(&self) -> Name {
        Arc::clone(&self.0)
    }

    /// Whether the host starts with `*`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// Whether there is a host that both match: one covers the other.
    pub fn overlaps(&self, other: &Host) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Whether every host that `other` matches is matched by this one too.
    pub fn covers(&self, other: &Host) -> bool {
        match self.0.strip_prefix('*') {
            None => self == other,
            Some(suffix) => match other.0.strip_prefix('*') {
                Some(other_suffix) => other_suffix.ends_with(suffix),
                // A wildcard stands for at least one character, so `*.foo` is not `.foo`.
                None => suffix.is_empty() || (other.0.len() > suffix.len() && other.0.ends_with(suffix)),
            },
        }
    }

    /// The narrower of two overlapping hosts; nothing where they do not overlap.
    pub fn intersection<'a>(&'a self, other: &'a Host) -> Option<&'a Host> {
        if self.covers(other) {
            Some(other)
        } else if other.covers(self) {
            Some(self)
        } else {
            None
        }
    }

    /// The host of a rule's reference in full: a name without a dot belongs to the rule's namespace.
    ///
    /// Wildcards, addresses and names with a dot stay as they are.
    pub fn resolve(reference: &str, namespace: &str, domain: &str) -> Self {
        if reference.is_empty() || reference.contains(['.', '*', ':']) {
            Self::new(reference)
        } else {
            Self::new(&format!("{reference}.{namespace}.svc.{domain}"))
        }
    }
}

impl Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Host {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// Values by host or wildcard, answering which is the most specific that matches.
#[derive(Clone, Debug)]
pub struct HostMap<V> {
    exact: Map<Host, V>,
    wildcard: Map<Host, V>,
}

impl<V> Default for HostMap<V> {
    fn default() -> Self {
        Self { exact: map(), wildcard: map() }
    }
}

impl<V> HostMap<V> {
    /// The value of exactly this host or wildcard.
    pub fn get(&self, host: &str) -> Option<&V> {
        if host.starts_with('*') { self.wildcard.get(host) } else { self.exact.get(host) }
    }

    /// Sets the value of a host or wildcard.
    pub fn insert(&mut self, host: Host, value: V) {
        if host.is_wildcard() {
            self.wildcard.insert_mut(host, value);
        } else {
            self.exact.insert_mut(host, value);
        }
    }

    /// Forgets a host or wildcard.
    pub fn remove(&mut self, host: &str) {
        if host.starts_with('*') {
            self.wildcard.remove_mut(host);
        } else {
            self.exact.remove_mut(host);
        }
    }

    /// Everything that matches `host`, the most specific first. A wildcard is matched by wider ones.
    pub fn matches<'a>(&'a self, host: &'a str) -> impl Iterator<Item = (&'a Host, &'a V)> {
        let exact = self.exact.get_key_value(host);
        let wildcards = if self.wildcard.is_empty() { None } else { Some(host) };
        exact.into_iter().chain(wildcards.into_iter().flat_map(|host| self.wildcards(host)))
    }

    fn wildcards<'a>(&'a self, host: &'a str) -> impl Iterator<Item = (&'a Host, &'a V)> {
        let (text, first) = match host.strip_prefix('*') {
            Some(suffix) => (suffix, 0),
            None => (host, 1),
        };
        let bare = text.is_empty().then_some("*").and_then(|star| self.wildcard.get_key_value(star));
        let mut pattern = String::with_capacity(text.len() + 1);
        text.char_indices()
            .map(|(index, _)| index)
            .chain([text.len()])
            .filter(move |index| *index >= first && !text.is_empty())
            .filter_map(move |index| {
                pattern.clear();
                pattern.push('*');
                pattern.push_str(text.get(index..)?);
                self.wildcard.get_key_value(pattern.as_str())
            })
            .chain(bare)
    }

    /// All hosts and wildcards with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&Host, &V)> {
        self.exact.iter().chain(self.wildcard.iter())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
