//! Whom a certificate must belong to: matching of subject alternative names, as Envoy's
//! `match_typed_subject_alt_names` and a client's own server name ask for it.

use crate::certificate::PeerCertificate;
use std::sync::Arc;

/// The kind of name a matcher looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// URI, where SPIFFE ids are.
    Uri,
    /// DNS.
    Dns,
    /// IP address, in its usual text form.
    Ip,
}

/// How a name is compared. Identities are compared structurally; there is no generated regex.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// Equal. For DNS, a certificate's `*.example.com` stands for one label.
    Exact(Arc<str>),
    /// Starts with.
    Prefix(Arc<str>),
    /// Ends with.
    Suffix(Arc<str>),
    /// Contains.
    Contains(Arc<str>),
}

/// One accepted name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameMatcher {
    /// Which of the certificate's names.
    pub kind: NameKind,
    /// How it must look.
    pub pattern: NamePattern,
    /// Compare without regard to ASCII case.
    pub ignore_case: bool,
}

impl NameMatcher {
    /// A URI that must be exactly this.
    pub fn exact_uri(uri: impl Into<Arc<str>>) -> Self {
        Self { kind: NameKind::Uri, pattern: NamePattern::Exact(uri.into()), ignore_case: false }
    }

    /// Whether any name of `certificate` is accepted.
    pub fn matches(&self, certificate: &PeerCertificate) -> bool {
        match self.kind {
            NameKind::Uri => certificate.uri_sans.iter().any(|name| self.accepts(name)),
            NameKind::Dns => certificate.dns_sans.iter().any(|name| self.accepts_dns(name)),
            NameKind::Ip => certificate.ip_sans.iter().any(|address| self.accepts(&address.to_string())),
        }
    }

    fn accepts_dns(&self, name: &str) -> bool {
        match &self.pattern {
            NamePattern::Exact(wanted) => dns_name_covers(name, wanted),
            _ => self.accepts(name),
        }
    }

    fn accepts(&self, name: &str) -> bool {
        if self.ignore_case {
            let lower = name.to_ascii_lowercase();
            return self.pattern.accepts(&lower, |wanted| wanted.to_ascii_lowercase());
        }
        self.pattern.accepts(name, str::to_owned)
    }
}

impl NamePattern {
    fn accepts(&self, name: &str, fold: impl Fn(&str) -> String) -> bool {
        match self {
            NamePattern::Exact(wanted) => name == fold(wanted),
            NamePattern::Prefix(wanted) => name.starts_with(&fold(wanted)),
            NamePattern::Suffix(wanted) => name.ends_with(&fold(wanted)),
            NamePattern::Contains(wanted) => name.contains(&fold(wanted)),
        }
    }
}

/// Whether a certificate's DNS name covers `wanted` (RFC 6125 §6.4: a wildcard is the whole leftmost
/// label and stands for exactly one label).
pub fn dns_name_covers(name: &str, wanted: &str) -> bool {
    if let Some(parent) = name.strip_prefix("*.") {
        return match wanted.split_once('.') {
            Some((label, rest)) => !label.is_empty() && rest.eq_ignore_ascii_case(parent),
            None => false,
        };
    }
    name.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
#[path = "subject_tests.rs"]
mod tests;
