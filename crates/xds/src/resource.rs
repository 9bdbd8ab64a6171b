//! What is transported: a named, versioned, encoded resource of some type.

use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// A resource type, named by its `google.protobuf.Any` type URL. Types are a closed list known at
/// compile time, so that a peer cannot make us keep state for types nobody serves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeUrl(&'static str);

impl TypeUrl {
    /// CDS.
    pub const CLUSTER: Self = Self("type.googleapis.com/envoy.config.cluster.v3.Cluster");
    /// EDS.
    pub const ENDPOINT: Self = Self("type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment");
    /// LDS.
    pub const LISTENER: Self = Self("type.googleapis.com/envoy.config.listener.v3.Listener");
    /// RDS.
    pub const ROUTE: Self = Self("type.googleapis.com/envoy.config.route.v3.RouteConfiguration");
    /// VHDS. Asked for by the name of the route configuration they are part of.
    pub const VIRTUAL_HOST: Self = Self("type.googleapis.com/envoy.config.route.v3.VirtualHost");
    /// SDS.
    pub const SECRET: Self = Self("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret");
    /// ECDS.
    pub const EXTENSION_CONFIG: Self = Self("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");

    /// A type that is not one of Envoy's, such as a name table.
    pub const fn new(url: &'static str) -> Self {
        Self(url)
    }

    /// The full URL, with the `type.googleapis.com/` prefix where it has one.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The place of the type in a push: what refers to others comes after them, so that a client
    /// never hears of a listener before its clusters.
    pub fn push_rank(self) -> u8 {
        match self {
            Self::CLUSTER => 0,
            Self::ENDPOINT => 1,
            Self::LISTENER => 2,
            Self::ROUTE => 3,
            Self::VIRTUAL_HOST => 4,
            Self::SECRET => 5,
            _ => 6,
        }
    }

    /// Whether a first request without names asks for everything. Endpoints, routes, secrets and
    /// extensions are only ever asked for by name.
    pub fn is_wildcard_by_default(self) -> bool {
        !matches!(
            self,
            Self::ENDPOINT | Self::ROUTE | Self::VIRTUAL_HOST | Self::SECRET | Self::EXTENSION_CONFIG
        )
    }

    /// Whether a name that is asked for is that of a collection, and stands for all resources called
    /// `COLLECTION/NAME`. Source: Envoy, "Virtual Host Discovery Service (VHDS)".
    pub fn is_by_collection(self) -> bool {
        self == Self::VIRTUAL_HOST
    }
}

impl fmt::Display for TypeUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl fmt::Debug for TypeUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

/// The collection that a resource named `COLLECTION/NAME` is in.
pub fn collection_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(collection, _)| collection)
}

/// An encoded route configuration with encoded virtual hosts added to its own: what VHDS makes of the two.
pub fn with_virtual_hosts<'a>(routes: &[u8], hosts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    // Entries of a repeated field (`virtual_hosts`, 2) may stand anywhere in a message, so that they can be
    // added at its end.
    const VIRTUAL_HOSTS: u32 = 2;
    let mut whole = routes.to_vec();
    for host in hosts {
        prost::encoding::encode_key(VIRTUAL_HOSTS, prost::encoding::WireType::LengthDelimited, &mut whole);
        prost::encoding::encode_varint(host.len() as u64, &mut whole);
        whole.extend_from_slice(host);
    }
    whole
}

/// One encoded resource. Cloning shares the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Unique within its type.
    pub name: Arc<str>,
    /// Hash of the body: equal versions mean that there is nothing to send.
    pub version: u64,
    /// The encoded message: the value of a `google.protobuf.Any`, without the type URL.
    pub body: Bytes,
}

impl Resource {
    /// A resource whose version is the hash of its body.
    pub fn new(name: impl Into<Arc<str>>, body: Bytes) -> Self {
        Self { name: name.into(), version: content_hash(&body), body }
    }

    /// Encodes `message` once.
    pub fn encode(name: impl Into<Arc<str>>, message: &impl prost::Message) -> Self {
        Self::new(name, Bytes::from(message.encode_to_vec()))
    }
}

/// A hash of `bytes` that is the same in every process and on every machine, so that a client that
/// reconnects to another replica of the control plane, or after a restart, is recognised.
pub fn content_hash(bytes: &[u8]) -> u64 {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}
