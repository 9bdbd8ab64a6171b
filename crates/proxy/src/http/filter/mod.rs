//! The HTTP filters this proxy has. Their place in the order is fixed: metadata exchange, policy,
//! gRPC statistics, ALPN, fault, CORS, Istio's statistics, router. That is the order in which Istio's
//! control plane lists them; any other is refused when it is compiled.

pub mod cors;
pub mod fault;
pub mod rbac;

use std::sync::Arc;

/// Compiled HTTP filters of a connection manager.
#[derive(Debug, Default)]
pub struct Filters {
    /// `istio.metadata_exchange`.
    pub metadata_exchange: Option<MetadataExchange>,
    /// `envoy.filters.http.rbac`, in order; a request must pass all of them.
    pub rbac: Vec<Arc<rbac::Rbac>>,
    /// `envoy.filters.http.grpc_stats`.
    pub grpc_stats: bool,
    /// `istio.alpn`.
    pub alpn: Option<Alpn>,
    /// `envoy.filters.http.fault`.
    pub fault: Option<Arc<fault::Fault>>,
    /// `envoy.filters.http.cors`.
    pub cors: bool,
    /// `envoy.filters.http.router`.
    pub router: Router,
}

/// `istio.metadata_exchange`: which side tells and is told who the other is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetadataExchange {
    /// Reads the client's headers.
    pub discover_downstream: bool,
    /// Reads the upstream's headers.
    pub discover_upstream: bool,
    /// Tells the client.
    pub tell_downstream: bool,
    /// Tells the upstream.
    pub tell_upstream: bool,
    /// Does not tell upstreams outside of the mesh.
    pub skip_external: bool,
}

/// `istio.alpn`: what is offered to upstreams by the protocol that is spoken to them.
#[derive(Clone, Debug, Default)]
pub struct Alpn {
    /// Tells configurations apart; part of the key of connection pools.
    pub identity: u64,
    /// For HTTP/1.
    pub http1: Vec<Vec<u8>>,
    /// For HTTP/2.
    pub http2: Vec<Vec<u8>>,
}

/// `envoy.filters.http.router`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Router {
    /// No `x-envoy-*` headers of our own making.
    pub suppress_envoy_headers: bool,
    /// Whether `x-envoy-expected-rq-timeout-ms` of the client is the timeout.
    pub respect_expected_timeout: bool,
}
