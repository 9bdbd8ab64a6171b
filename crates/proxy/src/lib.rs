//! The data plane: listeners, HTTP and TCP data paths, upstream clusters, telemetry and the admin
//! port. It is configured by Envoy v3 protobufs only, from a bootstrap file or over ADS, and knows
//! nothing of the control plane that made them.
//!
//! One way through: a resource is compiled or refused with its reason ([`compile`]), warmed,
//! swapped in as one immutable whole ([`generation`]), and met by a connection ([`listener`]) that is
//! served by [`http`] or [`tcp`] on the worker that accepted it ([`worker`]). Nothing is locked on
//! the request path: workers are single-threaded runtimes with their own listeners and pools.

// Control planes still send fields that Envoy has deprecated; they are honoured.
#![allow(deprecated)]

pub mod admin;
pub mod compile;
pub mod configuration;
pub mod connection;
mod cork;
pub mod generation;
pub mod http;
pub mod listener;
pub mod mirror;
mod proxy;
pub mod retry;
pub mod stream;
pub mod tcp;
pub mod telemetry;
pub mod timeout;
pub mod tls;
pub mod upstream;
pub mod worker;

pub use compile::bootstrap::read as read_bootstrap;
pub use proxy::{Proxy, ProxyConfig, ProxyHandle, StartError};
pub use tls::{SecretSource, WorkloadSecrets};

#[cfg(test)]
#[path = "instructions_tests.rs"]
mod instructions;
