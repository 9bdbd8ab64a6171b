//! Upstream clusters: endpoints, load balancing, outlier ejection, circuit breaking, pools.
//!
//! A [`Cluster`] is shared by all workers. What a request reads of it is immutable or atomic; new
//! endpoints replace the whole picture at once. Connections belong to workers ([`Pools`]).

pub mod balance;
pub mod breaker;
mod cluster;
mod connect;
pub mod dns;
mod host;
pub mod outlier;
mod pool;
mod settings;
mod status;

pub use cluster::Cluster;
pub use connect::{ConnectError, Connection, ConnectionInfo, FailureKind, Principals, connect};
pub use host::{Health, Host, HostState, InFlight};
pub use pool::{AcquireError, Ask, BodyError, Lease, Pools, ResponseBody, SendError, SendFailure, Version};
pub use settings::{
    ClusterSettings, Discovery, HeaderCase, Http2Settings, HttpProtocol, OriginalDestination, TransportMatch,
    Transports,
};

use std::time::Duration;

/// A protobuf duration; `None` when absent or negative.
pub(crate) fn duration(message: Option<&envoy_types::pb::google::protobuf::Duration>) -> Option<Duration> {
    let message = message?;
    let seconds = u64::try_from(message.seconds).ok()?;
    let nanos = u32::try_from(message.nanos).ok()?;
    Some(Duration::new(seconds, nanos.min(999_999_999)))
}
