//! Matchers of strings, headers, query parameters and chances, compiled once.

use crate::compile::CompileError;
use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::config::route::v3::{
    HeaderMatcher as HeaderProto, QueryParameterMatcher as QueryProto, header_matcher,
    query_parameter_matcher,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{
    RegexMatchAndSubstitute, RegexMatcher, StringMatcher as StringProto, string_matcher::MatchPattern,
};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;

/// A match on text given as bytes.
#[derive(Clone, Debug)]
pub enum StringMatcher {
    /// The whole text; the flag ignores ASCII case.
    Exact(Box<[u8]>, bool),
    /// Its start.
    Prefix(Box<[u8]>, bool),
    /// Its end.
    Suffix(Box<[u8]>, bool),
    /// Any part of it.
    Contains(Box<[u8]>, bool),
    /// The whole text, by a linear-time regular expression.
    Regex(Regex),
}

impl StringMatcher {
    /// Compiles the message.
    pub fn compile(message: &StringProto) -> Result<Self, CompileError> {
        let ignore = message.ignore_case;
        let bytes = |text: &String| -> Box<[u8]> {
            if ignore {
                text.to_ascii_lowercase().into_bytes().into()
            } else {
                text.clone().into_bytes().into()
            }
        };
        Ok(match &message.match_pattern {
            Some(MatchPattern::Exact(text)) => Self::Exact(bytes(text), ignore),
            Some(MatchPattern::Prefix(text)) => Self::Prefix(bytes(text), ignore),
            Some(MatchPattern::Suffix(text)) => Self::Suffix(bytes(text), ignore),
            Some(MatchPattern::Contains(text)) => Self::Contains(bytes(text), ignore),
            Some(MatchPattern::SafeRegex(regex)) => Self::Regex(full_regex(regex)?),
            Some(MatchPattern::Custom(_)) => {
                return Err(CompileError::unsupported("custom", "a custom matcher"));
            }
            None => return Err(CompileError::missing("match_pattern")),
        })
    }

    /// Whether `text` matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(wanted, false) => text == &**wanted,
            Self::Exact(wanted, true) => text.eq_ignore_ascii_case(wanted),
            Self::Prefix(wanted, false) => text.starts_with(wanted),
            Self::Prefix(wanted, true) => {
                text.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
            }
            Self::Suffix(wanted, false) => text.ends_with(wanted),
            Self::Suffix(wanted, true) => text
                .len()
                .checked_sub(wanted.len())
                .and_then(|start| text.get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(wanted)),
            Self::Contains(wanted, false) => memmem::find(text, wanted).is_some(),
            Self::Contains(wanted, true) => memmem::find(&text.to_ascii_lowercase(), wanted).is_some(),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// A regular expression that must match the whole text. Bytes that are not UTF-8 are matched like any
/// others: an expression that could not look at them would make a negated match pass.
pub fn full_regex(matcher: &RegexMatcher) -> Result<Regex, CompileError> {
    regex(&format!("^(?:{})$", matcher.regex))
        .map_err(|reason| CompileError::invalid("regex", format!("'{}': {reason}", matcher.regex)))
}

fn regex(pattern: &str) -> Result<Regex, String> {
    let build = |unicode: bool| {
        RegexBuilder::new(pattern)
            .unicode(unicode)
            .size_limit(4 * 1024 * 1024)
            .dot_matches_new_line(true)
            .build()
    };
    // Expressions that name characters beyond ASCII need Unicode.
    build(false).or_else(|_| build(true)).map_err(|error| error.to_string())
}

/// `regex_rewrite` and the like.
#[derive(Clone, Debug)]
pub struct Substitution {
    pattern: Regex,
    replacement: Vec<u8>,
}

impl Substitution {
    /// Compiles the message. `\1` in the substitution is the first group, `\0` the whole match.
    pub fn compile(message: &RegexMatchAndSubstitute) -> Result<Self, CompileError> {
        let matcher = message.pattern.as_ref().ok_or_else(|| CompileError::missing("pattern"))?;
        let pattern =
            regex(&matcher.regex).map_err(|reason| CompileError::invalid("pattern.regex", reason))?;
        let mut replacement = Vec::new();
        let mut letters = message.substitution.bytes();
        while let Some(byte) = letters.next() {
            match byte {
                b'$' => replacement.extend_from_slice(b"$$"),
                b'\\' => match letters.next() {
                    Some(digit) if digit.is_ascii_digit() => {
                        replacement.extend_from_slice(&[b'$', b'{', digit, b'}']);
                    }
                    Some(b'\\') => replacement.push(b'\\'),
                    _ => {
                        return Err(CompileError::invalid(
                            "substitution",
                            "a backslash needs a digit or a backslash",
                        ));
                    }
                },
                other => replacement.push(other),
            }
        }
        Ok(Self { pattern, replacement })
    }

    /// Replaces every match.
    pub fn apply(&self, text: &str) -> String {
        let replaced = self.pattern.replace_all(text.as_bytes(), self.replacement.as_slice());
        String::from_utf8_lossy(&replaced).into_owned()
    }
}

/// What a header matcher looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderKey {
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:authority`, `host`
    Authority,
    /// `:scheme`
    Scheme,
    /// Any other.
    Name(HeaderName),
}

impl HeaderKey {
    /// The key of this name.
    pub fn compile(name: &str) -> Result<Self, CompileError> {
        Ok(match name.to_ascii_lowercase().as_str() {
            ":method" => Self::Method,
            ":path" => Self::Path,
            ":authority" | "host" => Self::Authority,
            ":scheme" => Self::Scheme,
            lower => Self::Name(
                HeaderName::from_bytes(lower.as_bytes())
                    .map_err(|_| CompileError::invalid("name", format!("'{name}' is not a header name")))?,
            ),
        })
    }
}

/// What matchers may look at.
#[derive(Clone, Copy, Debug)]
pub struct HeaderView<'a> {
    /// Method, as received.
    pub method: &'a str,
    /// Path with its query.
    pub path: &'a str,
    /// Authority.
    pub authority: &'a str,
    /// Scheme.
    pub scheme: &'a str,
    /// All other headers.
    pub headers: &'a HeaderMap,
}

/// How a header that occurs several times is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As matching when any value does, alone; how routes read. Source: Envoy since 1.39,
    /// `match_headers_individually`.
    Each,
    /// As matching when any value does, alone or joined; how a rule that denies reads.
    Any,
    /// As matching only when every value does; how a rule that allows reads.
    Every,
}

impl Reading {
    /// How it is read below a negation.
    pub fn negated(self) -> Self {
        match self {
            Self::Each => Self::Each,
            Self::Any => Self::Every,
            Self::Every => Self::Any,
        }
    }
}

/// A compiled `HeaderMatcher`.
#[derive(Clone, Debug)]
pub struct HeaderMatcher {
    key: HeaderKey,
    kind: HeaderKind,
    invert: bool,
    missing_is_empty: bool,
}

#[derive(Clone, Debug)]
enum HeaderKind {
    Present(bool),
    Range(i64, i64),
    Text(StringMatcher),
}

impl HeaderMatcher {
    /// Compiles the message.
    pub fn compile(message: &HeaderProto) -> Result<Self, CompileError> {
        use header_matcher::HeaderMatchSpecifier as Specifier;
        let text = |pattern: MatchPattern| {
            StringMatcher::compile(&StringProto { ignore_case: false, match_pattern: Some(pattern) })
        };
        let kind = match &message.header_match_specifier {
            None => HeaderKind::Present(true),
            Some(Specifier::PresentMatch(present)) => HeaderKind::Present(*present),
            Some(Specifier::RangeMatch(range)) => HeaderKind::Range(range.start, range.end),
            Some(Specifier::ExactMatch(exact)) => HeaderKind::Text(text(MatchPattern::Exact(exact.clone()))?),
            Some(Specifier::PrefixMatch(prefix)) => {
                HeaderKind::Text(text(MatchPattern::Prefix(prefix.clone()))?)
            }
            Some(Specifier::SuffixMatch(suffix)) => {
                HeaderKind::Text(text(MatchPattern::Suffix(suffix.clone()))?)
            }
            Some(Specifier::ContainsMatch(part)) => {
                HeaderKind::Text(text(MatchPattern::Contains(part.clone()))?)
            }
            Some(Specifier::SafeRegexMatch(regex)) => {
                HeaderKind::Text(text(MatchPattern::SafeRegex(regex.clone()))?)
            }
            Some(Specifier::StringMatch(matcher)) => {
                HeaderKind::Text(StringMatcher::compile(matcher).map_err(|error| error.at("string_match"))?)
            }
        };
        Ok(Self {
            key: HeaderKey::compile(&message.name)?,
            kind,
            invert: message.invert_match,
            missing_is_empty: message.treat_missing_header_as_empty,
        })
    }

    /// Whether the request matches.
    pub fn matches(&self, view: &HeaderView<'_>, reading: Reading) -> bool {
        let reading = if self.invert { reading.negated() } else { reading };
        let found = match &self.key {
            HeaderKey::Method => self.one(view.method.as_bytes()),
            HeaderKey::Path => self.one(view.path.as_bytes()),
            HeaderKey::Authority => self.one(view.authority.as_bytes()),
            HeaderKey::Scheme => self.one(view.scheme.as_bytes()),
            HeaderKey::Name(name) => match self.named(view.headers, name, reading) {
                Some(found) => found,
                // A missing header matches nothing, inverted or not, except absence itself.
                None => return matches!(self.kind, HeaderKind::Present(present) if present == self.invert),
            },
        };
        found != self.invert
    }

    fn one(&self, value: &[u8]) -> bool {
        match &self.kind {
            HeaderKind::Present(present) => *present,
            HeaderKind::Range(start, end) => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.trim().parse::<i64>().ok())
                .is_some_and(|number| (*start..*end).contains(&number)),
            HeaderKind::Text(matcher) => matcher.matches(value),
        }
    }

    fn named(&self, headers: &HeaderMap, name: &HeaderName, reading: Reading) -> Option<bool> {
        let mut values = headers.get_all(name).iter();
        let first = match (values.next(), self.missing_is_empty) {
            (Some(first), _) => first,
            (None, true) if !matches!(self.kind, HeaderKind::Present(_)) => return Some(self.one(b"")),
            (None, _) => return None,
        };
        if values.next().is_none() {
            return Some(self.one(first.as_bytes()));
        }
        let joined = || self.one(&joined(headers, name));
        let each = || headers.get_all(name).iter().map(|value| self.one(value.as_bytes()));
        Some(match reading {
            Reading::Each => each().any(|found| found),
            Reading::Any => each().any(|found| found) || joined(),
            Reading::Every => each().all(|found| found),
        })
    }
}

/// All values of a header as one, joined by commas (RFC 9110 §5.3).
pub fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Cow<'a, [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Cow::Borrowed(b""),
        (Some(only), None) => Cow::Borrowed(only.as_bytes()),
        (Some(first), Some(second)) => {
            let mut all = first.as_bytes().to_vec();
            for value in std::iter::once(second).chain(values) {
                all.push(b',');
                all.extend_from_slice(HeaderValue::as_bytes(value));
            }
            Cow::Owned(all)
        }
    }
}

/// A compiled `QueryParameterMatcher`.
#[derive(Clone, Debug)]
pub struct QueryMatcher {
    name: String,
    /// `None` asks for presence only.
    value: Option<StringMatcher>,
    present: bool,
}

impl QueryMatcher {
    /// Compiles the message.
    pub fn compile(message: &QueryProto) -> Result<Self, CompileError> {
        use query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
        let (value, present) = match &message.query_parameter_match_specifier {
            None => (None, true),
            Some(Specifier::PresentMatch(present)) => (None, *present),
            Some(Specifier::StringMatch(matcher)) => (Some(StringMatcher::compile(matcher)?), true),
        };
        Ok(Self { name: message.name.clone(), value, present })
    }

    /// Whether the query (without `?`) matches. Names and values are compared as they stand, the
    /// first of a name counts.
    pub fn matches(&self, query: &str) -> bool {
        match (parameter(query, &self.name), &self.value) {
            (None, _) => !self.present,
            (Some(_), None) => self.present,
            (Some(value), Some(matcher)) => matcher.matches(value.as_bytes()),
        }
    }
}

/// The first value of a query parameter; empty when it stands without `=`.
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

/// A chance in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction(u32);

impl Fraction {
    /// Always.
    pub const ALWAYS: Self = Self(1_000_000);
    /// Never.
    pub const NEVER: Self = Self(0);

    /// Compiles the message.
    pub fn compile(message: &FractionalPercent) -> Self {
        let scale = match message.denominator {
            1 => 100,
            2 => 1,
            _ => 10_000,
        };
        Self(message.numerator.saturating_mul(scale).min(1_000_000))
    }

    /// Compiles the message with a runtime key, of which there is no runtime: the default holds.
    pub fn of_runtime(message: Option<&RuntimeFractionalPercent>, absent: Self) -> Self {
        match message.and_then(|message| message.default_value.as_ref()) {
            Some(value) => Self::compile(value),
            None => absent,
        }
    }

    /// From a percentage.
    pub fn percent(percent: f64) -> Self {
        // The cast saturates.
        Self((percent.clamp(0.0, 100.0) * 10_000.0).round() as u32)
    }

    /// Whether it happens to the request whose random number this is. `salt` makes the chances of
    /// one request independent of each other.
    pub fn happens(self, random: u64, salt: u64) -> bool {
        match self.0 {
            0 => false,
            1_000_000.. => true,
            chance => {
                let mixed = crate::upstream::balance::stable_hash(&(random ^ salt).to_le_bytes());
                crate::upstream::balance::scale(mixed, 1_000_000) < u64::from(chance)
            }
        }
    }
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;
