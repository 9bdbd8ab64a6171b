//! One view of a request's path and host, for routing and policy alike: two views of one request are
//! how meshes get bypassed. What is forwarded is the normalised form too.
//!
//! Source: RFC 3986 §6.2.2; Envoy's `normalize_path`, `merge_slashes` and
//! `path_with_escaped_slashes_action`. Fragments never arrive: the URI parser drops them, so they
//! are neither matched nor forwarded.

use std::borrow::Cow;

/// What to do with `%2F` and `%5C`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// Leave them.
    #[default]
    Keep,
    /// Refuse the request.
    Reject,
    /// Decode them and send the client there.
    Redirect,
    /// Decode them and go on.
    Decode,
}

/// How paths are normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathRules {
    /// Decode what needs no escape, resolve `.` and `..`, take `\` for `/`.
    pub normalize: bool,
    /// Take several slashes for one.
    pub merge_slashes: bool,
    /// What to do with escaped slashes.
    pub escaped_slashes: EscapedSlashes,
}

/// A path that can be read in two ways, or that leaves the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path is ambiguous: {0}")]
pub struct Ambiguous(pub &'static str);

/// A normalised path.
#[derive(Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// Without the query.
    pub text: Cow<'a, str>,
    /// Whether the client should be sent to it instead.
    pub redirect: bool,
}

/// Normalises a path without its query.
pub fn path(path: &str, rules: PathRules) -> Result<Path<'_>, Ambiguous> {
    if is_plain(path.as_bytes()) {
        return Ok(Path { text: Cow::Borrowed(path), redirect: false });
    }
    let mut text = Cow::Borrowed(path);
    let mut redirect = false;
    if rules.escaped_slashes != EscapedSlashes::Keep && has_escaped_slash(path.as_bytes()) {
        match rules.escaped_slashes {
            EscapedSlashes::Reject => return Err(Ambiguous("it contains an escaped slash")),
            EscapedSlashes::Redirect => redirect = true,
            EscapedSlashes::Keep | EscapedSlashes::Decode => {}
        }
        text = Cow::Owned(decode(&text, |byte| matches!(byte, b'/' | b'\\'))?);
    }
    if rules.normalize {
        let decoded = decode(&text, is_unreserved)?.replace('\\', "/");
        text = Cow::Owned(resolve_dots(&decoded)?);
    }
    if rules.merge_slashes && text.contains("//") {
        text = Cow::Owned(merge_slashes(&text));
    }
    Ok(Path { redirect: redirect && text != path, text })
}

/// Whether no rule could change the path, which is nearly always so.
fn is_plain(path: &[u8]) -> bool {
    let mut previous = 0;
    for byte in path {
        match byte {
            b'%' | b'\\' => return false,
            b'/' | b'.' if previous == b'/' => return false,
            _ => previous = *byte,
        }
    }
    true
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn has_escaped_slash(path: &[u8]) -> bool {
    path.windows(3).any(|window| matches!(window, [b'%', b'2', b'F' | b'f'] | [b'%', b'5', b'C' | b'c']))
}

/// Decodes the escapes of bytes that `wanted` wants, and writes all others with capitals. A percent
/// sign that escapes nothing can be read in two ways, so it is refused; so is NUL.
fn decode(path: &str, wanted: impl Fn(u8) -> bool) -> Result<String, Ambiguous> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let byte = escape
            .get(1..3)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or(Ambiguous("it contains a percent sign that escapes nothing"))?;
        match byte {
            0 => return Err(Ambiguous("it contains NUL")),
            byte if wanted(byte) => out.push(char::from(byte)),
            _ => out.push_str(&escape.get(..3).unwrap_or_default().to_ascii_uppercase()),
        }
        rest = escape.get(3..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

/// RFC 3986 §5.2.4. A path that would leave the root is refused, as are dots with parameters
/// (`..;x`), which some servers take for dots.
fn resolve_dots(path: &str) -> Result<String, Ambiguous> {
    if !path.split('/').any(|segment| segment.starts_with('.')) {
        return Ok(path.to_owned());
    }
    let Some(inner) = path.strip_prefix('/') else { return Ok(path.to_owned()) };
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_directory = false;
    for segment in inner.split('/') {
        ends_in_directory = false;
        match segment {
            "." => ends_in_directory = true,
            ".." => {
                kept.pop().ok_or(Ambiguous("it leaves the root"))?;
                ends_in_directory = true;
            }
            segment if segment.split(';').next().is_some_and(|name| matches!(name, "." | "..")) => {
                return Err(Ambiguous("it contains dots with parameters"));
            }
            segment => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    if ends_in_directory || out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

fn merge_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter != '/' || !out.ends_with('/') {
            out.push(letter);
        }
    }
    out
}

/// The host in lower case without its port, as virtual hosts are matched.
pub fn host(authority: &str, strip_port: bool) -> Cow<'_, str> {
    let host = if strip_port { without_port(authority) } else { authority };
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The host without its port; brackets of IPv6 addresses stay.
pub fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(':') => {
            // `::1` without brackets has no port.
            if host.contains(':') && !host.ends_with(']') { authority } else { host }
        }
        _ => authority,
    }
}

/// The port of an authority.
pub fn port(authority: &str) -> Option<u16> {
    let host = without_port(authority);
    authority.get(host.len()..)?.strip_prefix(':')?.parse().ok()
}

/// Whether an authority is a host and nothing else: no user, path, space or control character.
pub fn is_host(authority: &str) -> bool {
    !authority.is_empty()
        && authority.bytes().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'-' | b'.'
                        | b'_'
                        | b'~'
                        | b':'
                        | b'['
                        | b']'
                        | b'%'
                        | b'*'
                        | b'+'
                        | b'!'
                        | b'$'
                        | b'&'
                        | b'\''
                        | b'('
                        | b')'
                        | b','
                        | b';'
                        | b'='
                )
        })
}

#[cfg(test)]
#[path = "normalize_tests.rs"]
mod tests;
