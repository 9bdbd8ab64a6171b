//! `networking.istio.io`.

pub mod destination_rule;
pub mod envoy_filter;
pub mod gateway;
pub mod http_policy;
pub mod load_balancer;
pub mod proxy_config;
pub mod service_entry;
pub mod sidecar;
pub mod virtual_service;

pub use destination_rule::*;
pub use envoy_filter::*;
pub use gateway::*;
pub use http_policy::*;
pub use load_balancer::*;
pub use proxy_config::*;
pub use service_entry::*;
pub use sidecar::*;
pub use virtual_service::*;
