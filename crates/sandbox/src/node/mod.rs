//! The node: the process in its own namespaces that is a whole Kubernetes cluster of one machine.

mod egress;
mod network;
mod service_table;

pub use network::{
    API_SERVICE_ADDRESS, DNS_ADDRESS, NODE_ADDRESS, NetworkError, NodeNetwork, POD_RANGE, PodNetwork,
    SERVICE_RANGE,
};
pub use service_table::KernelServiceTable;
