//! Response flags: why a request or connection went the way it did, in Envoy's words.
//!
//! Source: Envoy's access log documentation, `%RESPONSE_FLAGS%`.

use std::fmt;

/// A set of response flags. Cheap to copy; empty when all went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResponseFlags(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $constant:ident = $bit:literal, $short:literal, $long:literal;)*) => {
        impl ResponseFlags {
            $($(#[$doc])* pub const $constant: Self = Self(1 << $bit);)*
            /// Every flag with its short and long name, in the order they are printed.
            const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$constant, $short, $long),)*];
        }
    };
}

flags! {
    /// No healthy upstream host.
    NO_HEALTHY_UPSTREAM = 0, "UH", "NoHealthyUpstream";
    /// The connection to the upstream could not be made.
    UPSTREAM_CONNECTION_FAILURE = 1, "UF", "UpstreamConnectionFailure";
    /// A circuit breaker was open.
    UPSTREAM_OVERFLOW = 2, "UO", "UpstreamOverflow";
    /// No route matched.
    NO_ROUTE = 3, "NR", "NoRouteFound";
    /// The retry limit was reached.
    RETRY_LIMIT_EXCEEDED = 4, "URX", "UpstreamRetryLimitExceeded";
    /// The route's cluster does not exist.
    NO_CLUSTER = 5, "NC", "NoClusterFound";
    /// `max_stream_duration` or the connection's maximum duration was reached.
    DURATION_TIMEOUT = 6, "DT", "DurationTimeout";
    /// The downstream closed before the end.
    DOWNSTREAM_TERMINATION = 7, "DC", "DownstreamConnectionTermination";
    /// A failed local health check.
    FAILED_LOCAL_HEALTH_CHECK = 8, "LH", "FailedLocalHealthCheck";
    /// The upstream did not answer within the timeout.
    UPSTREAM_TIMEOUT = 9, "UT", "UpstreamRequestTimeout";
    /// We reset the stream.
    LOCAL_RESET = 10, "LR", "LocalReset";
    /// The upstream reset the stream.
    UPSTREAM_REMOTE_RESET = 11, "UR", "UpstreamRemoteReset";
    /// The upstream closed the connection before the response was complete.
    UPSTREAM_TERMINATION = 12, "UC", "UpstreamConnectionTermination";
    /// A fault was injected: delay.
    DELAY_INJECTED = 13, "DI", "DelayInjected";
    /// A fault was injected: abort.
    FAULT_INJECTED = 14, "FI", "FaultInjected";
    /// Rate limited.
    RATE_LIMITED = 15, "RL", "RateLimited";
    /// Denied by external authorization.
    UNAUTHORIZED_EXTERNAL = 16, "UAEX", "UnauthorizedExternalService";
    /// The rate limit service failed.
    RATE_LIMIT_SERVICE_ERROR = 17, "RLSE", "RateLimitServiceError";
    /// Invalid `x-envoy-*` headers.
    INVALID_ENVOY_HEADERS = 18, "IH", "InvalidEnvoyRequestHeaders";
    /// The stream was idle for too long.
    STREAM_IDLE_TIMEOUT = 19, "SI", "StreamIdleTimeout";
    /// The downstream broke the protocol.
    DOWNSTREAM_PROTOCOL_ERROR = 20, "DPE", "DownstreamProtocolError";
    /// The upstream broke the protocol.
    UPSTREAM_PROTOCOL_ERROR = 21, "UPE", "UpstreamProtocolError";
    /// The route's `max_stream_duration` was reached.
    UPSTREAM_MAX_STREAM_DURATION = 22, "UMSDR", "UpstreamMaxStreamDurationReached";
    /// The proxy is overloaded.
    OVERLOAD = 23, "OM", "OverloadManagerTerminated";
    /// The upstream's name could not be resolved.
    DNS_FAILURE = 24, "DF", "DnsResolutionFailed";
    /// Dropped by the load assignment's `drop_overloads`.
    DROP_OVERLOAD = 25, "DO", "DropOverload";
}

impl ResponseFlags {
    /// No flag.
    pub const NONE: Self = Self(0);

    /// Adds the flags of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Takes the flags of `other` away.
    pub fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The long names, comma separated, or `-`: `%RESPONSE_FLAGS_LONG%`.
    pub fn long(self) -> String {
        self.join(|(_, _, long)| long)
    }

    fn join(self, name: impl Fn(&(Self, &'static str, &'static str)) -> &'static str) -> String {
        if self.is_empty() {
            return "-".to_owned();
        }
        let names: Vec<_> = Self::ALL.iter().filter(|(flag, ..)| self.contains(*flag)).map(name).collect();
        names.join(",")
    }
}

impl std::ops::BitOr for ResponseFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The short names, comma separated, or `-`.
impl fmt::Display for ResponseFlags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("-");
        }
        let mut rest = false;
        for (flag, short, _) in Self::ALL {
            if self.contains(*flag) {
                if rest {
                    formatter.write_str(",")?;
                }
                formatter.write_str(short)?;
                rest = true;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "flags_tests.rs"]
mod tests;
