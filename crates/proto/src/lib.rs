//! The protobuf messages that cross the wire and are not part of `envoy-types`:
//! Istio's certificate service, the DNS name table, and the configuration of
//! Istio's own filters. Names and field numbers are Istio's; they are the contract.

/// `istio.v1.auth`: the certificate signing service.
pub mod ca {
    tonic::include_proto!("istio.v1.auth");
}

/// `istio.networking.nds.v1`: names for the sidecar's DNS proxy.
#[allow(clippy::module_inception, reason = "protobuf names the nested messages' module after the message")]
pub mod name_table {
    tonic::include_proto!("istio.networking.nds.v1");
}

/// `stats`: the `istio.stats` filter.
pub mod stats {
    tonic::include_proto!("stats");
}

/// `io.istio.http.peer_metadata`: the HTTP metadata exchange filter.
pub mod peer_metadata {
    tonic::include_proto!("io.istio.http.peer_metadata");
}

/// `istio.envoy.config.filter.http.alpn.v2alpha1`: the ALPN filter.
pub mod alpn {
    tonic::include_proto!("istio.envoy.config.filter.http.alpn.v2alpha1");
}

/// `envoy.tcp.metadataexchange.config`: the TCP metadata exchange filter.
pub mod tcp_metadata_exchange {
    tonic::include_proto!("envoy.tcp.metadataexchange.config");
}

/// Descriptors of all messages above, for their JSON form.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Type URLs, as they stand in `google.protobuf.Any`.
pub mod type_url {
    /// The name table of the DNS proxy (NDS).
    pub const NAME_TABLE: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";
    /// Configuration of `istio.stats`, HTTP and TCP.
    pub const STATS: &str = "type.googleapis.com/stats.PluginConfig";
    /// Configuration of the HTTP metadata exchange.
    pub const PEER_METADATA: &str = "type.googleapis.com/io.istio.http.peer_metadata.Config";
    /// Configuration of `istio.alpn`.
    pub const ALPN: &str = "type.googleapis.com/istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig";
    /// Configuration of the TCP metadata exchange.
    pub const TCP_METADATA_EXCHANGE: &str =
        "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange";
}
