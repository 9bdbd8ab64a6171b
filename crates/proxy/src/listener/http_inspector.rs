//! Recognises HTTP by its first bytes: Envoy's `http_inspector`, which tells HTTP/1.0, HTTP/1.1 and
//! HTTP/2 with prior knowledge apart and calls everything else none of them.

/// The HTTP/2 client connection preface (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest request line we wait for; the HTTP path allows no longer one either.
pub const LONGEST: usize = 64 * 1024;
const LONGEST_METHOD: usize = 32;

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// So far it could become HTTP.
    Incomplete,
    /// HTTP, with the protocol's name as filter chains match it.
    Http(&'static str),
    /// Something else.
    Other,
}

/// Looks at the first bytes of a connection.
pub fn detect(bytes: &[u8]) -> Detected {
    let seen = bytes.len().min(PREFACE.len());
    if bytes.get(..seen) == PREFACE.get(..seen) {
        return if seen == PREFACE.len() { Detected::Http("h2c") } else { Detected::Incomplete };
    }
    // Empty lines before a request line are to be ignored (RFC 9112 §2.2).
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    let line = bytes.get(start..).unwrap_or_default();
    let Some(space) = line.iter().position(|byte| !is_token(*byte)) else {
        return if line.len() <= LONGEST_METHOD { Detected::Incomplete } else { Detected::Other };
    };
    if space == 0 || space > LONGEST_METHOD || line.get(space) != Some(&b' ') {
        return Detected::Other;
    }
    let target = line.get(space + 1..).unwrap_or_default();
    let Some(end) = target.iter().position(|byte| byte.is_ascii_control()) else {
        return if bytes.len() < LONGEST { Detected::Incomplete } else { Detected::Other };
    };
    let (target, rest) = target.split_at(end);
    if !matches!(rest.first(), Some(b'\r' | b'\n')) {
        return Detected::Other;
    }
    match target.rsplitn(2, |byte| *byte == b' ').next() {
        Some(b"HTTP/1.1") => Detected::Http("http/1.1"),
        Some(b"HTTP/1.0") => Detected::Http("http/1.0"),
        _ => Detected::Other,
    }
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[path = "http_inspector_tests.rs"]
mod tests;
