//! Counters of one listener, under Envoy's names.

use crate::telemetry::Telemetry;
use crate::telemetry::counters::Shared;

/// Counters of one listener.
pub struct Statistics {
    /// Connections accepted.
    pub total: Shared,
    /// Connections open.
    pub active: Shared,
    /// Connections ended.
    pub destroyed: Shared,
    /// Connections that no filter chain took.
    pub no_filter_chain_match: Shared,
    /// Connections closed while a listener filter waited for bytes.
    pub inspection_timeout: Shared,
    /// Connections that listener filters refused: broken PROXY header, closed too early.
    pub inspection_error: Shared,
    /// Connections refused because too many were open.
    pub overflow: Shared,
    /// TLS handshakes done.
    pub handshake: Shared,
    /// TLS handshakes that failed.
    pub handshake_error: Shared,
    /// TLS handshakes that took too long.
    pub handshake_timeout: Shared,
    /// Connections refused because a certificate or trust bundle is missing.
    pub secret_missing: Shared,
}

impl Statistics {
    /// Registers the counters of the listener with this prefix.
    pub fn new(telemetry: &Telemetry, stat_prefix: &str) -> Self {
        let registry = telemetry.registry();
        let counter = |name: &str| registry.counter(&format!("listener.{stat_prefix}.{name}"));
        Self {
            total: counter("downstream_cx_total"),
            active: registry.gauge(&format!("listener.{stat_prefix}.downstream_cx_active")),
            destroyed: counter("downstream_cx_destroy"),
            no_filter_chain_match: counter("no_filter_chain_match"),
            inspection_timeout: counter("downstream_pre_cx_timeout"),
            inspection_error: counter("downstream_listener_filter_error"),
            overflow: counter("downstream_global_cx_overflow"),
            handshake: counter("ssl.handshake"),
            handshake_error: counter("ssl.connection_error"),
            handshake_timeout: counter("downstream_cx_transport_socket_connect_timeout"),
            secret_missing: counter("server_ssl_socket_factory.downstream_context_secrets_not_ready"),
        }
    }
}
