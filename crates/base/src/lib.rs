//! What every room needs and no domain knows: drain, readiness, logging, versions, HTTP beside the data path.

pub mod drain;
pub mod http;
pub mod logging;
pub mod prompt;
pub mod readiness;
pub mod state;
pub mod version;
