//! What a caller may ask of the echo application: by query (`?delay=200ms&status=503`) or by header
//! (`x-echo-delay: 200ms`). A header wins over the query.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use std::time::Duration;

const PREFIX: &str = "x-echo-";
const LONGEST_DELAY: Duration = Duration::from_secs(3600);
const MOST_BYTES: u64 = 1 << 32;
const MOST_CHUNKS: u32 = 1_000_000;

/// How the answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Json,
    /// One `name=value` a line.
    Text,
}

/// What was asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Controls {
    /// `delay=200ms`: wait before the answer.
    pub delay: Duration,
    /// `status=503`: the HTTP status, or for gRPC the status code (0 to 16).
    pub status: Option<u16>,
    /// `fail=30%`: this share of the answers is 503, or UNAVAILABLE for gRPC. From 0 to 1.
    pub fail: f64,
    /// `bytes=N`: a body of so many bytes instead of the description.
    pub bytes: Option<u64>,
    /// `stream=N`: so many chunks, `interval=100ms` apart.
    pub stream: Option<u32>,
    pub interval: Duration,
    /// `header=NAME:VALUE`, repeatable: a header of the answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `close`: end the connection after this answer.
    pub close: bool,
    /// `format=text`.
    pub format: Format,
}

/// A control that makes no sense; the caller gets it as 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{name}={value}': {wanted}")]
pub struct InvalidControl {
    pub name: String,
    pub value: String,
    pub wanted: &'static str,
}

/// Reads all controls of a request.
pub fn parse(query: Option<&str>, headers: &HeaderMap) -> Result<Controls, InvalidControl> {
    let mut controls = Controls::default();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8_lossy();
        controls.set(name, &value)?;
    }
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix(PREFIX) {
            controls.set(name, value.to_str().unwrap_or("\u{fffd}"))?;
        }
    }
    Ok(controls)
}

impl Controls {
    /// Takes one control; names that are none are the caller's own business.
    fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidControl> {
        let invalid = |wanted| InvalidControl { name: name.to_owned(), value: value.to_owned(), wanted };
        match name {
            "delay" => {
                self.delay =
                    duration(value).ok_or_else(|| invalid("a time such as 200ms or 1.5s, at most 1h"))?
            }
            "interval" => {
                self.interval = duration(value).ok_or_else(|| invalid("a time such as 100ms, at most 1h"))?;
            }
            "status" => {
                let status = value.parse().ok().filter(|status| *status <= 16 || (200..600).contains(status));
                self.status =
                    Some(status.ok_or_else(|| {
                        invalid("an HTTP status from 200 to 599, or a gRPC code from 0 to 16")
                    })?);
            }
            "fail" => self.fail = share(value).ok_or_else(|| invalid("a percentage such as 30%"))?,
            "bytes" => {
                let bytes = value.parse().ok().filter(|bytes| *bytes <= MOST_BYTES);
                self.bytes = Some(bytes.ok_or_else(|| invalid("a number of bytes, at most 4 GiB"))?);
            }
            "stream" => {
                let chunks = value.parse().ok().filter(|chunks| *chunks <= MOST_CHUNKS);
                self.stream = Some(chunks.ok_or_else(|| invalid("a number of chunks, at most 1000000"))?);
            }
            "header" => {
                let header = value.split_once(':').and_then(|(name, value)| {
                    Some((name.trim().parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
                });
                self.headers.push(header.ok_or_else(|| invalid("a header as NAME:VALUE"))?);
            }
            "close" => self.close = !matches!(value, "false" | "0"),
            "format" => {
                self.format = match value {
                    "json" => Format::Json,
                    "text" => Format::Text,
                    _ => return Err(invalid("json or text")),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether this answer is one of those that fail, given a number from 0 up to 1.
    pub fn fails(&self, roll: f64) -> bool {
        roll < self.fail
    }
}

/// `200ms`, `1.5s`, `2m`, `1h`, or a bare number of milliseconds.
fn duration(text: &str) -> Option<Duration> {
    let number_end =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" | "" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= LONGEST_DELAY)
}

/// `30%` or `30`.
fn share(text: &str) -> Option<f64> {
    let percent: f64 = text.trim_end_matches('%').parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

#[cfg(test)]
#[path = "controls_tests.rs"]
mod tests;
