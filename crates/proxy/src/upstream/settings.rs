//! What is configured of a cluster.

use super::balance::{Policy, Sharing};
use super::dns::DnsSettings;
use super::outlier::OutlierSettings;
use crate::telemetry::intern::Id;
use crate::tls::Connector;
use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::google::protobuf::Value;
use mizzen_net::socket::Keepalive;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where a cluster's hosts come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    /// The cluster's own load assignment.
    Static,
    /// EDS, under this name.
    Eds(Arc<str>),
    /// DNS: every address of every name is a host.
    StrictDns,
    /// DNS: one host, whose address is whatever the name says now.
    LogicalDns,
    /// Wherever the client was going.
    OriginalDestination(OriginalDestination),
}

/// How an `ORIGINAL_DST` cluster finds its host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OriginalDestination {
    /// Replaces the destination's port.
    pub port: Option<u16>,
    /// Takes the destination from this request header.
    pub header: Option<http::HeaderName>,
}

/// Which HTTP a cluster's hosts speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// What the client speaks.
    SameAsClient,
    /// What the TLS handshake agrees on.
    Negotiated,
}

/// How HTTP/1 header names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderCase {
    /// In lower case.
    Lower,
    /// With capitals after hyphens.
    Proper,
    /// As they were received.
    Preserved,
}

/// Compiled `Http2ProtocolOptions` of a cluster. `None` is the default of the HTTP/2 code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http2Settings {
    /// Requests at once on a connection, below what the peer allows.
    pub max_concurrent_streams: Option<u32>,
    /// Window of a stream in bytes.
    pub stream_window: Option<u32>,
    /// Window of a connection in bytes.
    pub connection_window: Option<u32>,
    /// Pings an idle connection this often, and gives it up without an answer in this time.
    pub keepalive: Option<(Duration, Duration)>,
}

/// One transport socket of a cluster.
#[derive(Clone)]
pub struct TransportMatch {
    /// Its name.
    pub name: Arc<str>,
    /// What an endpoint's metadata must say.
    pub criteria: Vec<(String, Value)>,
    /// TLS, or plain text.
    pub connector: Option<Arc<Connector>>,
}

/// All transport sockets of a cluster; endpoints are matched in order, the last one takes the rest.
#[derive(Clone, Default)]
pub struct Transports {
    /// `transport_socket_matches`.
    pub matches: Vec<TransportMatch>,
    /// `transport_socket`.
    pub default: Option<Arc<Connector>>,
}

impl Transports {
    /// The number of the transport for an endpoint with this metadata.
    pub(super) fn select(&self, metadata: Option<&Metadata>) -> usize {
        let fields = metadata
            .and_then(|metadata| metadata.filter_metadata.get("envoy.transport_socket_match"))
            .map(|criteria| &criteria.fields);
        let holds = |criteria: &[(String, Value)]| {
            criteria.iter().all(|(key, wanted)| fields.and_then(|fields| fields.get(key)) == Some(wanted))
        };
        self.matches.iter().position(|candidate| holds(&candidate.criteria)).unwrap_or(self.matches.len())
    }

    /// The connector of a transport.
    pub fn connector(&self, number: usize) -> Option<&Arc<Connector>> {
        match self.matches.get(number) {
            Some(matched) => matched.connector.as_ref(),
            None => self.default.as_ref(),
        }
    }
}

impl fmt::Debug for Transports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.matches.iter().map(|matched| &matched.name).collect();
        formatter.debug_struct("Transports").field("matches", &names).finish_non_exhaustive()
    }
}

/// What is configured of a cluster.
#[derive(Debug)]
pub struct ClusterSettings {
    /// The name.
    pub name: Arc<str>,
    /// Where hosts come from.
    pub discovery: Discovery,
    /// Which host takes a request.
    pub policy: Policy,
    /// How priorities and localities share.
    pub sharing: Sharing,
    /// Which HTTP its hosts speak.
    pub protocol: HttpProtocol,
    /// HTTP/1 header names.
    pub header_case: HeaderCase,
    /// HTTP/2.
    pub http2: Http2Settings,
    /// Longest time for a connection to be made; Envoy's default is 5 s.
    pub connect_timeout: Duration,
    /// How long a connection may be idle; Envoy's default is one hour.
    pub idle_timeout: Option<Duration>,
    /// Requests a connection serves at most.
    pub max_requests_per_connection: Option<u32>,
    /// Headers a response may have at most.
    pub max_response_headers: usize,
    /// Source address of connections.
    pub source: Option<IpAddr>,
    /// TCP keepalive.
    pub keepalive: Option<Keepalive>,
    /// TLS.
    pub transports: Transports,
    /// Take the TLS server name from the request's host.
    pub auto_sni: bool,
    /// Outlier detection.
    pub outlier: Option<OutlierSettings>,
    /// The destination service, as metrics name it.
    pub service: Id,
    /// The resource's metadata.
    pub metadata: Option<Arc<Metadata>>,
    /// Name resolution.
    pub dns: DnsSettings,
}
