//! One machine as a Kubernetes node: the portal to the machine, the node with its kubelet, and the
//! controllers. It sees a mesh only as objects in the API.

pub mod controllers;
pub mod dns;
pub mod events;
pub mod kubelet;
pub mod load_balancer;
pub mod node;
pub mod portal;
pub mod service_proxy;
