//! The mesh as one immutable snapshot with indices: which services there are and what is behind them,
//! which rules and policies hold for whom, and in what order. Pure: it is told of changes and answers
//! questions, and does no input or output.
//!
//! [`Store`] is the single writer. It applies batches of changes, shares whatever did not change with the
//! snapshot before, and says which keys a batch touched, so that only what depends on them is built again.

mod allocate;
pub mod destination_rule;
pub mod endpoint;
pub mod gateway;
pub mod host;
mod index;
mod kubernetes;
pub mod map;
pub mod mesh;
pub mod object;
pub mod policy;
pub mod protocol;
pub mod scope;
pub mod secret;
pub mod service;
mod service_entry;
pub mod snapshot;
pub mod store;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod touched;
pub mod virtual_service;
pub mod visibility;
pub mod workload;

pub use destination_rule::DestinationRule;
pub use endpoint::{Endpoint, EndpointAddress, Endpoints};
pub use gateway::GatewayServer;
pub use host::Host;
pub use index::attached::{Declared, Selecting};
pub use object::{Change, Object, ObjectRef};
pub use policy::{PeerPolicy, ServerTls};
pub use protocol::Protocol;
pub use scope::Scope;
pub use secret::Secret;
pub use service::{Location, Port, Registry, Resolution, Service, ServiceKey, TargetPort};
pub use snapshot::Snapshot;
pub use store::Store;
pub use telemetry::Side;
pub use touched::{Applied, ObjectName, Touched};
pub use virtual_service::{GatewayRef, VirtualService};
pub use visibility::Visibility;
pub use workload::{Labels, Locality, Namespace, Workload, WorkloadKind};
