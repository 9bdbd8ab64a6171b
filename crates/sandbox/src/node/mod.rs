//! The node: the process in its own namespaces that is a whole Kubernetes cluster of one machine.

mod egress;
mod network;
mod run;
mod service_table;

pub use network::{
    API_SERVICE_ADDRESS, DNS_ADDRESS, NODE_ADDRESS, NetworkError, NodeNetwork, POD_RANGE, PodNetwork,
    SERVICE_RANGE,
};
pub use run::{NODE_NAME, NodeError, NodeOptions, NodeSummary, run};
pub use service_table::KernelServiceTable;
