//! The applications built into Mizzen, so that a mesh on one machine has something to carry:
//! `echo`, which tells what reached it and misbehaves on request, and a demo shop of five services
//! with a load generator. They know nothing of the mesh.

mod client;
pub mod echo;
mod identity;
pub mod load;
mod log;
pub mod server;
pub mod shop;

use std::net::SocketAddr;

pub use identity::Identity;

/// Which application to run.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Workload {
    /// Answer with what was received (HTTP/1.1, h2c, gRPC, WebSocket, TCP), and delay, fail or stream on request
    Echo(echo::Options),
    /// Run one service of the demo shop
    Shop(shop::Options),
    /// Call the demo shop lightly, for ever
    Load(load::Options),
}

/// Why an application could not run.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// A port is taken or not allowed.
    #[error("cannot listen on {address}: {source}; choose another port with --port")]
    Listen { address: SocketAddr, source: std::io::Error },
    /// The process cannot hear that it should end.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
    /// A URL that cannot be called.
    #[error("'{url}' is not an http:// URL with a host")]
    Url { url: String },
}

/// Runs an application until it is told to end (SIGTERM or SIGINT), and lets it finish what it has.
pub async fn run(workload: Workload) -> Result<(), WorkloadError> {
    match workload {
        Workload::Echo(options) => echo::run(options).await,
        Workload::Shop(options) => shop::run(options).await,
        Workload::Load(options) => load::run(options).await,
    }
}
