//! Retry decisions: which outcomes of an attempt are worth another, and how long to wait before it.
//! Source: Envoy documentation of `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.

use crate::compile::CompileError;
use crate::http::matcher::{HeaderMatcher, HeaderView, Reading};
use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// Envoy's default for the first back-off.
const BASE_INTERVAL: Duration = Duration::from_millis(25);

/// A set of outcomes that are retried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(u32);

macro_rules! retry_on {
    ($($(#[$doc:meta])* $constant:ident = $bit:literal, $word:literal;)*) => {
        impl RetryOn {
            $($(#[$doc])* pub const $constant: Self = Self(1 << $bit);)*

            fn word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$constant),)*
                    _ => None,
                }
            }
        }
    };
}

retry_on! {
    /// Any 5xx, or no response at all.
    SERVER_ERROR = 0, "5xx";
    /// 502, 503, 504.
    GATEWAY_ERROR = 1, "gateway-error";
    /// The connection or stream was reset before a response.
    RESET = 2, "reset";
    /// The same, before any of the request was sent.
    RESET_BEFORE_REQUEST = 3, "reset-before-request";
    /// The connection could not be made.
    CONNECT_FAILURE = 4, "connect-failure";
    /// The upstream rate limited us (kept for its word).
    ENVOY_RATE_LIMITED = 5, "envoy-ratelimited";
    /// 409.
    RETRIABLE_4XX = 6, "retriable-4xx";
    /// The stream was refused.
    REFUSED_STREAM = 7, "refused-stream";
    /// One of the policy's status codes.
    RETRIABLE_STATUS_CODES = 8, "retriable-status-codes";
    /// One of the policy's headers.
    RETRIABLE_HEADERS = 9, "retriable-headers";
    /// HTTP/3 failed after a connect (kept for its word).
    HTTP3_POST_CONNECT_FAILURE = 10, "http3-post-connect-failure";
    /// `grpc-status` 1.
    CANCELLED = 11, "cancelled";
    /// `grpc-status` 4.
    DEADLINE_EXCEEDED = 12, "deadline-exceeded";
    /// `grpc-status` 13.
    INTERNAL = 13, "internal";
    /// `grpc-status` 8.
    RESOURCE_EXHAUSTED = 14, "resource-exhausted";
    /// `grpc-status` 14.
    UNAVAILABLE = 15, "unavailable";
}

impl RetryOn {
    /// Reads words separated by commas; numbers are status codes and are given back.
    pub fn parse(words: &str) -> Result<(Self, Vec<u16>), String> {
        let mut set = Self::default();
        let mut codes = Vec::new();
        for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match (Self::word(word), word.parse()) {
                (Some(flag), _) => set.0 |= flag.0,
                (None, Ok(code)) => {
                    codes.push(code);
                    set.0 |= Self::RETRIABLE_STATUS_CODES.0;
                }
                (None, Err(_)) => return Err(format!("'{word}' is not a retry condition")),
            }
        }
        Ok((set, codes))
    }

    /// Adds the conditions of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether any of the conditions of `other` is set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A compiled retry policy.
#[derive(Clone, Debug, Default)]
pub struct RetryPolicy {
    /// What is retried.
    pub on: RetryOn,
    /// Further attempts.
    pub attempts: u32,
    /// Longest time for one attempt.
    pub per_try_timeout: Option<Duration>,
    /// Longest silence in one attempt.
    pub per_try_idle_timeout: Option<Duration>,
    /// Status codes for `retriable-status-codes`.
    pub status_codes: Vec<u16>,
    /// Response headers for `retriable-headers`, any of them.
    pub headers: Vec<HeaderMatcher>,
    /// Only requests with any of these headers are retried; empty is all.
    pub request_headers: Vec<HeaderMatcher>,
    /// The first back-off.
    pub base_interval: Option<Duration>,
    /// The longest back-off; ten times the first when absent.
    pub max_interval: Option<Duration>,
    /// Whether hosts already tried are avoided.
    pub avoid_previous_hosts: bool,
    /// How often a host is picked again when a tried one comes up.
    pub host_attempts: u32,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub enum Attempt<'a> {
    /// With the head of a response.
    Response {
        /// Its status.
        status: StatusCode,
        /// Its headers.
        headers: &'a HeaderMap,
        /// `grpc-status`, where the head of a gRPC response has it.
        grpc_status: Option<u8>,
    },
    /// The connection could not be made.
    ConnectFailed,
    /// The stream was refused.
    Refused,
    /// The stream or connection was reset.
    Reset {
        /// Whether none of the request was sent.
        unsent: bool,
    },
    /// It took longer than `per_try_timeout`.
    TimedOut,
    /// The circuit breaker was open.
    Overflow,
}

impl RetryPolicy {
    /// Whether this policy retries the outcome, were attempts left.
    pub fn wants(&self, attempt: &Attempt<'_>) -> bool {
        let on = self.on;
        match attempt {
            Attempt::Response { status, headers, grpc_status } => {
                let code = status.as_u16();
                (code >= 500 && on.has(RetryOn::SERVER_ERROR))
                    || (matches!(code, 502..=504) && on.has(RetryOn::GATEWAY_ERROR))
                    || (code == 409 && on.has(RetryOn::RETRIABLE_4XX))
                    || (on.has(RetryOn::RETRIABLE_STATUS_CODES) && self.status_codes.contains(&code))
                    || (on.has(RetryOn::ENVOY_RATE_LIMITED) && headers.contains_key("x-envoy-ratelimited"))
                    || (on.has(RetryOn::RETRIABLE_HEADERS) && self.has_retriable_header(headers))
                    || grpc_status.is_some_and(|status| on.has(grpc_condition(status)))
            }
            Attempt::ConnectFailed => on.has(any(&[
                RetryOn::CONNECT_FAILURE,
                RetryOn::SERVER_ERROR,
                RetryOn::GATEWAY_ERROR,
                RetryOn::RESET,
                RetryOn::RESET_BEFORE_REQUEST,
            ])),
            Attempt::Refused => on.has(any(&[
                RetryOn::REFUSED_STREAM,
                RetryOn::SERVER_ERROR,
                RetryOn::GATEWAY_ERROR,
                RetryOn::RESET,
            ])),
            Attempt::Reset { unsent } => {
                on.has(any(&[RetryOn::RESET, RetryOn::SERVER_ERROR, RetryOn::GATEWAY_ERROR]))
                    || (*unsent && on.has(any(&[RetryOn::RESET_BEFORE_REQUEST, RetryOn::CONNECT_FAILURE])))
            }
            Attempt::TimedOut => {
                on.has(any(&[RetryOn::SERVER_ERROR, RetryOn::GATEWAY_ERROR, RetryOn::RESET]))
            }
            Attempt::Overflow => false,
        }
    }

    /// Whether a copy of the request must be kept although it was sent.
    pub fn retries_after_sending(&self, grpc: bool) -> bool {
        let grpc_only = any(&[
            RetryOn::CANCELLED,
            RetryOn::DEADLINE_EXCEEDED,
            RetryOn::INTERNAL,
            RetryOn::RESOURCE_EXHAUSTED,
            RetryOn::UNAVAILABLE,
        ]);
        let always = any(&[
            RetryOn::SERVER_ERROR,
            RetryOn::GATEWAY_ERROR,
            RetryOn::RESET,
            RetryOn::RETRIABLE_4XX,
            RetryOn::REFUSED_STREAM,
            RetryOn::RETRIABLE_HEADERS,
            RetryOn::ENVOY_RATE_LIMITED,
        ]);
        self.attempts > 0
            && (self.on.has(always)
                || (grpc && self.on.has(grpc_only))
                || (self.on.has(RetryOn::RETRIABLE_STATUS_CODES) && !self.status_codes.is_empty()))
    }

    /// Whether requests like this one may be retried at all.
    pub fn applies_to(&self, view: &HeaderView<'_>) -> bool {
        self.request_headers.is_empty()
            || self.request_headers.iter().any(|matcher| matcher.matches(view, Reading::Each))
    }

    /// The wait before the `retry`-th retry (from 1), for a random number: anything up to an
    /// exponentially growing limit.
    pub fn back_off(&self, retry: u32, random: u64) -> Duration {
        let base = self.base_interval.unwrap_or(BASE_INTERVAL).max(Duration::from_millis(1));
        let longest = self.max_interval.unwrap_or(base.saturating_mul(10)).max(base);
        let limit = base.saturating_mul(2u32.saturating_pow(retry.min(20)).saturating_sub(1)).min(longest);
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(crate::upstream::balance::scale(random, nanos))
    }

    fn has_retriable_header(&self, headers: &HeaderMap) -> bool {
        let view = HeaderView { method: "", path: "", authority: "", scheme: "", headers };
        self.headers.iter().any(|matcher| matcher.matches(&view, Reading::Each))
    }

    /// Reads conditions into the policy.
    pub fn add_conditions(&mut self, words: &str) -> Result<(), CompileError> {
        let (on, codes) =
            RetryOn::parse(words).map_err(|reason| CompileError::invalid("retry_on", reason))?;
        self.on.insert(on);
        self.status_codes.extend(codes);
        Ok(())
    }
}

fn any(conditions: &[RetryOn]) -> RetryOn {
    conditions.iter().fold(RetryOn::default(), |mut all, condition| {
        all.insert(*condition);
        all
    })
}

fn grpc_condition(status: u8) -> RetryOn {
    match status {
        1 => RetryOn::CANCELLED,
        4 => RetryOn::DEADLINE_EXCEEDED,
        8 => RetryOn::RESOURCE_EXHAUSTED,
        13 => RetryOn::INTERNAL,
        14 => RetryOn::UNAVAILABLE,
        _ => RetryOn::default(),
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
