//! The portal: the part of `mizzen up` that stays on the machine and does for the sandbox what can
//! only be done there, namely to listen on the machine's ports, to dial out and to ask the machine's
//! resolver. Sockets cross into the sandbox as descriptors, so no byte of traffic passes through it.

mod client;
mod protocol;
mod resolver;
mod server;

pub use client::{Portal, PortalError};
pub use protocol::{FromNode, ToNode};
pub use server::{PortalServer, ServeError};

#[cfg(test)]
#[path = "portal_tests.rs"]
mod tests;
