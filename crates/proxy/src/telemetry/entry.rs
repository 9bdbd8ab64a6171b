//! One finished request or connection as the access log sees it.

use super::ResponseFlags;
use super::access_log::{Field, HeaderKey, Plain};
use crate::connection::Downstream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The value of an operator.
pub enum Value<'a> {
    /// There is none.
    Missing,
    /// A number.
    Number(u64),
    /// Text that may come from a client.
    Text(Cow<'a, str>),
    /// Text of our own making, written in place.
    Shown(Shown),
}

/// Values that are written without being made into a string first.
pub enum Shown {
    /// An address with its port.
    Address(SocketAddr),
    /// An address without.
    Ip(std::net::IpAddr),
    /// A moment in ISO 8601 with milliseconds.
    Moment(SystemTime),
    /// Response flags.
    Flags(ResponseFlags),
    /// A number in lower-case hex of this width.
    Hex(u128, usize),
}

impl Value<'_> {
    /// Whether there is no value.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

/// What only HTTP has.
pub struct HttpEntry<'a> {
    /// Method; none where no request could be read.
    pub method: Option<&'a Method>,
    /// Path and query as sent upstream (after rewriting).
    pub path: &'a str,
    /// Host as sent upstream.
    pub authority: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Version of the downstream request.
    pub version: Version,
    /// Names of the captured request headers.
    pub request_names: &'a [HeaderName],
    /// Their values.
    pub request_values: &'a [Option<HeaderValue>],
    /// Names of the captured response headers.
    pub response_names: &'a [HeaderName],
    /// Their values.
    pub response_values: &'a [Option<HeaderValue>],
    /// All request headers, while they are at hand.
    pub live: Option<&'a HeaderMap>,
    /// Trailers of the response.
    pub trailers: Option<&'a HeaderMap>,
    /// Status of the response; none when there was no response.
    pub status: Option<StatusCode>,
    /// `grpc-status`.
    pub grpc_status: Option<u8>,
    /// Name of the virtual host.
    pub virtual_host: &'a str,
    /// Trace and span.
    pub trace: Option<(u128, u64)>,
    /// Until the request was read whole.
    pub request_read: Option<Duration>,
    /// Until the response began.
    pub response_began: Option<Duration>,
}

/// One finished request or connection.
pub struct Entry<'a> {
    /// The connection.
    pub downstream: &'a Downstream,
    /// The client's address, after `x-forwarded-for` where it is trusted.
    pub remote: SocketAddr,
    /// When it began.
    pub started_at: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Response flags.
    pub flags: ResponseFlags,
    /// `%RESPONSE_CODE_DETAILS%`; empty when there are none.
    pub details: &'a str,
    /// `%CONNECTION_TERMINATION_DETAILS%`.
    pub termination: Option<&'a str>,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub upstream_failure: Option<&'a str>,
    /// The cluster.
    pub cluster: Option<&'a str>,
    /// The host that was tried last.
    pub upstream: Option<SocketAddr>,
    /// Our end of that connection.
    pub upstream_local: Option<SocketAddr>,
    /// First URI SAN of the upstream's certificate.
    pub upstream_principal: Option<&'a str>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Name of the route; empty when it has none.
    pub route: &'a str,
    /// What only HTTP has.
    pub http: Option<HttpEntry<'a>>,
}

impl<'a> Entry<'a> {
    /// The value of one operator.
    pub fn value(&self, field: &'a Field) -> Value<'a>
    where
        Self: 'a,
    {
        match field {
            Field::RequestHeader(first, second) => {
                or_else(self.request(first), || second.as_ref().map(|key| self.request(key)))
            }
            Field::ResponseHeader(first, second) => {
                or_else(self.response(first), || second.as_ref().map(|key| self.response(key)))
            }
            Field::ResponseTrailer(first, second) => {
                or_else(self.trailer(first), || second.as_ref().map(|key| self.trailer(key)))
            }
            Field::PathWithoutQuery => match &self.http {
                Some(http) => text(http.path.split('?').next().unwrap_or_default()),
                None => Value::Missing,
            },
            Field::StartTime(None) => Value::Shown(Shown::Moment(self.started_at)),
            Field::StartTime(Some(format)) => self.formatted_start(format),
            Field::Constant(constant) => text(constant),
            Field::Plain(plain) => self.plain(*plain),
        }
    }

    fn plain(&self, plain: Plain) -> Value<'a> {
        let tls = self.downstream_tls();
        let peer = tls.and_then(|tls| tls.peer.as_ref());
        let http = self.http.as_ref();
        match plain {
            Plain::Protocol => match http.map(|http| http.version) {
                Some(Version::HTTP_10) => text("HTTP/1.0"),
                Some(Version::HTTP_11) => text("HTTP/1.1"),
                Some(Version::HTTP_2) => text("HTTP/2"),
                _ => Value::Missing,
            },
            Plain::ResponseCode => {
                let status = http.and_then(|http| http.status);
                Value::Number(status.map_or(0, |status| u64::from(status.as_u16())))
            }
            Plain::ResponseFlags => Value::Shown(Shown::Flags(self.flags)),
            Plain::ResponseFlagsLong => Value::Text(self.flags.long().into()),
            Plain::ResponseCodeDetails => text(self.details),
            Plain::ConnectionTerminationDetails => self.termination.map_or(Value::Missing, text),
            Plain::UpstreamTransportFailureReason => self.upstream_failure.map_or(Value::Missing, text),
            Plain::BytesReceived => Value::Number(self.received),
            Plain::BytesSent => Value::Number(self.sent),
            Plain::Duration => milliseconds(Some(self.duration)),
            Plain::RequestDuration => milliseconds(http.and_then(|http| http.request_read)),
            Plain::ResponseDuration => milliseconds(http.and_then(|http| http.response_began)),
            Plain::ResponseTxDuration => {
                let began = http.and_then(|http| http.response_began);
                milliseconds(began.map(|began| self.duration.saturating_sub(began)))
            }
            Plain::UpstreamHost | Plain::UpstreamRemoteAddress => address(self.upstream),
            Plain::UpstreamRemoteAddressWithoutPort => ip(self.upstream),
            Plain::UpstreamRemotePort => port(self.upstream),
            Plain::UpstreamLocalAddress => address(self.upstream_local),
            Plain::UpstreamLocalAddressWithoutPort => ip(self.upstream_local),
            Plain::UpstreamLocalPort => port(self.upstream_local),
            Plain::UpstreamCluster | Plain::UpstreamClusterRaw => self.cluster.map_or(Value::Missing, text),
            Plain::UpstreamRequestAttemptCount => Value::Number(u64::from(self.attempts)),
            Plain::UpstreamPeerUriSan => self.upstream_principal.map_or(Value::Missing, text),
            Plain::DownstreamLocalAddress => address(Some(self.downstream.local)),
            Plain::DownstreamLocalAddressWithoutPort => ip(Some(self.downstream.local)),
            Plain::DownstreamLocalPort => port(Some(self.downstream.local)),
            Plain::DownstreamRemoteAddress => address(Some(self.remote)),
            Plain::DownstreamRemoteAddressWithoutPort => ip(Some(self.remote)),
            Plain::DownstreamRemotePort => port(Some(self.remote)),
            Plain::DownstreamDirectRemoteAddress => address(Some(self.downstream.direct_peer)),
            Plain::DownstreamDirectRemoteAddressWithoutPort => ip(Some(self.downstream.direct_peer)),
            Plain::DownstreamDirectRemotePort => port(Some(self.downstream.direct_peer)),
            Plain::RequestedServerName => self.server_name().map_or(Value::Missing, text),
            Plain::DownstreamPeerUriSan => joined(peer.map(|peer| peer.uri_sans.as_slice())),
            Plain::DownstreamLocalUriSan => {
                joined(tls.and_then(|tls| tls.local.as_ref()).map(|local| local.uri_sans.as_slice()))
            }
            Plain::DownstreamPeerSubject => peer.map_or(Value::Missing, |peer| text(&peer.subject)),
            Plain::DownstreamPeerIssuer => peer.map_or(Value::Missing, |peer| text(&peer.issuer)),
            Plain::DownstreamPeerSerial => peer.map_or(Value::Missing, |peer| text(&peer.serial)),
            Plain::DownstreamTlsVersion => tls.map_or(Value::Missing, |tls| text(tls.version)),
            Plain::DownstreamTlsCipher => tls.map_or(Value::Missing, |tls| text(tls.cipher)),
            Plain::RouteName => text(self.route),
            Plain::VirtualHostName => http.map_or(Value::Missing, |http| text(http.virtual_host)),
            Plain::FilterChainName => Value::Text(Cow::Owned(self.downstream.chain.name.to_string())),
            Plain::ConnectionId => Value::Number(self.downstream.id),
            Plain::Hostname => hostname(),
            Plain::GrpcStatus => match http.and_then(|http| http.grpc_status) {
                Some(status) => text(grpc_status_name(status)),
                None => Value::Missing,
            },
            Plain::GrpcStatusNumber => match http.and_then(|http| http.grpc_status) {
                Some(status) => Value::Number(u64::from(status)),
                None => Value::Missing,
            },
            Plain::TraceId => match http.and_then(|http| http.trace) {
                Some((trace, _)) => Value::Shown(Shown::Hex(trace, 32)),
                None => Value::Missing,
            },
            Plain::SpanId => match http.and_then(|http| http.trace) {
                Some((_, span)) => Value::Shown(Shown::Hex(u128::from(span), 16)),
                None => Value::Missing,
            },
        }
    }

    fn downstream_tls(&self) -> Option<&'a crate::connection::TlsInfo> {
        self.downstream.tls.as_ref()
    }

    fn server_name(&self) -> Option<&'a str> {
        self.downstream.server_name.as_deref()
    }

    fn request(&self, key: &HeaderKey) -> Value<'a> {
        let Some(http) = &self.http else { return Value::Missing };
        match key {
            HeaderKey::Method => http.method.map_or(Value::Missing, |method| text(method.as_str())),
            HeaderKey::Path => text(http.path),
            HeaderKey::Authority => text(http.authority),
            HeaderKey::Scheme => text(http.scheme),
            HeaderKey::Status => Value::Missing,
            HeaderKey::Name(name) => match http.live {
                Some(headers) => headers.get(name).map_or(Value::Missing, header),
                None => captured(http.request_names, http.request_values, name),
            },
        }
    }

    fn response(&self, key: &HeaderKey) -> Value<'a> {
        let Some(http) = &self.http else { return Value::Missing };
        match key {
            HeaderKey::Status => {
                http.status.map_or(Value::Missing, |status| Value::Number(u64::from(status.as_u16())))
            }
            HeaderKey::Name(name) => captured(http.response_names, http.response_values, name),
            _ => Value::Missing,
        }
    }

    fn trailer(&self, key: &HeaderKey) -> Value<'a> {
        let trailers = self.http.as_ref().and_then(|http| http.trailers);
        match (key, trailers) {
            (HeaderKey::Name(name), Some(trailers)) => trailers.get(name).map_or(Value::Missing, header),
            _ => Value::Missing,
        }
    }

    fn formatted_start(&self, format: &str) -> Value<'a> {
        let Ok(moment) = jiff::Timestamp::try_from(self.started_at) else { return Value::Missing };
        match jiff::fmt::strtime::format(format, moment) {
            Ok(formatted) => Value::Text(formatted.into()),
            Err(_) => Value::Missing,
        }
    }
}

fn or_else<'a>(first: Value<'a>, second: impl FnOnce() -> Option<Value<'a>>) -> Value<'a> {
    if first.is_missing() { second().unwrap_or(Value::Missing) } else { first }
}

fn text(text: &str) -> Value<'_> {
    if text.is_empty() { Value::Missing } else { Value::Text(Cow::Borrowed(text)) }
}

fn header(value: &HeaderValue) -> Value<'_> {
    if value.is_empty() { Value::Missing } else { Value::Text(String::from_utf8_lossy(value.as_bytes())) }
}

fn captured<'a>(names: &[HeaderName], values: &'a [Option<HeaderValue>], name: &HeaderName) -> Value<'a> {
    let position = names.iter().position(|candidate| candidate == name);
    match position.and_then(|position| values.get(position)) {
        Some(Some(value)) => header(value),
        _ => Value::Missing,
    }
}

fn milliseconds<'a>(duration: Option<Duration>) -> Value<'a> {
    match duration {
        Some(duration) => Value::Number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        None => Value::Missing,
    }
}

fn address<'a>(address: Option<SocketAddr>) -> Value<'a> {
    address.map_or(Value::Missing, |address| Value::Shown(Shown::Address(address)))
}

fn ip<'a>(address: Option<SocketAddr>) -> Value<'a> {
    address.map_or(Value::Missing, |address| Value::Shown(Shown::Ip(address.ip())))
}

fn port<'a>(address: Option<SocketAddr>) -> Value<'a> {
    address.map_or(Value::Missing, |address| Value::Number(u64::from(address.port())))
}

fn joined<'a>(names: Option<&'a [std::sync::Arc<str>]>) -> Value<'a> {
    match names {
        Some([only]) => text(only),
        Some(names) if !names.is_empty() => Value::Text(names.join(",").into()),
        _ => Value::Missing,
    }
}

fn hostname<'a>() -> Value<'a> {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or(Value::Missing, |name| Value::Text(name.trim_end().to_owned().into()))
}

/// gRPC status codes by name. Source: grpc/doc/statuscodes.md, in Envoy's camel case.
fn grpc_status_name(status: u8) -> &'static str {
    match status {
        0 => "OK",
        1 => "Canceled",
        2 => "Unknown",
        3 => "InvalidArgument",
        4 => "DeadlineExceeded",
        5 => "NotFound",
        6 => "AlreadyExists",
        7 => "PermissionDenied",
        8 => "ResourceExhausted",
        9 => "FailedPrecondition",
        10 => "Aborted",
        11 => "OutOfRange",
        12 => "Unimplemented",
        13 => "Internal",
        14 => "Unavailable",
        15 => "DataLoss",
        16 => "Unauthenticated",
        _ => "InvalidCode",
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Ip(ip) => ip.fmt(formatter),
            Self::Flags(flags) => flags.fmt(formatter),
            Self::Hex(number, width) => write!(formatter, "{number:0width$x}"),
            Self::Moment(moment) => iso8601(*moment, formatter),
        }
    }
}

/// `2026-11-23T21:10:57.042Z`, written without a time zone database.
fn iso8601(moment: SystemTime, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    write!(
        formatter,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

/// Days since 1970-01-01 as year, month and day, in eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
