//! Trace contexts on the wire: W3C `traceparent`, B3 in one header and in several.
//!
//! A context is read from whichever is there, W3C first, and written as `traceparent` and in each of
//! the forms it came in, so that neighbours of every sort see one trace.

use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const B3: HeaderName = HeaderName::from_static("b3");
const B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const B3_PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// A span's place in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: u128,
    /// The span.
    pub span: u64,
    /// Whether it is recorded; `None` when nobody has decided yet.
    pub sampled: Option<bool>,
}

impl TraceContext {
    /// The context a request carries.
    pub fn extract(headers: &HeaderMap) -> Option<Self> {
        text(headers, &TRACEPARENT)
            .and_then(traceparent)
            .or_else(|| text(headers, &B3).and_then(b3_single))
            .or_else(|| b3_multi(headers))
    }

    /// Only the decision, which B3 allows without a context: `b3: 0`, `x-b3-sampled: 0`.
    pub fn decision(headers: &HeaderMap) -> Option<bool> {
        text(headers, &B3).and_then(sampled_word).or_else(|| b3_decision(headers))
    }

    /// Writes the context into a request. `parent` is the span before it.
    pub fn inject(&self, parent: Option<u64>, headers: &mut HeaderMap) {
        let sampled = self.sampled.unwrap_or(false);
        let (trace, span) = (self.trace, self.span);
        let flag = if sampled { "01" } else { "00" };
        set(headers, &TRACEPARENT, &format!("00-{trace:032x}-{span:016x}-{flag}"));
        let bit = if sampled { "1" } else { "0" };
        if headers.contains_key(&B3) {
            let parent = parent.map(|parent| format!("-{parent:016x}")).unwrap_or_default();
            set(headers, &B3, &format!("{trace:032x}-{span:016x}-{bit}{parent}"));
        }
        if [&B3_TRACE, &B3_SAMPLED, &B3_FLAGS].iter().any(|name| headers.contains_key(*name)) {
            set(headers, &B3_TRACE, &format!("{trace:032x}"));
            set(headers, &B3_SPAN, &format!("{span:016x}"));
            if let Some(parent) = parent {
                set(headers, &B3_PARENT, &format!("{parent:016x}"));
            }
            set(headers, &B3_SAMPLED, bit);
        }
    }
}

fn set(headers: &mut HeaderMap, name: &HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// W3C Trace Context §3.2.2. Versions above 00 may carry more after the flags.
fn traceparent(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let version = parts.next().filter(|version| is_hex(version, 2) && *version != "ff")?;
    let trace = parts.next().filter(|trace| is_hex(trace, 32))?;
    let span = parts.next().filter(|span| is_hex(span, 16))?;
    let flags = parts.next().filter(|flags| is_hex(flags, 2))?;
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    context(trace, span, Some(flags & 1 == 1))
}

fn b3_single(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let trace = parts.next().filter(|trace| is_hex(trace, 32) || is_hex(trace, 16))?;
    let span = parts.next().filter(|span| is_hex(span, 16))?;
    context(trace, span, parts.next().and_then(sampled_word))
}

fn b3_multi(headers: &HeaderMap) -> Option<TraceContext> {
    let trace = text(headers, &B3_TRACE).filter(|trace| is_hex(trace, 32) || is_hex(trace, 16))?;
    let span = text(headers, &B3_SPAN).filter(|span| is_hex(span, 16))?;
    context(trace, span, b3_decision(headers))
}

fn b3_decision(headers: &HeaderMap) -> Option<bool> {
    if text(headers, &B3_FLAGS) == Some("1") {
        return Some(true);
    }
    text(headers, &B3_SAMPLED).and_then(sampled_word)
}

fn sampled_word(word: &str) -> Option<bool> {
    match word {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn context(trace: &str, span: &str, sampled: Option<bool>) -> Option<TraceContext> {
    let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
    let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
    Some(TraceContext { trace, span, sampled })
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[path = "trace_context_tests.rs"]
mod tests;
