//! What every room needs and no domain knows: drain, readiness, logging, versions.

pub mod drain;
pub mod logging;
pub mod readiness;
pub mod state;
pub mod version;
