//! The controllers of a one-node cluster: they read intent and state from the API and write objects
//! back, and never do anything that another client of the API could not see.

mod context;

pub use context::{
    ControllerContext, Forward, Frontend, PublishedPort, Publisher, ServiceTable, Transport, Upstream,
};
