//! SPIFFE ids, as they stand in the URI SAN of a certificate.
//!
//! Source: the SPIFFE-ID specification §2 (syntax, 2048 bytes, case) and Istio's form of the path,
//! `/ns/NAMESPACE/sa/SERVICE_ACCOUNT`.

use std::fmt;

/// Longest id a certificate may carry (SPIFFE-ID §2.3).
const MAXIMUM_LENGTH: usize = 2048;
/// Longest trust domain (SPIFFE-ID §2.1).
const MAXIMUM_TRUST_DOMAIN_LENGTH: usize = 255;

/// A SPIFFE id. Compared as a whole and byte for byte; never by a pattern made from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    /// The whole URI.
    uri: String,
    trust_domain_end: usize,
}

/// Why a text is not a SPIFFE id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a SPIFFE id: {reason}")]
pub struct SpiffeIdError {
    text: String,
    reason: &'static str,
}

const SCHEME: &str = "spiffe://";

impl SpiffeId {
    /// Reads an id, refusing everything the specification refuses.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        let refuse = |reason| SpiffeIdError { text: text.chars().take(128).collect(), reason };
        if text.len() > MAXIMUM_LENGTH {
            return Err(refuse("longer than 2048 bytes"));
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| refuse("it does not start with spiffe://"))?;
        let (trust_domain, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if trust_domain.is_empty() || trust_domain.len() > MAXIMUM_TRUST_DOMAIN_LENGTH {
            return Err(refuse("its trust domain is empty or longer than 255 bytes"));
        }
        if !trust_domain.bytes().all(is_trust_domain_byte) {
            return Err(refuse("its trust domain has a character other than a-z, 0-9, '.', '-', '_'"));
        }
        for segment in path.split('/').skip(1) {
            if segment.is_empty() || segment == "." || segment == ".." {
                return Err(refuse("its path has an empty or relative segment"));
            }
            if !segment.bytes().all(is_path_byte) {
                return Err(refuse("its path has a character other than a-z, A-Z, 0-9, '.', '-', '_'"));
            }
        }
        Ok(Self { uri: text.to_owned(), trust_domain_end: SCHEME.len() + trust_domain.len() })
    }

    /// The id of a Kubernetes service account, in Istio's form.
    pub fn of_service_account(
        trust_domain: &str,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, SpiffeIdError> {
        Self::parse(&format!("{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}"))
    }

    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &str {
        self.uri.get(SCHEME.len()..self.trust_domain_end).unwrap_or_default()
    }

    /// The path, with its leading slash; empty for a trust domain's own id.
    pub fn path(&self) -> &str {
        self.uri.get(self.trust_domain_end..).unwrap_or_default()
    }

    /// Namespace and service account, when the path has Istio's form.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        let mut segments = self.path().split('/').skip(1);
        match (segments.next(), segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some("ns"), Some(namespace), Some("sa"), Some(account), None) => Some((namespace, account)),
            _ => None,
        }
    }

    /// Istio's `source.principal`: the id without its scheme.
    pub fn principal(&self) -> &str {
        self.uri.get(SCHEME.len()..).unwrap_or_default()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.uri)
    }
}

impl std::str::FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn is_trust_domain_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_')
}

fn is_path_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_')
}

#[cfg(test)]
#[path = "spiffe_tests.rs"]
mod tests;
