//! The xDS transport: aggregated discovery, client and server, delta and state of the world.
//!
//! Subscriptions, versions, nonces and acknowledgements live here; what the resources say is other
//! rooms' business, so nothing here knows a word of the mesh.

pub mod client;
pub mod descriptors;
pub mod json;
pub mod resource;
pub mod server;

pub use resource::{Resource, TypeUrl};
