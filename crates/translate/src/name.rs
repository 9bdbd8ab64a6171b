//! The names of resources. They are Istio's, and tools read them.

use mizzen_model::Host;

/// Where unmatched outbound traffic goes when it may.
pub const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";
/// Where unmatched outbound traffic goes when it may not.
pub const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";
/// Where inbound traffic for ports without a service goes.
pub const INBOUND_PASSTHROUGH_CLUSTER: &str = "InboundPassthroughCluster";
/// The same over IPv6.
pub const INBOUND_PASSTHROUGH_CLUSTER_IPV6: &str = "InboundPassthroughClusterIpv6";
/// The listener that takes all outbound connections.
pub const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
/// The listener that takes all inbound connections.
pub const VIRTUAL_INBOUND: &str = "virtualInbound";

/// The cluster of a service's port and subset: `outbound|80|v1|host`.
pub fn outbound_cluster(port: u16, subset: &str, host: &Host) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// The cluster of a workload's own port: `inbound|8080||`.
pub fn inbound_cluster(port: u16) -> String {
    format!("inbound|{port}||")
}

/// The server name that sidecars send: `outbound_.80_.v1_.host`.
pub fn mesh_sni(port: u16, subset: &str, host: &Host) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}

/// The parts of an outbound cluster's name: port, subset and host.
pub fn parse_outbound_cluster(name: &str) -> Option<(u16, &str, Host)> {
    let mut parts = name.strip_prefix("outbound|")?.splitn(3, '|');
    let port = parts.next()?.parse().ok()?;
    let subset = parts.next()?;
    Some((port, subset, Host::new(parts.next()?)))
}
