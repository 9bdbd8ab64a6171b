//! sandbox
pub mod controllers;
pub mod dns;
pub mod events;
pub mod load_balancer;
pub mod service_proxy;
