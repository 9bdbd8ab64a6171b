//! The serving side: aggregated discovery over gRPC, delta and state of the world on one engine.
//!
//! Cost follows the change. A change is told to connections as names ([`Changes`]); a connection
//! remembers which of its names are dirty and, when the client may be sent something, pulls their
//! present state from its [`Session`]. So a burst is merged by itself, the newest state always
//! wins, a slow client holds nothing but a set of names, and never holds up another.
//!
//! ```text
//! request → Conversation::receive ┐
//! Connection::notify → dirty names ┴→ Conversation::next → Session::resources → encode → client
//! ```

mod codec;
mod connection;
mod conversation;
mod held;
#[cfg(test)]
#[path = "instructions_tests.rs"]
mod instructions;
mod service;
mod source;
mod subscription;
#[cfg(test)]
mod testing;

pub use connection::{Changes, Connection, ConnectionStatus, Hub, Touched, TypeStatus};
pub use service::{AdsService, Limits, Options};
pub use source::{Selection, Session, Source};
