//! The client of aggregated discovery: one stream for all types, subscriptions that follow what the
//! resources themselves refer to, and reconnection that asks only for what changed meanwhile.
//!
//! [`conversation`] decides what to send, without any input or output; [`run`] moves the messages.

pub mod conversation;
mod delta;
mod state_of_the_world;
mod stream;

pub use conversation::{Handler, Names, Received, Rejection, Update};
pub use stream::{Backoff, Dial, DialError, Settings, run};

/// Which variant of the protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Only what changed is sent (`DeltaAggregatedResources`).
    Delta,
    /// Everything of a type is sent each time (`StreamAggregatedResources`).
    StateOfTheWorld,
}
