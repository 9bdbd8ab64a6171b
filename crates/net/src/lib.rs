//! Where Mizzen touches the kernel: sockets, copying between them, network namespaces, packet
//! rules and processes inside namespaces.
//!
//! This is the only room that may contain `unsafe`; every block says why it holds. Nothing here
//! knows the mesh, except [`interception`], which is Istio's sidecar rule set as data.
#![allow(unsafe_code)]

pub mod copy;
pub mod descriptors;
pub mod interception;
pub mod isolation;
pub mod link;
pub mod memory;
pub mod netns;
pub mod nft;
pub mod process;
pub mod proxy_protocol;
pub mod socket;

pub use copy::{CopyCounters, CopyOptions, copy_bidirectional, copy_bidirectional_buffered};
pub use netns::NetworkNamespace;
pub use socket::{ConnectOptions, ListenOptions, connect, listen, original_destination};

/// The mark our proxies put on their own sockets, so that interception leaves them alone.
/// Istio's ambient data plane uses the same one (`cni/pkg/iptables`, `InpodMark`); unlike the
/// user id 1337 of a sidecar, it also works where only one user id is mapped.
pub const PROXY_MARK: u32 = 0x539;
