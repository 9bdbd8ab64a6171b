//! Listeners: where connections arrive, and what is made of them.

pub(crate) mod gateway;
pub(crate) mod inbound;
pub(crate) mod outbound;
pub(crate) mod tcp;

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::listener::{
    http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst, tls_inspector::v3::TlsInspector,
};

use crate::{
    context::Context,
    envoy::{self as e, listener as pb},
};

/// HTTP as it is recognised from a connection's first bytes.
pub(crate) const PLAIN_HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];
/// A connection without TLS.
pub(crate) const RAW_BUFFER: &str = "raw_buffer";
/// A connection with TLS.
pub(crate) const TLS: &str = "tls";

/// Reads the original destination.
pub(crate) fn original_destination() -> pb::ListenerFilter {
    e::listener_filter("envoy.filters.listener.original_dst", &OriginalDst::default())
}

/// Recognises TLS, its server name and its protocols.
pub(crate) fn tls_inspector() -> pb::ListenerFilter {
    e::listener_filter("envoy.filters.listener.tls_inspector", &TlsInspector::default())
}

/// Recognises HTTP.
pub(crate) fn http_inspector() -> pb::ListenerFilter {
    e::listener_filter("envoy.filters.listener.http_inspector", &HttpInspector::default())
}

/// How long first bytes are waited for; zero waits for ever.
pub(crate) fn detection_timeout(context: &Context<'_>) -> Duration {
    context.snapshot().mesh().protocol_detection_timeout
}

/// The address that means any.
pub(crate) fn any_address(context: &Context<'_>) -> &'static str {
    if context.proxy.addresses.first().is_some_and(std::net::IpAddr::is_ipv6) { "::" } else { "0.0.0.0" }
}

pub(crate) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
